"""A Bayesian linear model of quality: conjugate, with the strength of its prior from the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from search.strategies.model.features import WAVES, Features, Group
from search.strategies.model.forms import Array, Form, squared
from search.strategies.model.lattice import Points
from search.strategies.model.own import BELIEFS, NEVER, NO_NOISE, RATIOS, Own, spreads
from search.strategies.model.seeds import SeedEffects

PRIORS: tuple[Mapping[Group, float], ...] = tuple(
    {"main": 1.0, "bend": 0.5, "level": 0.08, "layer": layer, "cross": cross, "wave": wave}
    for layer, cross, wave in product((0.2, 0.7), (0.1, 0.4, 1.0), (0.0, 0.2))
)
"""Standard deviations of effects beside that of a common one; the data weigh these priors. Those
that differ only in groups a space does not have are one."""
TYPICAL: Mapping[Group, float] = {**PRIORS[0], "cross": 0.4, "wave": 0.2}
"""The one under which effects of single configs are told from noise."""
GAINS = np.geomspace(1.0, 1e6, 13)
"""Variance of a common effect in units of the spread; likewise."""
SHAPE = 1.0
"""Shape of the inverse-gamma prior of the spread: a single observation's worth."""
SCALE = 1e-4
"""Its scale, as a share of the observed variance of quality."""

ALIKE = 0.02
"""Weights that differ by less share one decomposition."""
TINY = 1e-13
"""Squared singular values below this share of the largest are rounding."""


@dataclass(frozen=True)
class _Fit:
    """The posterior under one prior: ``U diag(s) W`` is the weighted, centred design."""

    widths: Array
    singular: Array
    right: Array
    along: Array
    gain: float
    rate: float
    evidence: float


class Surrogate:
    """Quality of a config as a linear function of its features, with everything it is unsure of.

    ``y ~ N(intercept + features w, spread / precision)``, ``w ~ N(0, spread x gain x widths^2)``
    and an inverse-gamma ``spread``, the variance of a config measured once (Bishop, Pattern
    Recognition and Machine Learning, 2006, sec. 3.3 to 3.5). The intercept is flat. The gain and
    the widths of the effect groups are averaged over a grid by their evidence, so the scale of
    effects comes from the data. What repeated configs tell of the noise decides how much of the
    spread are effects of single configs, and with that the precision: how much more a config tells
    that was measured more often.

    Args:
        features: Maps points to features.
        points: (n, C), n at least 1.
        values: (n,), higher is better.
        counts: (n,), of how many measurements each is the mean; one by default; 0 for a value that
            was made up, which is fitted like one measurement and tells nothing of noise.
        seeds: What is known of a measurement's noise; nothing by default.

    Attributes:
        own: Effects of single configs.
        evidence: Logarithm of how likely the values are, up to what surrogates of the same values
            and counts have in common.
    """

    def __init__(
        self,
        features: Features,
        points: Points,
        values: Array,
        counts: Array | None = None,
        seeds: SeedEffects | None = None,
    ) -> None:
        self._features, self._values = features, values
        counts = np.ones(len(values)) if counts is None else counts
        design = features(points)
        self.own = _own(features, design, values, counts, seeds or SeedEffects())
        rows, heights, self._centre, self._level = _weighed(design, values, self.own.precision)
        self._fits = _fits(features, rows, heights)
        odds = np.array([fit.evidence for fit in self._fits])
        volume = math.log(self.own.precision.sum()) - np.log(self.own.precision).sum()
        scale = SCALE * float(heights @ heights) / len(heights) + 1e-300
        self.evidence = float(np.logaddexp.reduce(odds) - volume / 2) + SHAPE * math.log(scale)
        odds = np.exp(odds - odds.max())
        self._odds = odds / odds.sum()

    def mean(self) -> Form:
        """The posterior mean of quality."""
        kept = np.argsort(self._odds)[-8:]
        weights = sum(self._odds[k] * _mean(self._fits[k]) for k in kept)
        return self._form(np.asarray(weights / self._odds[kept].sum()))

    def sample(self, rng: np.random.Generator, boldness: float = 1.0) -> Form:
        """One draw of quality from the posterior: which prior, the spread, and every effect.

        Args:
            rng: Where chance comes from.
            boldness: Factor on the deviation from the posterior mean.
        """
        fit = self._fits[int(rng.choice(len(self._fits), p=self._odds))]
        spread = fit.rate / rng.gamma(_shape(self._values))
        wild = rng.standard_normal(len(fit.widths)) * math.sqrt(spread * fit.gain)
        kept = fit.right @ wild
        shrunk = kept / np.sqrt(1.0 + fit.gain * fit.singular**2)
        draw = wild + (shrunk - kept) @ fit.right
        return self._form(_mean(fit) + boldness * fit.widths * draw)

    def _form(self, weights: Array) -> Form:
        features, last = self._features, len(weights) - WAVES
        size = last - int(features.crossed.sum())
        on_pairs = np.zeros(len(features.crossed))
        on_pairs[features.crossed] = weights[size:last]
        constant = self._level - float(self._centre @ weights)
        square = squared(on_pairs, features.mains)
        return features.table.form(weights[:size], square, constant, features.waves(weights[last:]))


