"""Quality and time-to-target measurements, and what one candidate gains over another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import fdtrc, stdtr, stdtrit  # scipy.stats takes half a second to import

from search.history import Trial
from search.objective import Objective
from spec.records import Eval

Table = Mapping[str, Mapping[int, float]]
"""Config id -> seed -> quality."""


UNEVEN = 0.1
"""Chance at which a config's own seeds are taken for noisier than the pool's although they are not.
"""


TINY = 1e-300
"""Qualities below this are those of a loss that has lost all meaning."""


@dataclass(frozen=True)
class Crossing:
    """Where a curve reaches a target loss.

    Attributes:
        censored: The target was not reached; the other values are then lower bounds, where the
            curve ended.
        seconds: Train seconds, interpolated between the evaluations around the crossing.
        tokens: Training tokens, likewise; None when the trainer does not report them.
        steps: Optimizer steps, likewise.
    """

    censored: bool
    seconds: float
    tokens: float | None
    steps: float


def crossing(curve: Sequence[Eval], target: float, rule: str = "first") -> Crossing | None:
    """Where a curve of evaluations crosses ``target``; None for an empty curve.

    ``first`` takes the first evaluation at or below the target, ``sustained`` the first after which
    the loss never rises above it again. The crossing is interpolated linearly in the loss from the
    evaluation before. When the first evaluation is below the target already, its own time is an
    upper bound and is what is given.
    """
    if not curve:
        return None
    below = [point.val_loss <= target for point in curve]
    if rule == "sustained":
        below = [all(below[index:]) for index in range(len(below))]
    if not any(below):
        last = curve[-1]
        return Crossing(True, last.train_seconds, last.tokens, last.step)
    hit = below.index(True)
    after, before = curve[hit], curve[max(hit - 1, 0)]
    drop = before.val_loss - after.val_loss
    part = (before.val_loss - target) / drop if math.isfinite(drop) and drop > 0 else 1.0
    part = min(max(part, 0.0), 1.0)

    def between(start: float, end: float) -> float:
        return start + part * (end - start)

    tokens = None
    if before.tokens is not None and after.tokens is not None:
        tokens = between(before.tokens, after.tokens)
    seconds = between(before.train_seconds, after.train_seconds)
    return Crossing(False, seconds, tokens, between(before.step, after.step))


def best(curve: Iterable[Eval]) -> Eval | None:
    """The evaluation with the lowest finite validation loss."""
    finite = [point for point in curve if math.isfinite(point.val_loss)]
    return min(finite, key=lambda point: point.val_loss) if finite else None


def mean_loss(losses: Sequence[float]) -> float:
    """The loss of the mean score, ``-ln(mean(exp(-loss)))``, also where scores underflow."""
    least = min(losses)
    return least - math.log(math.fsum(math.exp(least - loss) for loss in losses) / len(losses))


@dataclass(frozen=True)
class Scores:
    """One trial scored every way; None where it cannot be.

    Attributes:
        val_loss: Lowest validation loss, nats per token.
        val_bpb: The same evaluation in bits per byte.
        score: ``exp(-val_loss)``, the geometric-mean probability of the next token.
        to_target: The crossing of the objective's target.
    """

    val_loss: float | None
    val_bpb: float | None
    score: float | None
    to_target: Crossing | None


def scores(trial: Trial, objective: Objective) -> Scores:
    """Score a trial by its loss and, when the objective has a target, by its time to it."""
    point = best(trial.curve)
    reached = (
        crossing(trial.curve, objective.target, objective.crossing)
        if objective.target is not None
        else None
    )
    if point is None:
        return Scores(None, None, None, reached)
    return Scores(point.val_loss, point.val_bpb, probability(-point.val_loss), reached)


def log_quality(trial: Trial, objective: Objective) -> float | None:
    """Quality as a logarithm: higher is better; None when the trial did not measure it.

    The negative loss, in nats, or for time-to-target ``-ln(seconds)``, and ``-inf`` when missed.
    """
    if trial.state != "finished":
        return None
    scored = scores(trial, objective)
    if objective.gain == "val_loss":
        return None if scored.val_loss is None else -scored.val_loss
    if objective.gain == "val_bpb":
        return None if scored.val_bpb is None else -scored.val_bpb * math.log(2.0)
    if scored.to_target is None:
        return None
    return (
        -math.inf if scored.to_target.censored else -math.log(max(scored.to_target.seconds, 1e-9))
    )


def quality(trial: Trial, objective: Objective) -> float | None:
    """The number a search maximises: higher is better; None when the trial did not measure it.

    ``exp(-val_loss)`` or ``2**-val_bpb``, the geometric-mean probability of the next token or byte;
    for time-to-target ``-ln(seconds)``, so that a gain of 0.1 is about a tenth less time.
    """
    value = log_quality(trial, objective)
    return value if value is None or objective.gain == "time_to_target" else probability(value)


def expected_quality(trial: Trial, objective: Objective) -> float | None:
    """The same, where a trial that was ended early counts as what was expected of it.

    One that a cap has ended missed the target.
    """
    if trial.stopped is None:
        return quality(trial, objective)
    if trial.stopped.gain != objective.gain:
        return None  # it was asked for something else when it was stopped
    if trial.stopped.predicted is None:
        return -math.inf if objective.gain == "time_to_target" else None
    unit = math.log(2.0) if objective.gain == "val_bpb" else 1.0
    return probability(-trial.stopped.predicted * unit)


def probability(logarithm: float) -> float:
    """Its exponential, infinite where that is too large for a number."""
    try:
        return math.exp(logarithm)
    except OverflowError:
        return math.inf


def shown_value(trial: Trial, objective: Objective) -> float:
    """What Optuna's tools minimise: loss, or seconds to the target (infinite when missed)."""
    found = scores(trial, objective)
    if objective.gain == "time_to_target":
        reached = found.to_target
        return math.inf if reached is None or reached.censored else reached.seconds
    value = found.val_loss if objective.gain == "val_loss" else found.val_bpb
    assert value is not None
    return value


