"""Conjugate inference on values of unequal weight: what linear model and process have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from search.strategies.model.forms import Array

GAINS = np.geomspace(1.0, 1e6, 13)
"""Variance of a prior's unit in units of the spread; the data weigh these."""
SHAPE = 1.0
"""Shape of the inverse-gamma prior of the spread: a single observation's worth."""
SCALE = 1e-4
"""Its scale, as a share of the observed variance of quality."""
TINY = 1e-13
"""Eigenvalues below this share of the largest are rounding."""


@dataclass(frozen=True)
class Weights:
    """How much each of some values tells; their common level is free.

    Attributes:
        precision: (n,), in units of that of a value of unit spread.
    """

    precision: Array

    @cached_property
    def share(self) -> Array:
        """(n,): Of each in the weighted mean."""
        return np.asarray(self.precision / self.precision.sum())

    @cached_property
    def root(self) -> Array:
        """(n,): What makes all errors alike."""
        return np.sqrt(self.precision)

    def heights(self, values: Array) -> Array:
        """Values above their weighted mean as if all told the same; (n,) or (n, k)."""
        return np.asarray((self.root * (values - self.share @ values).T).T)

    @property
    def volume(self) -> float:
        """Minus twice what the weights add to the logarithm of the likelihood."""
        return math.log(self.precision.sum()) - float(np.log(self.precision).sum())


@dataclass(frozen=True)
class Rotated:
    """Heights along the principal axes of a prior's covariance of them.

    Attributes:
        squares: (k,), variances along the axes for a gain of 1, zeros left out.
        along: (k,), of the heights.
        heights: (n,).
    """

    squares: Array
    along: Array
    heights: Array

    def under_gains(self, inside: float = 0.0, freedom: int = 0) -> Posterior:
        """The posterior of the spread, and the evidence, under every gain.

        Args:
            inside: A sum of squares that is known to be noise.
            freedom: Its degrees of freedom.
        """
        total, count = float(self.heights @ self.heights), len(self.heights)
        shape = SHAPE + (count - 1 + freedom) / 2
        strength = 1.0 + GAINS[:, None] * self.squares
        explained = ((1.0 - 1.0 / strength) * self.along**2).sum(axis=1)
        left = np.maximum(total - explained, 0.0) + inside
        rates = _scale(self.heights) + left / 2
        return Posterior(shape, rates, -0.5 * np.log(strength).sum(axis=1) - shape * np.log(rates))


@dataclass(frozen=True)
class Posterior:
    """Inverse-gamma posteriors of the spread, the variance of a value of precision 1.

    Attributes:
        shape: Of all.
        rates: (gains,).
        evidence: (gains,), logarithms; see ``summed``.
    """

    shape: float
    rates: Array
    evidence: Array


def summed(evidence: Array, weights: Weights, heights: Array) -> tuple[float, Array]:
    """The evidence of a model from that of its parts, which are as likely as each other before.

    Args:
        evidence: Logarithms, of any shape.
        weights: Of the values.
        heights: Of the values, (n,).

    Returns:
        The logarithm of how likely the values are, up to what models of the same values and counts
        have in common; and how likely each part is, of the shape of ``evidence``.
    """
    whole = float(np.logaddexp.reduce(evidence, axis=None))
    mean = whole - math.log(evidence.size)
    told = mean - weights.volume / 2 + SHAPE * math.log(_scale(heights))
    return told, np.exp(evidence - whole)


def _scale(heights: Array) -> float:
    """Of the inverse-gamma prior of the spread."""
    return SCALE * float(heights @ heights) / len(heights) + 1e-300
