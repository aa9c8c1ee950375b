"""What configs are worth beyond what a model says of them, told from noise by repeated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search.strategies.model.forms import Array

NO_NOISE = 1e18
"""A ratio so large stands for measurements without noise. The step to it is wide, so that the one
before it is out of the question (see ``NEVER``) once two measurements are the same."""
RATIOS = np.array([0.0, 0.3, 3.0, 50.0, 1e3, 1e5, 1e7, 1e9, NO_NOISE])
"""Variance of what configs are worth beyond the model, in units of that of a measurement's noise;
the data weigh these."""
BELIEFS = np.array([0.5, 0.1, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03])
"""How likely each is before any data."""
NEVER = 1e-4
"""Beside the likeliest ratio one that is so unlikely is none: without noise no doubt is left."""


def spreads(counts: Array) -> Array:
    """Variance of a config's mean around the model, in units of that of a config measured once.

    Args:
        counts: (n,), how often each was measured.

    Returns:
        (ratios, n): under each of ``RATIOS``.
    """
    ratios = RATIOS[:, None]
    return np.asarray((ratios + 1.0 / counts) / (ratios + 1.0))


@dataclass(frozen=True)
class Own:
    """Effects of single configs: independent and normal, their variance known in part.

    Attributes:
        counts: (n,), how often each config was measured; 1 where its value was made up.
        odds: (ratios,), how likely each of ``RATIOS`` is.
        noise: (ratios,), variance of one measurement's noise under each; 0 under the last, and
            under all as long as nothing was repeated.
    """

    counts: Array
    odds: Array
    noise: Array

    @property
    def variance(self) -> float:
        """Of one measurement's noise; 0 as long as nothing was repeated."""
        return float(self.odds @ self.noise)

    @property
    def precision(self) -> Array:
        """(n,): What a config's mean tells of the model, in units of one measured once."""
        return 1.0 / np.asarray(self.odds @ spreads(self.counts))

    @property
    def shares(self) -> Array:
        """(n,): The part of what the model leaves of a value that would show again."""
        return np.asarray(self.odds @ self._shares)

    def doubts(self, left: Array) -> Array:
        """(n,): Standard deviation of every config's own effect, given what the model leaves."""
        inside = (self.odds * self.noise) @ self._shares / self.counts
        between = self.odds @ (self._shares - self.shares) ** 2 * left**2
        return np.sqrt(inside + between)

    @property
    def _shares(self) -> Array:
        """(ratios, n): Under each ratio."""
        return np.asarray(RATIOS[:, None] / (RATIOS[:, None] + 1.0 / self.counts))