@dataclass(frozen=True)
class Noise:
    """Seed noise of one trial's quality.

    Attributes:
        deviation: Standard deviation of one measurement once what a seed does to every config is
            removed.
        freedom: Degrees of freedom of the estimate.
        paired: False when only repeats of single configs were at hand: the deviation then still
            holds the common effect of the seed, and is too large rather than too small.
    """

    deviation: float
    freedom: int
    paired: bool = True

    def at(self, level: float, objective: Objective) -> Noise:
        """Relative noise as noise of quality around ``level`` (the delta method)."""
        if objective.gain == "time_to_target":
            return self
        return replace(self, deviation=self.deviation * level)


def pooled_noise(table: Table) -> Noise | None:
    """Noise pooled over every config measured on several seeds; None when nothing was repeated.

    The residual of the additive model ``quality = config + seed`` fitted by least squares to the
    incomplete table: a two-way layout without interaction (Montgomery, Design and Analysis of
    Experiments, chapter 4).
    """
    cells = [
        (config, seed, value)
        for config, row in sorted(table.items())
        if sum(map(math.isfinite, row.values())) > 1
        for seed, value in sorted(row.items())
        if math.isfinite(value)
    ]
    paired = _residual(cells, with_seeds=True)
    return paired or _residual(cells, with_seeds=False)


def combined(noises: Iterable[Noise | None]) -> Noise | None:
    """One estimate from several, weighted by their freedom; paired ones, where there are any."""
    known = [noise for noise in noises if noise is not None]
    known = [noise for noise in known if noise.paired] or known
    freedom = sum(noise.freedom for noise in known)
    if not known:
        return None
    variance = math.fsum(noise.deviation**2 * noise.freedom for noise in known) / freedom
    return Noise(math.sqrt(variance), freedom, known[0].paired)


def _residual(cells: Sequence[tuple[str, int, float]], with_seeds: bool) -> Noise | None:
    configs = {
        config: index for index, config in enumerate(dict.fromkeys(cell[0] for cell in cells))
    }
    seeds = {seed: index for index, seed in enumerate(dict.fromkeys(cell[1] for cell in cells))}
    design = np.zeros((len(cells), len(configs) + (len(seeds) if with_seeds else 0)))
    for row, (config, seed, _) in enumerate(cells):
        design[row, configs[config]] = 1.0
        if with_seeds:
            design[row, len(configs) + seeds[seed]] = 1.0
    if not cells:
        return None
    values = np.array([cell[2] for cell in cells])
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    freedom = len(cells) - int(rank)
    if freedom < 1:
        return None
    left = float(np.sum((values - design @ solution) ** 2))
    return Noise(math.sqrt(left / freedom), freedom, paired=with_seeds)


