"""What configs are worth beyond what a model says of them, told from noise by repeated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search.strategies.model.forms import Array

NO_NOISE = 1e12
RATIOS = np.array([0.0, 0.3, 3.0, 50.0, 1e3, NO_NOISE])
"""Variance of what configs are worth beyond the model, in units of that of a measurement's noise;
the data weigh these."""
BELIEFS = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
"""How likely each is before any data."""


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
        counts: (n,), how often each config was measured.
        odds: (ratios,), how likely each of ``RATIOS`` is.
        noise: (ratios,), variance of one measurement's noise under each; 0 under the last.
    """

    counts: Array
    odds: Array
    noise: Array

    @property
    def precision(self) -> Array:
        """(n,): What a config's mean tells of the model, in units of one measured once."""
        return 1.0 / np.asarray(self.odds @ spreads(self.counts))

    @property
    def shares(self) -> Array:
        """(n,): The part of what the model leaves of a value that would show again."""
        return np.asarray(self.odds @ self._shares)

    @property
    def doubts(self) -> Array:
        """(n,): Standard deviation of a config's own effect, given its measurements."""
        return np.sqrt((self.odds * self.noise) @ self._shares / self.counts)

    @property
    def _shares(self) -> Array:
        return np.asarray(RATIOS[:, None] / (RATIOS[:, None] + 1.0 / self.counts))