def _own(
    features: Features, design: Array, values: Array, counts: Array, seeds: SeedEffects
) -> Own:
    """Effects of single configs, by the evidence for each of their variances.

    ``y = intercept + features w + own + noise / sqrt(count)``: a config measured once varies by
    its own effect and noise together, measurements of one config by the noise alone.
    """
    each = np.maximum(counts, 1.0)
    if seeds.variance is None or not counts.any():
        return Own(each, np.eye(len(RATIOS))[0], np.zeros(len(RATIOS)))
    design, values, counts = (part[counts > 0] for part in (design, values, counts))
    widths = features.widths(TYPICAL)
    weighed_by = np.full(len(values), np.inf)
    odds, noise = [], []
    for ratio, belief, spread in zip(RATIOS, BELIEFS, spreads(counts), strict=True):
        if np.abs(spread / weighed_by - 1.0).max() > ALIKE:
            weighed_by = spread
            rows, heights, _, _ = _weighed(design, values, 1.0 / spread)
            rotated = _rotated(rows * widths, heights)
            volume = np.log(spread).sum() + math.log((1.0 / spread).sum())
        inside = seeds.freedom * seeds.variance * (1.0 + ratio)
        fits = _under(widths, *rotated, heights, inside, seeds.freedom)
        evidence = np.logaddexp.reduce([fit.evidence for fit in fits])
        evidence += (seeds.freedom * math.log(1.0 + ratio) - volume) / 2
        odds.append(evidence + math.log(belief))
        once = max(fits, key=lambda fit: fit.evidence).rate / _shape(values, seeds.freedom)
        noise.append(once / (1.0 + ratio) if ratio < NO_NOISE else 0.0)
    chances = np.exp(np.array(odds) - max(odds))
    chances[chances < NEVER] = 0.0
    return Own(each, chances / chances.sum(), np.array(noise))


def _weighed(design: Array, values: Array, precision: Array) -> tuple[Array, Array, Array, float]:
    """Design and values as if all rows told the same, without their means; and these means."""
    share, root = precision / precision.sum(), np.sqrt(precision)
    centre, level = share @ design, float(share @ values)
    return root[:, None] * (design - centre), root * (values - level), centre, level


def _shape(values: Array, inside_freedom: float = 0.0) -> float:
    """Of the inverse-gamma posterior of the spread."""
    return SHAPE + (len(values) - 1 + inside_freedom) / 2


def _fits(features: Features, design: Array, values: Array) -> list[_Fit]:
    fits = []
    for widths in {w.tobytes(): w for w in map(features.widths, PRIORS)}.values():
        along, singular, right = _rotated(design * widths, values)
        fits += _under(widths, along, singular, right, values)
    return fits


def _rotated(design: Array, values: Array) -> tuple[Array, Array, Array]:
    """``U' y``, ``s`` and ``W`` of the design's singular value decomposition ``U diag(s) W``.

    By way of the smaller of its two products with itself, which takes a tenth of the time; what
    is lost below the square root of the rounding error is nothing beside the noise.
    """
    tall = design.shape[0] >= design.shape[1]
    squares, vectors = np.linalg.eigh(design.T @ design if tall else design @ design.T)
    kept = squares > squares.max(initial=0.0) * TINY
    singular, vectors = np.sqrt(squares[kept]), vectors[:, kept]
    right = vectors.T if tall else (vectors.T @ design) / singular[:, None]
    along = (design @ vectors).T @ values / singular if tall else vectors.T @ values
    return along, singular, right


def _under(
    widths: Array,
    along: Array,
    singular: Array,
    right: Array,
    values: Array,
    inside: float = 0.0,
    inside_freedom: float = 0.0,
) -> list[_Fit]:
    """The posteriors under one prior's widths, for every gain.

    Args:
        widths: Of the prior.
        along: See ``_rotated``.
        singular: See ``_rotated``.
        right: See ``_rotated``.
        values: Centred.
        inside: Sum of squares that is known to be noise.
        inside_freedom: Its degrees of freedom.
    """
    total = float(values @ values)
    shape = _shape(values, inside_freedom)
    fits = []
    for gain in GAINS:
        strength = 1.0 + gain * singular**2
        explained = float(((1.0 - 1.0 / strength) * along**2).sum())
        rate = SCALE * total / len(values) + (max(total - explained, 0.0) + inside) / 2 + 1e-300
        evidence = -0.5 * float(np.log(strength).sum()) - shape * math.log(rate)
        fits.append(_Fit(widths, singular, right, along, float(gain), rate, evidence))
    return fits


def _mean(fit: _Fit) -> Array:
    shrunk = fit.gain * fit.singular / (1.0 + fit.gain * fit.singular**2)
    weights: Array = fit.widths * ((shrunk * fit.along) @ fit.right)
    return weights
