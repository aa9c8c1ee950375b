"""A Gaussian process of quality: any smooth function of the common effects of all axes."""

from __future__ import annotations

import math

import numpy as np

from search.strategies.model.conjugate import GAINS, TINY, Rotated, Weights, summed
from search.strategies.model.features import Features
from search.strategies.model.forms import FREEDOM, Array, Bumps, Form, Waves, matern
from search.strategies.model.lattice import Points
from search.strategies.model.own import Own

WAVES = 200
"""Random Fourier features of a draw before it is led through the data."""


class Process:
    """Quality of a config as a smooth function of its common effects, with all it is unsure of.

    ``y ~ N(level + f, spread / precision)``, ``f`` a Gaussian process of variance ``spread x gain``
    with Matern's kernel of smoothness 5/2 (Rasmussen and Williams, Gaussian Processes for Machine
    Learning, 2006, sec. 2.2 and 4.2), and the same spread, gains and precision as a ``Surrogate``.
    Where that has a shape to go by, products and bends of single axes, this one has only that what
    is alike comes out alike: it learns more slowly and goes further.

    Args:
        features: Maps points to common effects, and tells the length of each.
        points: (n, C), n at least 1.
        values: (n,), higher is better.
        own: Effects of single configs, as a linear model of the same values tells them: a process
            would take most of them for its own.

    Attributes:
        own: The same; what a ``View`` has.
        evidence: See ``summed``.
    """

    def __init__(self, features: Features, points: Points, values: Array, own: Own) -> None:
        self.own, self._features = own, features
        self._mains = features.common(points)
        centres = self._mains * features.rates
        self._kernel = matern(((centres[:, None] - centres[None]) ** 2).sum(axis=2))
        self._weights = Weights(own.precision)
        self._level = float(self._weights.share @ values)
        self._rotated, self._vectors = _rotated(self._kernel, values, self._weights)
        self._posterior = self._rotated.under_gains()
        found = summed(self._posterior.evidence, self._weights, self._rotated.heights)
        self.evidence, self._odds = found

    def mean(self) -> Form:
        """The posterior mean of quality."""
        return self._form(self._pulls(self._odds, self._rotated.along), self._level)

    def sample(self, rng: np.random.Generator, boldness: float = 1.0) -> Form:
        """One draw of quality from the posterior: a draw from the prior, led through the data.

        By Matheron's rule (Wilson et al., ICML 2020): what a draw is off at the data, with noise
        that is drawn for them, is taken out of it as the mean takes up the data.

        Args:
            rng: Where chance comes from.
            boldness: Factor on the deviation from the posterior mean.
        """
        number = int(rng.choice(len(GAINS), p=self._odds))
        spread = self._posterior.rates[number] / rng.gamma(self._posterior.shape)
        wild = self._prior(rng, boldness * math.sqrt(spread * GAINS[number]))
        there, noise = wild(self._mains), rng.standard_normal(len(self._mains))
        off = self._weights.heights(there) + boldness * math.sqrt(spread) * noise
        along = self._rotated.along - self._vectors.T @ off
        level = self._level - float(self._weights.share @ there)
        return self._form(self._pulls(np.eye(len(GAINS))[number], along), level, wild)

    def _prior(self, rng: np.random.Generator, height: float) -> Waves:
        """A draw of the process before any data: random Fourier features (Rahimi and Recht, 2007).

        The spectrum of Matern's kernel is Student's distribution of twice its smoothness.
        """
        along = rng.standard_normal((self._features.mains, WAVES)) * self._features.rates[:, None]
        along /= np.sqrt(rng.chisquare(FREEDOM, WAVES) / FREEDOM)
        phases = rng.uniform(0.0, 2.0 * np.pi, WAVES)
        return Waves(along, phases, np.full(WAVES, height * math.sqrt(2.0 / WAVES)))

    def _pulls(self, odds: Array, along: Array) -> Array:
        """(n,): What each config adds of its kernel, the gains as likely as told.

        They add up to nothing, for what all values have in common is in no direction.
        """
        shrunk = GAINS[:, None] / (1.0 + GAINS[:, None] * self._rotated.squares)
        return np.asarray(self._weights.root * (self._vectors @ ((odds @ shrunk) * along)))

    def _form(self, pulls: Array, level: float, *waves: Waves) -> Form:
        """What they add up to, with the weighted mean at the level."""
        bumps = Bumps(self._features.rates, self._mains, pulls)
        constant = level - float(self._weights.share @ self._kernel @ pulls)
        return self._features.smooth(constant, bumps, *waves)


def _rotated(kernel: Array, values: Array, weights: Weights) -> tuple[Rotated, Array]:
    """Values under a kernel's covariance, their mean being free; and the axes' directions."""
    half = weights.heights(kernel)
    squares, vectors = np.linalg.eigh(weights.heights(half.T))
    kept = squares > squares.max(initial=0.0) * TINY
    heights, vectors = weights.heights(values), vectors[:, kept]
    return Rotated(squares[kept], vectors.T @ heights, heights), vectors
