"""What a round starts from: the incumbent, its neighbours, and what earlier rounds have learnt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from search.gains import Noise
from search.history import Description, History, Purpose
from search.objective import Budget
from search.strategies.base import Candidate, Problem
from search.strategies.greedy.options import Options
from search.strategies.neighbourhood import neighbourhood


@dataclass(frozen=True, eq=False)
class Ground:
    """All that holds throughout a round.

    Attributes:
        options: Of the strategy.
        problem: What is searched, with the budget of this round.
        history: All that is known.
        budget: The exploration's own budget, from which raises count.
    """

    options: Options
    problem: Problem
    history: History
    budget: Budget

    @property
    def number(self) -> int:
        """Of the round, from 0."""
        return self.history.round

    @property
    def confidence(self) -> float:
        """Of the one-sided bounds by which candidates are chosen."""
        return 1.0 - self.options.alpha

    @cached_property
    def incumbent(self) -> Description:
        """What candidates are compared with."""
        return self.problem.incumbent(self.history)

    @cached_property
    def taken(self) -> dict[str, str]:
        """Configs that may not be accepted any more, with the reason."""
        return {self.problem.baseline.config_id: "it is the baseline"} | {
            step.config_id: f"it was accepted in round {step.round}"
            for step in self.history.accepted
            if step.config_id is not None
        }

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The incumbent's neighbours, those that are out with the reason."""
        return neighbourhood(self.problem, self.incumbent, self.taken)

    @cached_property
    def runnable(self) -> list[Candidate]:
        """Those that may be trained."""
        return [candidate for candidate in self.candidates if not candidate.rejected]

    @cached_property
    def setting(self) -> str:
        """Budget, clock and objective: what noise, gains and exchange rates are known for."""
        objective = self.problem.objective
        asked = f"{objective.gain} {objective.target} {objective.crossing} {objective.cost}"
        request = self.problem.request(self.incumbent, 0, Purpose(self.number, ""))
        return f"{request.setting} {asked}"

    @cached_property
    def last_rate(self) -> float | None:
        """What the last dearer step paid per unit of cost, in score."""
        same = (s.detail for s in self.history.accepted if s.detail.get("setting") == self.setting)
        paid = [detail["rate"] for detail in same if detail.get("rate") is not None]
        return paid[-1] if paid else None

    @property
    def rate(self) -> float | None:
        """The exchange rate for worse but cheaper steps; None when they are not taken."""
        return self.last_rate if self.options.shrink else None

    @cached_property
    def earlier_noise(self) -> Noise | None:
        """Relative noise as the last accepted step knew it, if it was measured as trials are now.

        It holds all earlier rounds: each has seeds of its own, but for those that the incumbent
        carries along, so their estimates simply add up.
        """
        last = self.history.accepted[-1].detail if self.history.accepted else {}
        if not last.get("noise") or last.get("setting") != self.setting:
            return None
        return Noise(**last["noise"])

    @cached_property
    def carried(self) -> list[int]:
        """The first seeds that confirmed the incumbent, if it was measured as trials are now.

        As many as a confirmation begins with: on these it was lucky, and the race needs others to
        tell what is better.
        """
        last = self.history.accepted[-1].detail if self.history.accepted else {}
        attempts = last.get("attempts") if last.get("setting") == self.setting else None
        return attempts[-1]["seeds"][: self.problem.seeds.confirm] if attempts else []
