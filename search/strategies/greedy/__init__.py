"""Greedy by measured steps: calibrate, screen, race, combine, confirm, then accept or stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from search.history import Decision, History
from search.objective import Budget
from search.strategies.base import Candidate, Expected, Problem, Proposal, strategies
from search.strategies.greedy import raising
from search.strategies.greedy.ground import Ground
from search.strategies.greedy.options import Options
from search.strategies.greedy.round import OWN_SEEDS, Round
from search.strategies.neighbourhood import neighbourhood
from spec.config import Fault
from spec.words import counted


@strategies.variant("greedy")
class Greedy(Options):
    """Take the one-step neighbour that buys most quality for its cost, while one is significant.

    Every candidate is compared with the incumbent on the same seeds: those that confirmed the
    incumbent in the round before, on which it is measured already, then new ones. Which candidate
    to confirm is chosen freely on these; whether it is accepted rests only on seeds that played no
    part in the choice, by a one-sided t-test with the noise pooled over the study. The round's
    error ``alpha`` is divided over everything tested there (``search.strategies.greedy.spending``),
    so the chance of a false step in a round is at most ``alpha``.

    Neighbours that are clearly better each are also measured as one candidate, which goes first
    where it beats the best of them (``search.strategies.greedy.together``).

    Candidates that an earlier round measured wait until their optimistic bound is the best there is
    (``search.strategies.greedy.lazy``); that decides what is trained, never what is accepted.
    """

    def propose(self, problem: Problem, history: History) -> Proposal:
        """See ``Strategy.propose``."""
        steps = len(history.accepted)
        if self.max_rounds is not None and steps >= self.max_rounds:
            words = f"stopped after {counted(steps, 'accepted step')}, as asked (max_rounds)"
            return Decision("stop", history.round, words)
        budget = raising.current(problem.budget, self.raise_budget, history.decisions)
        now = problem if budget == problem.budget else _under(problem, budget)
        return Round(Ground(self, now, history, problem.budget)).propose()

    @property
    def weighs_losers(self) -> bool:
        """See ``Strategy.weighs_losers``."""
        return self.shrink

    def faults(self, budget: Budget, longest: Mapping[str, float]) -> Iterator[Fault]:
        """See ``Strategy.faults``."""
        if self.raise_budget is not None:
            yield from raising.faults(budget, self.raise_budget, longest)

    def outset(self, problem: Problem) -> Sequence[Candidate]:
        """See ``Strategy.outset``."""
        return neighbourhood(problem, problem.baseline, {})

    def outset_words(self, problem: Problem, number: int) -> str:
        """See ``Strategy.outset_words``."""
        return counted(number, "neighbour")

    def expected(self, problem: Problem) -> Expected:
        """See ``Strategy.expected``."""
        seeds = problem.seeds
        candidates = sum(not candidate.rejected for candidate in self.outset(problem))
        least = candidates * seeds.screen + max(seeds.screen, min(OWN_SEEDS, seeds.max))
        widths = [max(2, self.race >> block) for block in range(seeds.max - seeds.screen)]
        raced = sum(min(width, candidates) for width in widths)
        attempts = min(self.attempts, candidates)
        confirmed = (attempts + 1) * (seeds.looks or (0,))[-1]
        joined = attempts * seeds.screen if self.combine and candidates > 1 else 0
        return Expected(least, candidates * seeds.screen + raced + seeds.max + joined + confirmed)


@lru_cache(maxsize=4)
def _under(problem: Problem, budget: Budget) -> Problem:
    """The problem with another budget, the same object every time: much is kept by problem."""
    return replace(problem, budget=budget)


__all__ = ["Greedy"]
