"""When to end a trial early: it is far too late, or its curve says that it cannot win."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import stdtrit

from search.gains import crossing, log_quality, pooled_noise
from search.history import CALIBRATE, CONFIRM, PROBE, History, Stopped, Trial
from search.objective import Objective
from search.to_target import crossings, to_target
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
UNTOUCHED = frozenset({CALIBRATE, CONFIRM, PROBE})
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

    def acts_on(self, objective: Objective) -> bool:
        """Whether trials of such a search may be ended at all."""
        timed = objective.gain == "time_to_target"
        return (self.cap if timed else self.confidence) is not None

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
        beaten = history.finished(trial.request, reference)
        if objective.gain == "time_to_target":
            return self._beyond_cap(trial, beaten, objective)
        if self.confidence is None or len(trial.curve) < WINDOW:
            return None
        peers = history.finished(trial.request)[-LATEST:]
        return self._behind(trial, beaten, peers, objective)

    def _beyond_cap(
        self, trial: Trial, beaten: Sequence[Trial], objective: Objective
    ) -> Stopped | None:
        assert objective.target is not None
        reached = crossing(trial.curve, objective.target, objective.crossing)
        if self.cap is None or reached is None or not reached.censored:
            return None
        typical = to_target(list(crossings(beaten, objective).values()))
        if typical is None or typical.missed:
            return None  # what it has to beat reaches the target no better than by chance
        if reached.seconds <= self.cap * typical.seconds:
            return None
        return Stopped(
            "cap",
            f"target not reached in {reached.seconds:.3g} train seconds, over {self.cap:g} times "
            f"the {typical.seconds:.3g} s of the config to beat",
            objective.gain,
        )

    def _behind(
        self, trial: Trial, beaten: Sequence[Trial], peers: Sequence[Trial], objective: Objective
    ) -> Stopped | None:
        assert self.confidence is not None
        guess = extrapolate(trial, beaten, peers, objective)
        if guess is None or trial.curve[-1].step < self.after * guess.steps:
            return None
        low = guess.low(self.confidence)
        if low <= 0.0:
            return None
        unit = 1.0 if objective.gain == "val_loss" else math.log(2.0)
        least = (guess.final - guess.behind + low) / unit
        return Stopped(
            "curve",
            f"at step {trial.curve[-1].step} of {guess.steps} it is expected to end at "
            f"{objective.gain} {guess.final / unit:.4f}, and with {100 * self.confidence:.4g} % "
            f"confidence at {least:.4f} or above: {low / unit:.2g} above the config to beat",
            objective.gain,
            guess.final / unit,
            least,
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
    Applied Regression Analysis, section 3.1), together with the noise of the seed, as far as
    repeats tell it. None without enough finished trials, or when the trial is not known to be
    planned as long as the reference.
    """
    if not beaten or trial.curve[-1].step >= (steps := beaten[0].curve[-1].step):
        return None
    if trial.planned_steps is None or trial.planned_steps != beaten[0].planned_steps:
        return None
    step, seeds = trial.curve[-1].step, {other.seed: other for other in beaten}
    pairs = [
        pair
        for other in peers
        if other.curve[-1].step == steps
        and (pair := _distances(other, seeds, step, objective)) is not None
    ]
    here = _distance(trial, _of_seed(seeds, trial.seed), step, objective)
    if here is None or len(pairs) < FEWEST:
        return None
    nearest = sorted(pairs, key=lambda pair: (abs(pair[0] - here), pair))[:NEAREST]
    behind, error = _on_the_line(np.array(nearest), here)
    error = math.hypot(error, math.sqrt(2.0) * _seed_noise(peers, objective))
    level = -fmean(value for other in beaten if (value := _finite(other, objective)) is not None)
    return Extrapolation(level + behind, behind, error, len(nearest) - 2, steps)


def _on_the_line(pairs: NDArray[np.float64], here: float) -> tuple[float, float]:
    """Prediction at a distance from pairs (n, 2) of distances now and in the end; and its error."""
    now, then = pairs.T
    spread = float(((now - now.mean()) ** 2).sum())
    slope = float(((now - now.mean()) * (then - then.mean())).sum()) / spread if spread else 0.0
    left = then - then.mean() - slope * (now - now.mean())
    leverage = (here - float(now.mean())) ** 2 / spread if spread else 0.0
    variance = float(left @ left) / (len(pairs) - 2) * (1.0 + 1.0 / len(pairs) + leverage)
    return float(then.mean()) + slope * (here - float(now.mean())), math.sqrt(variance)


def _seed_noise(peers: Sequence[Trial], objective: Objective) -> float:
    """Standard deviation of one measurement, nats; zero while nothing was repeated."""
    table: dict[str, dict[int, float]] = {}
    for peer in peers:
        if (value := _finite(peer, objective)) is not None:
            table.setdefault(peer.config_id, {})[peer.seed] = value
    noise = pooled_noise(table)
    return 0.0 if noise is None else noise.deviation


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
