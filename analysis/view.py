"""A study as its report sees it: trials in groups, rounds, and the path of incumbents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.style import loss
from search.costs import COSTS
from search.gains import quality, scores
from search.history import INTERRUPTED, Decision, Description, History, Trial
from search.moves import Edit
from search.summary import Opened, open_study, study_times_of
from search.to_target import crossings, median_words, to_target

Told = Mapping[str, Any]
"""Plain data that a decision recorded."""


@dataclass(frozen=True)
class Quality:
    """What an objective improves, in the words and units people read; lower is better.

    Attributes:
        name: Such as ``validation loss``.
        unit: Of the value.
        gain: What a gain is measured in; higher is better.
        fresh: What a confirmation shows of incumbent and candidate.
        of_mean: The value that a mean of ``search.gains.quality`` stands for.
        remark: How to read a gain.
    """

    name: str
    unit: str
    gain: str
    fresh: str
    of_mean: Callable[[float], float]
    remark: str = ""

    @property
    def axis(self) -> str:
        """Title of an axis that shows it."""
        return f"{self.name}, {self.unit}"


QUALITIES = {
    "val_loss": Quality(
        "validation loss", "nats per token", "gain in score, exp(-loss)",
        "loss on the fresh seeds",
        lambda mean: -math.log(mean) if mean > 0 else math.inf,
    ),
    "val_bpb": Quality(
        "validation loss", "bits per byte", "gain in score, 2^(-bits per byte)",
        "loss on the fresh seeds",
        lambda mean: -math.log2(mean) if mean > 0 else math.inf,
    ),
    "time_to_target": Quality(
        "time to the target loss", "train seconds",
        "gain in ln(seconds to target)", "median seconds to the target on the fresh seeds",
        lambda mean: math.exp(-mean),
        "A gain of 0.1 is about a tenth less time.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Group:
    """All trials of one config in one round.

    Attributes:
        round: Counted from 0.
        config_id: Of the config.
        change: The edit that led to it; None for the round's incumbent.
        trials: In the order they were started.
    """

    round: int
    config_id: str
    change: str | None
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Step:
    """A point of the incumbents' path; number 0 is the baseline."""

    number: int
    name: str
    config_id: str
    trials: tuple[Trial, ...]
    decision: Decision | None = None

    @property
    def confirmation(self) -> Told:
        """The attempt that confirmed it on fresh seeds; empty when there was none."""
        attempts = self.decision.detail.get("attempts") if self.decision else None
        return attempts[-1] if attempts else {}


