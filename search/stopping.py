"""When to end a trial early: it is far too late, or its curve says that it cannot win."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.special import stdtrit

from search.gains import crossing, log_quality
from search.history import History, Stopped, Trial
from search.objective import Objective
from spec.config import Config
from spec.records import Eval

WINDOW = 3
"""Evaluations that are averaged: one alone is noise."""
FEWEST = 8
"""Finished curves without which nothing is extrapolated."""
NEAREST = 40
"""Most finished curves an extrapolation rests on: those that were as far from the reference."""
LATEST = 400
"""Most finished trials that are looked at, the latest."""
UNTOUCHED = frozenset({"calibrate", "confirm", "probe"})
"""Phases whose trials are comparisons for others, and so run to their end."""


class EarlyStopping(Config):
    """When a trial is ended before its budget is spent, recorded as stopped with the reason."""

    cap: Annotated[float, Field(gt=1)] | None = 3.0
    """Time-to-target only: end a trial that took so many times the seconds of the config it has to
    beat without reaching the target; null: never."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    """Losses only: end a trial when its curve, extrapolated, ends above that of the config it has
    to beat with this confidence; null: never. 0.99 is a careful choice."""
    after: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of its steps a trial is left alone, whatever its curve looks like."""

    def verdict(
        self, trial: Trial, reference: str, history: History, objective: Objective
    ) -> Stopped | None:
        """Why a running trial is to be ended now; None while it may still win.

        Args:
            trial: With its curve so far.
            reference: Id of the config it has to beat.
            history: Where finished trials are found; only those in the trial's setting count.
            objective: What counts as better.
        """
        purpose = trial.request.purpose
        if not trial.curve or purpose.edit is None or purpose.phase in UNTOUCHED:
            return None
        if objective.gain == "time_to_target":
            return self._beyond_cap(trial, _beaten(reference, trial, history), objective)
        if self.confidence is None or len(trial.curve) < WINDOW:
            return None
        return self._behind(trial, _beaten(reference, trial, history), history, objective)

    def _beyond_cap(
        self, trial: Trial, beaten: Sequence[Trial], objective: Objective
    ) -> Stopped | None:
        assert objective.target is not None
        reached = crossing(trial.curve, objective.target, objective.crossing)
        if self.cap is None or reached is None or not reached.censored:
            return None
        times = [math.exp(-value) for t in beaten if (value := _finite(t, objective)) is not None]
        if not times or 2 * len(times) <= len(beaten):
            return None  # what it has to beat reaches the target no better than by chance
        typical = median(times)
        if reached.seconds <= self.cap * typical:
            return None
        return Stopped(
            "cap",
            f"target not reached in {reached.seconds:.3g} train seconds, over {self.cap:g} times "
            f"the {typical:.3g} s of the config to beat",
        )

    def _behind(
        self, trial: Trial, beaten: Sequence[Trial], history: History, objective: Objective
    ) -> Stopped | None:
        assert self.confidence is not None
        guess = extrapolate(trial, beaten, _peers(trial, history), objective)
        if guess is None or trial.curve[-1].step < self.after * guess.steps:
            return None
        if guess.low(self.confidence) <= 0.0:
            return None
        unit = 1.0 if objective.gain == "val_loss" else math.log(2.0)
        return Stopped(
            "curve",
            f"at step {trial.curve[-1].step} of {guess.steps} it is expected to end at "
            f"{objective.gain} {guess.final / unit:.4f} +- {guess.error / unit:.2g}, "
            f"{guess.behind / unit:.2g} above the config to beat",
            guess.final / unit,
        )


@dataclass(frozen=True)
class Extrapolation:
    """Where a curve is expected to end.

    Attributes:
        final: Expected lowest loss, nats.
        behind: The same minus that of the reference.
        error: Its standard error as a prediction.
        freedom: Degrees of freedom behind the error.
        steps: Where the curve will end.
    """

    final: float
    behind: float
    error: float
    freedom: int
    steps: int

    def low(self, confidence: float) -> float:
        """One-sided lower bound of how far behind it ends."""
        return self.behind - float(stdtrit(self.freedom, confidence)) * self.error


