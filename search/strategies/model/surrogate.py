"""A Bayesian linear model of quality: conjugate, with the strength of its prior from the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from search.strategies.model.conjugate import GAINS, TINY, Posterior, Rotated, Weights, summed
from search.strategies.model.features import Features, Group
from search.strategies.model.forms import Array, Form, squared
from search.strategies.model.lattice import Points
from search.strategies.model.own import BELIEFS, NEVER, NO_NOISE, RATIOS, Own, spreads
from search.strategies.model.seeds import SeedEffects

PRIORS: tuple[Mapping[Group, float], ...] = tuple(
    {"main": 1.0, "bend": 0.5, "level": 0.08, "layer": layer, "cross": cross}
    for layer, cross in product((0.2, 0.7), (0.1, 0.4, 1.0))
)
"""Standard deviations of effects beside that of a common one; the data weigh these priors. Those
that differ only in groups a space does not have are one."""
TYPICAL: Mapping[Group, float] = {**PRIORS[0], "cross": 0.4}
"""The one under which effects of single configs are told from noise."""
ALIKE = 0.02
"""Weights that differ by less share one decomposition."""


@dataclass(frozen=True)
class _Fit:
    """The posteriors under one prior: ``U diag(s) W`` is the weighed design times the widths.

    Attributes:
        widths: Of the prior, (features,).
        rotated: The values along ``U``.
        right: ``W``, (k, features).
        posterior: Of the spread.
    """

    widths: Array
    rotated: Rotated
    right: Array
    posterior: Posterior

    def mean(self, odds: Array) -> Array:
        """Posterior mean of the effects, (features,), the gains as likely as told."""
        squares, along = self.rotated.squares, self.rotated.along
        steps = GAINS[:, None] * np.sqrt(squares) / (1.0 + GAINS[:, None] * squares)
        return np.asarray(self.widths * (((odds @ steps) * along) @ self.right))

    def deviation(self, number: int, rng: np.random.Generator) -> Array:
        """What one draw of the effects is off their mean under one gain, (features,)."""
        gain, found = GAINS[number], self.posterior
        spread = found.rates[number] / rng.gamma(found.shape)
        wild = rng.standard_normal(len(self.widths)) * math.sqrt(spread * gain)
        kept = self.right @ wild
        shrunk = kept / np.sqrt(1.0 + gain * self.rotated.squares)
        return np.asarray(self.widths * (wild + (shrunk - kept) @ self.right))


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
        evidence: See ``summed``.
    """

    def __init__(
        self,
        features: Features,
        points: Points,
        values: Array,
        counts: Array | None = None,
        seeds: SeedEffects | None = None,
    ) -> None:
        self._features = features
        counts = np.ones(len(values)) if counts is None else counts
        design = features(points)
        self.own = _own(features, design, values, counts, seeds or SeedEffects())
        weights = Weights(self.own.precision)
        self._centre, self._level = weights.share @ design, float(weights.share @ values)
        rows, heights = weights.heights(design), weights.heights(values)
        self._fits = [_fit(rows, heights, widths) for widths in _widths(features)]
        evidence = np.array([fit.posterior.evidence for fit in self._fits])
        self.evidence, self._odds = summed(evidence, weights, heights)

    def mean(self) -> Form:
        """The posterior mean of quality."""
        fits = zip(self._fits, self._odds, strict=True)
        return self._form(np.sum([fit.mean(odds) for fit, odds in fits], axis=0))

    def sample(self, rng: np.random.Generator, boldness: float = 1.0) -> Form:
        """One draw of quality from the posterior: which prior, the spread, and every effect.

        Args:
            rng: Where chance comes from.
            boldness: Factor on the deviation from the posterior mean.
        """
        drawn = int(rng.choice(self._odds.size, p=self._odds.ravel()))
        fit, number = self._fits[drawn // len(GAINS)], drawn % len(GAINS)
        mean = fit.mean(np.eye(len(GAINS))[number])
        return self._form(mean + boldness * fit.deviation(number, rng))

    def _form(self, weights: Array) -> Form:
        features, size = self._features, len(weights) - int(self._features.crossed.sum())
        on_pairs = np.zeros(len(features.crossed))
        on_pairs[features.crossed] = weights[size:]
        constant = self._level - float(self._centre @ weights)
        return features.table.form(weights[:size], squared(on_pairs, features.mains), constant)


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
            weighed_by, weights = spread, Weights(1.0 / spread)
            rows, heights = weights.heights(design), weights.heights(values)
            rotated, _ = _rotated(rows * widths, heights)
        inside = seeds.freedom * seeds.variance * (1.0 + ratio)
        found = rotated.under_gains(inside, seeds.freedom)
        evidence = np.logaddexp.reduce(found.evidence)
        evidence += (seeds.freedom * math.log(1.0 + ratio) - weights.volume) / 2
        odds.append(evidence + math.log(belief))
        once = found.rates[found.evidence.argmax()] / found.shape
        noise.append(once / (1.0 + ratio) if ratio < NO_NOISE else 0.0)
    chances = np.exp(np.array(odds) - max(odds))
    chances[chances < NEVER] = 0.0
    return Own(each, chances / chances.sum(), np.array(noise))


def _widths(features: Features) -> list[Array]:
    """Of every prior, those that are the same once."""
    return list({widths.tobytes(): widths for widths in map(features.widths, PRIORS)}.values())


def _fit(rows: Array, heights: Array, widths: Array) -> _Fit:
    rotated, right = _rotated(rows * widths, heights)
    return _Fit(widths, rotated, right, rotated.under_gains())


def _rotated(design: Array, heights: Array) -> tuple[Rotated, Array]:
    """Heights under a design's covariance; and ``W`` of its decomposition ``U diag(s) W``.

    By way of the smaller of its two products with itself, which takes a tenth of the time; what
    is lost below the square root of the rounding error is nothing beside the noise.
    """
    tall = design.shape[0] >= design.shape[1]
    squares, vectors = np.linalg.eigh(design.T @ design if tall else design @ design.T)
    kept = squares > squares.max(initial=0.0) * TINY
    squares, vectors = squares[kept], vectors[:, kept]
    singular = np.sqrt(squares)
    right = vectors.T if tall else (vectors.T @ design) / singular[:, None]
    along = (design @ vectors).T @ heights / singular if tall else vectors.T @ heights
    return Rotated(squares, along, heights), right
