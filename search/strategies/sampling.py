"""Searches that draw configs one after the other, then confirm the best on fresh seeds."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import count, islice
from statistics import fmean
from typing import Annotated

from pydantic import Field
from threadpoolctl import ThreadpoolController

from search.history import CONFIRM, History, Purpose, Request
from search.ledger import UNLIMITED, affordable
from search.strategies.base import Candidate, Expected, Problem, Proposal, Run, Strategy
from search.strategies.draws import Begun, Draw, chance, lattice_of
from search.strategies.explored import Explored
from search.strategies.finals import Finals
from search.strategies.neighbourhood import over_limit
from spec import errors
from spec.config import Data
from spec.words import counted

LEAPS = 100
"""Points among which one has to be within the limits where no neighbour is."""
FIRST = 8
"""Most configs that are told before any is trained."""
COUNTED = 1_000_000
"""Most configs of a space that are counted in advance."""
ENDLESS = 10**9
"""Trials left when they are not limited."""


class Sampling(Strategy):
    """The course of every strategy that draws configs: explore, confirm the best, accept or stop.

    The baseline is measured first. What is drawn next depends on the trials so far, and its chance
    on the study's first seed and the number of configs so far alone, so a resumed search goes on
    as if nothing had happened. All configs share their seeds. At the end the best ``finalists``
    meet the incumbent on fresh seeds; the best of those better at ``alpha``, divided by their
    number, is accepted.
    """

    trials: Annotated[int, Field(ge=2)] | None = 100
    """Trials in all, those that confirm included; null: until the space is used up."""
    worker_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds trials may hold workers before the best are confirmed, summed over trials: 1800 are
    15 minutes of two workers."""
    finalists: Annotated[int, Field(ge=1)] = 2
    """Configs that are confirmed: the winner and its runners-up."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Largest chance of accepting a config that is no better than the incumbent."""

    def propose(self, problem: Problem, history: History) -> Proposal:
        """See ``Strategy.propose``."""
        with _cores(len(sys.modules)).limit(limits=1):
            return _Course(self, problem, history).propose()

    def check(self, problem: Problem) -> None:
        """See ``Strategy.check``.

        Raises:
            ConfigError: For a rule without an end, or trials that are all kept back for confirming.
        """
        if self.needs_space:
            lattice_of(problem)
        kept = self.reserve(problem)
        least = kept + 2 * problem.seeds.screen
        if self.trials is not None and self.trials < least:
            words = (
                f"{self.trials} trials leave too few to explore with: {kept} are kept to confirm "
                f"{counted(self.finalists, 'finalist')} and the incumbent on seeds.confirm "
                f"({problem.seeds.confirm}) fresh seeds each; ask for {least} or more, or for "
                "fewer finalists or seeds"
            )
            fault = errors.Problem("strategy.trials", words, loc=("strategy", "trials"))
            raise errors.ConfigError([fault])

    @property
    def unaided(self) -> int:
        """Draws of new configs that depend on no result, or ``FIRST`` of these."""
        return FIRST

    def outset(self, problem: Problem) -> Sequence[Candidate]:
        """See ``Strategy.outset``."""
        explored = Explored.of(problem, History())
        begun: dict[str, Set[int]] = {problem.baseline.config_id: frozenset()}
        found: list[Candidate] = []
        for index in range(1, 1 + self.begins(problem)):
            drawn = self.draw(explored, index, begun) if len(found) < self.unaided else None
            if drawn is None:
                break
            if drawn.edit is not None:  # not the baseline once more
                found.append(Candidate(drawn.edit, drawn.description))
                begun[drawn.description.config_id] = frozenset()
        return found

    def begins(self, problem: Problem) -> int:
        """Draws after that of the baseline which a new search may make, one at the least."""
        return max(1, _Course(self, problem, History()).draws - 1)

    def outset_words(self, problem: Problem, number: int) -> str:
        """See ``Strategy.outset_words``."""
        if not number:
            depends = "what is drawn first depends on what the baseline comes to"
            return "nothing was found to draw within the limits" if self.unaided else depends
        return f"{counted(number, 'config')} drawn first, whatever the baseline comes to"

    def leaps(self, problem: Problem) -> bool:
        """See ``Strategy.leaps``: whether the smallest or one of a few random configs is fine."""
        lattice = lattice_of(problem)
        points = lattice.scattered(chance(problem, 0), LEAPS)
        points[0] = 0
        found = filter(None, lattice.described(points))
        others = (own for own in found if own.config_id != problem.baseline.config_id)
        return any(not over_limit(problem, own) for own in others)

    def expected(self, problem: Problem) -> Expected:
        """See ``Strategy.expected``."""
        if self.worker_seconds is not None:
            return Expected(0, self.trials, self.worker_seconds)
        size, reserve = self.size(problem), self.reserve(problem)
        whole = None if size is None else size * problem.seeds.screen + reserve
        if self.trials is None or (whole is not None and whole < self.trials):
            return Expected(0, whole)
        return Expected(max(self.trials - reserve, 1), self.trials)

    def to_beat(self, problem: Problem, history: History) -> str:
        """The best config measured so far that keeps the limits: see ``Strategy.to_beat``."""
        finals = Finals(self, Explored.of(problem, history))
        measured = Sampling.ranked(self, finals.explored)
        fine = (name for name in measured if finals.keeps_limits(name))
        return next(fine, problem.baseline.config_id)

    def draw(self, explored: Explored, index: int, begun: Begun) -> Draw | None:
        """The config to try as number ``index``; None when there is none left.

        Args:
            explored: All trials that may be learnt from.
            index: How many draws come before it.
            begun: What was drawn so far, draws of the same proposal included; a config of these is
                drawn to be measured again, on seeds that are new to it.
        """
        raise NotImplementedError

    def ranked(self, explored: Explored) -> list[str]:
        """Ids of measured configs, best first: by their mean quality unless there is a model."""
        found = explored.qualities
        return sorted(found, key=lambda config_id: (-found[config_id], config_id))

    def used_up(self, problem: Problem) -> str:
        """Why there is no further draw."""
        return "the space is used up, no new config within the limits was found"

    def found_words(self, explored: Explored, ending: Data) -> str:
        """What was found where nothing is to be confirmed, beside what ``ending`` told."""
        return "no config was found to be better"

    def remark(self, explored: Explored) -> str:
        """What else is to be said when a search stops, behind the reason; or empty."""
        return ""

    def ending(self, explored: Explored) -> Data:
        """What else the last decision should hold, plain data."""
        return {}

    def size(self, problem: Problem) -> int | None:
        """Most configs there are to draw, the baseline too; None when they are not counted."""
        size = lattice_of(problem).size
        return size if size <= COUNTED else None

    def reserve(self, problem: Problem) -> int:
        """Trials kept back for confirming."""
        return problem.seeds.confirm * (self.finalists + 1)


