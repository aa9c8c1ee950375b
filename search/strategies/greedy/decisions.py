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
            **self._detail([self._told_waiting(postponed, standing) for postponed in self.waiting]),
            "chosen": key,
            "rate": self._paid(standing, confirmed),
            "growth": self._growth(standing, confirmed),
        }
        said = words.why_accepted(ground.problem, standing, confirmed)
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
        told = words.why_stopped(len(ground.runnable), len(ground.candidates), len(self.attempts))
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

    def _paid(self, standing: Standing, confirmed: Data) -> float | None:
        """What the last dearer step paid per unit of cost, this one included."""
        gain, cost = confirmed.get("gain"), confirmed.get("cost")
        if gain and cost and standing.quadrant == "better-dearer" and cost["change"] > 0:
            return float(gain["mean"] / cost["change"])
        return self.ground.last_rate

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

    def _detail(self, waiting: list[Data]) -> Data:
        """The statistics behind a decision."""
        ground = self.ground
        objective, confidence = ground.problem.objective, ground.confidence
        told = [tell(standing, objective, confidence) for standing in self.standings]
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