@dataclass(frozen=True)
class Gain:
    """How much better one config is than another, on the same seeds.

    Attributes:
        mean: Mean difference of quality; positive is better.
        error: Standard error of the mean; None when the noise is unknown.
        freedom: Degrees of freedom behind the error.
        seeds: How many seeds both were measured on.
    """

    mean: float
    error: float | None
    freedom: int
    seeds: int

    def low(self, confidence: float = 0.95) -> float:
        """One-sided lower confidence bound; the mean itself when the noise is unknown."""
        return self.mean - self._reach(confidence)

    def high(self, confidence: float = 0.95) -> float:
        """One-sided upper confidence bound; the mean itself when the noise is unknown."""
        return self.mean + self._reach(confidence)

    def p_value(self, margin: float = 0.0) -> float | None:
        """Chance of a mean this high if the true gain were ``margin``; None for unknown noise."""
        if self.error is None:
            return None
        if self.error == 0.0:
            return 0.0 if self.mean > margin else 1.0
        return float(stdtr(self.freedom, (margin - self.mean) / self.error))

    def with_own(self, noise: Noise | None, own: Noise | None) -> Gain:
        """The same with the error of its own differences, where they vary clearly more than noise.

        A pool of many configs says nothing of one that is noisier than they are, as a learning rate
        near divergence is. Which of the two is right an F-test tells, at ``UNEVEN``: a level that
        low would miss most of what a few seeds can show.

        Args:
            noise: Of one measurement, as pooled.
            own: Of one difference between the two configs, from their own seeds.
        """
        if self.error is None or noise is None or own is None:
            return self
        ratio = own.deviation**2 / max(2.0 * noise.deviation**2, 1e-300)
        if float(fdtrc(own.freedom, noise.freedom, ratio)) >= UNEVEN:
            return self
        return replace(self, error=own.deviation / math.sqrt(self.seeds), freedom=own.freedom)

    def _reach(self, confidence: float) -> float:
        if self.error is None:
            return 0.0
        return float(stdtrit(self.freedom, confidence)) * self.error


def compare(
    candidate: Mapping[int, float], incumbent: Mapping[int, float], noise: Noise | None
) -> Gain | None:
    """The gain of one config over another from their qualities by seed; None without a common seed.

    Qualities are finite; see ``floored`` for missed targets.
    """
    common = sorted(candidate.keys() & incumbent.keys())
    if not common:
        return None
    mean = math.fsum(candidate[seed] - incumbent[seed] for seed in common) / len(common)
    if noise is None:
        return Gain(mean, None, 0, len(common))
    error = noise.deviation * math.sqrt(2.0 / len(common))
    return Gain(mean, error, noise.freedom, len(common))


def floored(table: Table) -> dict[str, dict[int, float]]:
    """A table in which a missed target (``-inf``) counts as twice the longest time seen in it.

    The penalised average runtime PAR2 of Hutter et al., ParamILS, JAIR 2009, with one penalty for
    the whole table, so that misses enter gains and their noise alike.
    """
    finite = [value for row in table.values() for value in row.values() if math.isfinite(value)]
    floor = min(finite) - math.log(2.0) if finite else 0.0
    return {
        config: {seed: max(value, floor) for seed, value in row.items()}
        for config, row in table.items()
    }


def missed_at_bounds(
    table: Table, measured: Mapping[str, Mapping[int, Trial]], objective: Objective
) -> dict[str, dict[int, float]]:
    """A table in which a missed target (``-inf``) counts as the time at which its curve ended.

    The true time is longer: a miss comes out better than it is, never worse.
    """

    def bound(trial: Trial) -> float:
        reached = scores(trial, objective).to_target
        assert reached is not None  # only a curve can miss
        return -math.log(max(reached.seconds, 1e-9))

    return {
        config: {s: v if v > -math.inf else bound(measured[config][s]) for s, v in row.items()}
        for config, row in table.items()
    }


def smallest_detectable(noise: Noise, seeds: int, alpha: float, power: float = 0.8) -> float:
    """The smallest true gain a one-sided test on so many paired seeds finds at this power."""
    reach = stdtrit(noise.freedom, 1.0 - alpha) + stdtrit(noise.freedom, power)
    return float(reach) * noise.deviation * math.sqrt(2.0 / seeds)