def extrapolate(
    trial: Trial, beaten: Sequence[Trial], peers: Sequence[Trial], objective: Objective
) -> Extrapolation | None:
    """Where a running trial will end, judged by what became of finished ones that stood alike.

    A straight line of the final distance to the reference on the distance at this step, both at
    equal steps and on the same seed where there is one, fitted by least squares to the finished
    trials whose distance was nearest; its prediction interval is the uncertainty (Draper and Smith,
    Applied Regression Analysis, section 3.1). None without enough finished trials of one length.
    """
    step, seeds = trial.curve[-1].step, {other.seed: other for other in beaten}
    if not beaten or step >= (steps := beaten[0].curve[-1].step):
        return None
    known = {other.number: _distances(other, seeds, step, objective) for other in peers}
    pairs = [
        pair
        for other in peers
        if other.curve[-1].step == steps and (pair := known[other.number]) is not None
    ]
    here = _distance(trial, _of_seed(seeds, trial.seed), step, objective)
    if here is None or len(pairs) < FEWEST:
        return None
    nearest = sorted(pairs, key=lambda pair: (abs(pair[0] - here), pair))[:NEAREST]
    now, then = (np.array(column) for column in zip(*nearest, strict=True))
    spread = float(((now - now.mean()) ** 2).sum())
    slope = float(((now - now.mean()) * (then - then.mean())).sum()) / spread if spread else 0.0
    behind = float(then.mean()) + slope * (here - float(now.mean()))
    left = then - then.mean() - slope * (now - now.mean())
    freedom = len(nearest) - 2
    leverage = (here - float(now.mean())) ** 2 / spread if spread else 0.0
    error = math.sqrt(float(left @ left) / freedom * (1.0 + 1.0 / len(nearest) + leverage))
    level = -fmean(value for other in beaten if (value := _finite(other, objective)) is not None)
    return Extrapolation(level + behind, behind, error, freedom, steps)


def _beaten(reference: str, trial: Trial, history: History) -> list[Trial]:
    """The whole measurements of the reference in the trial's setting."""
    return [other for other in _whole(history, trial) if other.config_id == reference]


def _peers(trial: Trial, history: History) -> list[Trial]:
    return list(_whole(history, trial))[-LATEST:]


def _whole(history: History, trial: Trial) -> Iterator[Trial]:
    for other in history:
        if other.state == "finished" and other.curve and other.request.like(trial.request):
            yield other


def _distances(
    peer: Trial, seeds: Mapping[int, Trial], step: int, objective: Objective
) -> tuple[float, float] | None:
    """How far a finished trial was from the reference at a step, and at its end; nats."""
    reference = _of_seed(seeds, peer.seed)
    ours, theirs = _finite(peer, objective), _finite(reference, objective)
    now = _distance(peer, reference, step, objective)
    if now is None or ours is None or theirs is None or peer.config_id == reference.config_id:
        return None
    return now, theirs - ours


def _distance(trial: Trial, reference: Trial, step: int, objective: Objective) -> float | None:
    """Mean distance over the last evaluations up to a step, at equal steps; nats."""
    seen = [point for point in trial.curve if point.step <= step][-WINDOW:]
    at = [point.step for point in reference.curve]
    losses = [_nats(point, objective) for point in reference.curve]
    if len(seen) < WINDOW or seen[0].step < at[0]:
        return None
    gaps = [_nats(point, objective) - float(np.interp(point.step, at, losses)) for point in seen]
    return fmean(gaps) if all(map(math.isfinite, gaps)) else None


def _of_seed(seeds: Mapping[int, Trial], seed: int) -> Trial:
    return seeds.get(seed, next(iter(seeds.values())))


def _finite(trial: Trial, objective: Objective) -> float | None:
    value = log_quality(trial, objective)
    return None if value is None or not math.isfinite(value) else value


def _nats(point: Eval, objective: Objective) -> float:
    if objective.gain == "val_bpb":
        return math.nan if point.val_bpb is None else point.val_bpb * math.log(2.0)
    return point.val_loss