@dataclass(frozen=True)
class View:
    """A study opened for its report.

    Attributes:
        opened: Exploration, baseline and history.
        folder: The study's folder, as the reader would type it.
    """

    opened: Opened
    folder: Path

    @property
    def history(self) -> History:
        """Trials and decisions."""
        return self.opened.history

    @property
    def target(self) -> float | None:
        """The loss that trials are timed to."""
        return self.opened.exploration.objective.target

    @cached_property
    def times(self) -> Told:
        """What a time-to-target study says of times, see ``search.results.study_times``."""
        return study_times_of(self.opened)

    @property
    def quality(self) -> Quality:
        """What the objective improves."""
        return QUALITIES[self.opened.exploration.objective.gain]

    @cached_property
    def trials(self) -> list[Trial]:
        """Every trial, by number."""
        return sorted(self.history, key=lambda trial: trial.number)

    @cached_property
    def groups(self) -> list[Group]:
        """Every config of every round, in the order of their first trials."""
        found: dict[tuple[int, str], list[Trial]] = {}
        for trial in (trial for trial in self.trials if not trial.probe):
            found.setdefault((trial.request.purpose.round, trial.config_id), []).append(trial)
        return [
            Group(number, config_id, change_of(trials[0]), tuple(trials))
            for (number, config_id), trials in found.items()
        ]

    @cached_property
    def path(self) -> list[Step]:
        """The baseline and every accepted step, each with the trials that speak for it."""
        start = self.opened.baseline
        first = [g for g in self.groups if (g.round, g.config_id) == (0, start.config_id)]
        trials = first[0].trials if first else ()
        steps = [Step(0, "baseline", start.config_id, trials)]
        for number, decision in enumerate(self.history.accepted, 1):
            chosen = str(decision.detail.get("chosen", decision.config_id))
            steps.append(
                Step(number, chosen, str(decision.config_id), self._witnesses(decision), decision)
            )
        return steps

    def told(self, decision: Decision) -> dict[str | None, Told]:
        """What a decision recorded of each config; of two candidates that are one, the measured."""
        candidates = sorted(decision.detail.get("candidates", ()), key=lambda told: "gain" in told)
        return {told.get("config_id"): told for told in candidates}

    @cached_property
    def recorded(self) -> dict[tuple[int, str | None], Told]:
        """The same for all decisions, by round and config id."""
        return {
            (decision.round, config_id): candidate
            for decision in self.history.decisions
            for config_id, candidate in self.told(decision).items()
        }

    @cached_property
    def chosen(self) -> set[tuple[int, str | None]]:
        """Round and config id of the accepted steps."""
        return {(decision.round, decision.config_id) for decision in self.history.accepted}

    @cached_property
    def last_sign(self) -> float:
        """Unix time of the latest thing any trial did."""
        trained = (t.curve[-1].train_seconds if t.curve else 0.0 for t in self.trials)
        moments = (
            trial.ended or trial.started + seconds
            for trial, seconds in zip(self.trials, trained, strict=True)
        )
        return max(moments, default=0.0)

    @cached_property
    def open_round(self) -> int | None:
        """The round under way; None when the search has stopped or its next round has no trial."""
        decisions, number = self.history.decisions, self.history.round
        stopped = bool(decisions) and decisions[-1].kind == "stop"
        if stopped and not any(trial.state == "running" for trial in self.trials):
            return None
        return number if any(group.round == number for group in self.groups) else None

    @property
    def cut_short(self) -> str:
        """Why the search stopped amid a round, its budget spent, say; empty if it did not."""
        last = self.history.decisions[-1] if self.history.decisions else None
        if last is None or last.kind != "stop" or "candidates" in last.detail:
            return ""
        begun = any(group.round == self.history.round for group in self.groups)
        return last.words if begun else ""

    def value(self, trials: Iterable[Trial]) -> float | None:
        """What finished trials of one config say together; infinite when the target is missed.

        Times to a target by their median, which is a miss when half of them are.
        """
        objective, trials = self.opened.exploration.objective, list(trials)
        if objective.gain == "time_to_target":
            middle = to_target(list(crossings(trials, objective).values()))
            return None if middle is None else math.inf if middle.missed else middle.seconds
        found = [q for trial in trials if (q := quality(trial, objective)) is not None]
        return self.quality.of_mean(math.fsum(found) / len(found)) if found else None

    def description(self, config_id: str) -> Description | None:
        """A config that was trained, or the baseline."""
        if config_id == self.opened.baseline.config_id:
            return self.opened.baseline
        found = (t.request.description for t in self.trials if t.config_id == config_id)
        return next(found, None)

    def reached(self, trial: Trial) -> str:
        """A trial's time to the target in words; empty without a target or a curve."""
        crossing = scores(trial, self.opened.exploration.objective).to_target
        if crossing is None:
            return ""
        so_far = "not yet, > " if trial.state == "running" else "missed, > "
        return f"{so_far if crossing.censored else ''}{crossing.seconds:,.4g} s"

    def state(self, trial: Trial) -> str:
        """A trial's state in words."""
        if trial.failure is not None:
            return self._failure(trial)
        crossing = scores(trial, self.opened.exploration.objective).to_target
        missed = trial.state == "finished" and crossing is not None and crossing.censored
        return "target missed" if missed else trial.state

    def _failure(self, trial: Trial) -> str:
        assert trial.failure is not None
        if trial.failure.reason != INTERRUPTED:
            return f"failed: {trial.failure.reason}"
        waits = self.open_round is not None and self.history.pending(trial.request)
        return "interrupted (pending)" if waits else INTERRUPTED

    def _witnesses(self, decision: Decision) -> tuple[Trial, ...]:
        """The trials behind an accepted step: the confirming ones, else those that selected it."""
        attempts = decision.detail.get("attempts") or [{}]
        selected = self.recorded.get((decision.round, decision.config_id), {})
        numbers = attempts[-1].get("trials") or selected.get("trials") or []
        if numbers:
            return tuple(self.history[number] for number in numbers)
        return tuple(trial for trial in self.trials if trial.config_id == decision.config_id)


def load(folder: Path) -> View:
    """Open a study; a search may be writing it.

    Raises:
        InputError: When the folder holds no study that has begun.
    """
    return View(open_study(folder), folder)


def fresh_words(told: Told) -> str:
    """Incumbent and candidate on the seeds of a confirmation, as its table shows them."""
    time = told.get("time") or {}
    if time.get("incumbent") and time.get("candidate"):
        sides = [
            median_words(side)
            + (f" ({side['misses']} of {side['seeds']} missed)" if side["misses"] else "")
            for side in (time["incumbent"], time["candidate"])
        ]
        return f"{sides[0]} → {sides[1]}"
    if told.get("loss") is None or told.get("incumbent_loss") is None:
        return "–"
    return f"{loss(told['incumbent_loss'])} → {loss(told['loss'])}"


def change_of(trial: Trial) -> str | None:
    """The change a trial tries, as ``Edit.key`` has it; None for the incumbent."""
    edit = trial.request.purpose.edit
    if edit is None:
        return None
    return Edit(**edit).key if "op" in edit else str(edit.get("path", ""))


def cost_of(name: str, trials: Sequence[Trial]) -> float | None:
    """A cost of one config: the mean over the trials, which tell the same where it is derived."""
    cost = COSTS[name]
    counted = (t for t in trials if t.state == "finished" or cost.measured is None)
    values = [float(v) for t in counted if (v := cost.of(t)) is not None]
    return math.fsum(values) / len(values) if values else None


def cost_axis(name: str) -> str:
    """Title of an axis that shows a cost."""
    unit = {"train_seconds": "s"}.get(name, COSTS[name].unit)
    return ", ".join(part for part in (name.replace("_", " "), unit) if part)