@lru_cache(maxsize=1)
def _cores(modules: int) -> ThreadpoolController:
    """Holds linear algebra to one core: trainers are on the others, and matrices are small.

    It knows the libraries that are loaded, so it is made anew when there are more modules.
    """
    return ThreadpoolController()


@dataclass
class _Course:
    """One look at the history."""

    options: Sampling
    problem: Problem
    history: History

    def propose(self) -> Proposal:
        due = max(0, math.floor(min(self._affordable, ENDLESS)))
        requests, left = self._owed[:due], self._left()
        wanted = min(left, max(0, self.problem.workers - self.explored.running - len(requests)))
        begun: dict[str, Set[int]] = dict(self.explored.begun)
        for request in requests:
            config_id = request.description.config_id
            begun[config_id] = begun[config_id] | {request.seed}
        used_up = False
        for offset in range(math.ceil(wanted / self._each)):
            drawn = self._draw(offset, begun)
            if drawn is None:
                used_up = True
                break
            config_id = drawn.description.config_id
            own = begun.get(config_id, frozenset())
            seeds = self._free(own, self._each)
            begun[config_id] = own | set(seeds)
            asked = partial(drawn.request, self.problem, Purpose(self._round, "explore"))
            requests += map(asked, seeds)
        if requests or self.explored.running:
            ahead = max(self._ahead(left), len(requests))
            return Run(tuple(requests), ahead + self.explored.running)
        if used_up:
            return self._finals.propose(self.options.used_up(self.problem))
        return self._finals.propose(self._spent)

    # -- exploring ---------------------------------------------------------------------------------

    @cached_property
    def explored(self) -> Explored:
        return Explored.of(self.problem, self.history)

    @cached_property
    def _finals(self) -> Finals:
        return Finals(self.options, self.explored)

    @property
    def _each(self) -> int:
        """Seeds per config."""
        return self.problem.seeds.screen

    @cached_property
    def _held(self) -> Sequence[float]:
        """Seconds for which each trial that has ended held its worker."""
        return [t.ended - t.started for t in self.explored.trials if t.ended is not None]

    @property
    def draws(self) -> int:
        """Draws that exploration may still make."""
        return math.ceil(self._left() / self._each)

    @property
    def _late(self) -> bool:
        """Whether the time for exploring is over."""
        time = self.options.worker_seconds
        return time is not None and sum(self._held) >= time

    def _left(self) -> int:
        """Trials that exploration may still ask for: one beside the baseline at the least."""
        if self._late:
            return 0
        left = min(self._own, self._affordable - len(self._owed), ENDLESS)
        return max(math.floor(left), 2 - len(self.explored.configs), 0)

    @property
    def _spent(self) -> str:
        """Why no more is left to explore with."""
        if self._late:
            return "the time is over, as asked"
        if self._own < 1:
            kept = " but those that confirm" if self.options.reserve(self.problem) else ""
            return f"all trials{kept} are spent, as asked"
        return "the budget is spent but for the trials that confirm"

    @property
    def _own(self) -> float:
        """Trials that are left of those that were asked for."""
        if self.options.trials is None:
            return math.inf
        tried = len(self.explored.trials) + len(self._owed) + self._judged
        return self.options.trials - self.options.reserve(self.problem) - tried

    @cached_property
    def _judged(self) -> int:
        """Trials of confirmations that came to a verdict, after which exploring went on."""
        setting = self.problem.budget, self.problem.clock
        over = {decision.detail.get("latest") for decision in self.history.decisions}
        until = math.inf if self.explored.latest in over else self.explored.latest
        return sum(
            trial.request.purpose.phase == CONFIRM
            and not trial.interrupted
            and trial.number < until
            and (trial.request.budget, trial.request.clock) == setting
            for trial in self.history
        )

    @cached_property
    def _affordable(self) -> float:
        """Trials that the study's budget pays for beside those that confirm; none amid these."""
        total = self.problem.total
        if total == UNLIMITED:
            return math.inf
        if self._confirming:
            return 0.0
        return affordable(self.history, total, self.options.reserve(self.problem))

    @property
    def _confirming(self) -> bool:
        """Whether trials confirm the best of what has been explored, and no verdict was reached."""
        decisions, latest = self.history.decisions, self.explored.latest
        setting = self.problem.budget, self.problem.clock
        begun = any(
            trial.number > latest
            and (trial.request.purpose.phase, trial.request.purpose.round) == (CONFIRM, self._round)
            and (trial.request.budget, trial.request.clock) == setting
            for trial in self.history
        )
        return begun and not (decisions and decisions[-1].detail.get("latest") == latest)

    def _ahead(self, left: int) -> int:
        """Trials to come, as far as they are known; only to be told."""
        time = self.options.worker_seconds
        if time is not None and self._held:
            left = min(left, math.ceil((time - sum(self._held)) / max(fmean(self._held), 1e-9)))
        size = self.options.size(self.problem)
        if size is None:
            return 0 if left == ENDLESS else left
        return min(left, max(0, size - len(self.explored.configs)) * self._each)

    @cached_property
    def _owed(self) -> list[Request]:
        """Seeds still to come of configs that were begun: trials to run again first."""
        owed = [trial.request for trial in self.explored.lost]
        baseline, each = self.problem.baseline.config_id, self._each
        for config_id, begun in self.explored.partly(each).items():
            missing = -len(begun) % each
            description = self.explored.configs[config_id]
            if config_id == baseline or not over_limit(self.problem, description):
                purpose = Purpose(self._round, "explore", self.explored.edits[config_id])
                owed += [
                    self.problem.request(description, seed, purpose)
                    for seed in self._free(begun, missing)
                ]
        return owed

    def _draw(self, offset: int, begun: Begun) -> Draw | None:
        """The draw that comes so many after the first of this proposal."""
        if self.problem.baseline.config_id not in begun:
            return Draw(self.problem.baseline, None)
        return self.options.draw(self.explored, self.explored.draws(self._each) + offset, begun)

    def _free(self, begun: Set[int], number: int) -> list[int]:
        """The first seeds on which a config was not launched yet."""
        free = (seed for seed in count(self.problem.seeds.first) if seed not in begun)
        return list(islice(free, number))

    @property
    def _round(self) -> int:
        return self.history.round
