"""How a round ends: a step is accepted, the budget is raised, or the search stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from search.history import Decision
from search.strategies.greedy import raising, words
from search.strategies.greedy.ground import Ground
from search.strategies.greedy.lazy import Postponed
from search.strategies.greedy.trials import Trials
from search.strategies.standing import Standing, label, tell
from spec.config import Data


@dataclass(frozen=True)
class Outcome:
    """What a round has found.

    Attributes:
        ground: What it started from.
        trials: What it measured.
        standings: Every neighbour that was trained, against the incumbent.
        waiting: Every neighbour that was left for later.
        attempts: What fresh seeds said, in the order candidates were tried on them.
    """

    ground: Ground
    trials: Trials
    standings: Sequence[Standing]
    waiting: Sequence[Postponed]
    attempts: Sequence[Data]

    def accept(self, standing: Standing) -> Decision:
        """Take a candidate, which the last attempt has confirmed."""
        description, key = standing.candidate.description, standing.candidate.edit.key
        assert description is not None
        confirmed, ground = self.attempts[-1], self.ground
        detail = {
            **self._detail(
                [self._told_waiting(postponed, standing) for postponed in self.waiting], standing
            ),
            "chosen": key,
            "rate": confirmed.get("rate") or ground.last_rate,
            "growth": self._growth(standing, confirmed),
        }
        said = words.why_accepted(ground.problem, standing, confirmed, len(self._neighbours))
        told = f"round {ground.number}: accepted {key}: {said}"
        return Decision(
            "accept", ground.number, told, description.config, description.config_id, detail
        )

    def without_step(self) -> Decision:
        """Raise the budget, or stop."""
        assert not self.waiting
        ground, detail = self.ground, self._detail([])
        now = ground.problem.budget
        after = raising.following(ground.budget, now, ground.options.raise_budget)
        told = words.why_stopped(self._neighbours, len(ground.candidates), len(self.attempts))
        if not ground.runnable:  # longer training brings no neighbour back
            return Decision("stop", ground.number, told, detail=detail)
        noise = self.trials.whole().noise()
        told += words.sensitivity(ground.problem, noise, ground.options.alpha)
        if after is None:
            return Decision("stop", ground.number, told, detail=detail)
        detail["budget"] = {
            "first": raising.told(ground.budget),
            "before": raising.told(now),
            "after": raising.told(after),
        }
        told = f"round {ground.number}: budget raised, {now.growth(after)}: {told}"
        return Decision("raise", ground.number, told, detail=detail)

    @property
    def _neighbours(self) -> list[Standing]:
        """Those that were trained, without any joint step."""
        return [s for s in self.standings if s.candidate.edit.op != "several"]

    def _growth(self, standing: Standing, confirmed: Data) -> float:
        """By how much a step multiplies quality, and with it the gains of steps to come."""
        assert standing.gain is not None
        if self.ground.problem.objective.gain == "time_to_target":
            return 1.0
        mean = confirmed["gain"]["mean"] if confirmed.get("gain") else standing.gain.mean
        return 1.0 + float(mean) / self.trials.whole().level

    def _told_waiting(self, postponed: Postponed, best: Standing) -> Data:
        reason = words.why_postponed(postponed, best, self.ground.confidence)
        return {**label(postponed.candidate), "postponed": reason}

    def _why(self, standing: Standing, taken: Standing | None) -> str:
        """Why a candidate is taken, or is not."""
        ground, key = self.ground, standing.candidate.edit.key
        if taken is not None and taken.candidate.edit.key == key:
            return "taken"
        description = standing.candidate.description
        own = description and description.config_id
        attempt = next((tried for tried in self.attempts if tried.get("config_id") == own), None)
        among = 1.0 - ground.options.alpha / max(len(self.standings), 1)
        bounds = ground.confidence, among
        return words.why_not(standing, attempt, taken, ground.rate, bounds)

    def _detail(self, waiting: list[Data], taken: Standing | None = None) -> Data:
        """The statistics behind a decision."""
        ground = self.ground
        objective, confidence = ground.problem.objective, ground.confidence
        told = [
            {**tell(standing, objective, confidence), "why": self._why(standing, taken)}
            for standing in self.standings
        ]
        out = [label(candidate) for candidate in ground.candidates if candidate.rejected]
        noise = self.trials.whole().relative_noise()
        return {
            "incumbent": {
                "config_id": ground.incumbent.config_id,
                "trials": self.trials.numbers(ground.incumbent),
            },
            "candidates": told + waiting + out,
            "attempts": list(self.attempts),
            "noise": noise and asdict(noise),
            "setting": ground.setting,
            "alpha": ground.options.alpha,
        }
