"""Two surrogates of one quantity: all axes alike, and each as strong as the data suggest."""

from __future__ import annotations

import numpy as np

from search.strategies.model.features import Features
from search.strategies.model.forms import Array, Form
from search.strategies.model.lattice import Points
from search.strategies.model.own import Own
from search.strategies.model.seeds import SeedEffects
from search.strategies.model.surrogate import Surrogate

BOLD = 0.5
"""Share of draws that take all axes for alike, whatever the data say."""


class Ensemble:
    """What is believed of a quantity, under two views of the axes; the likelier one is told.

    With many axes and few trials most of them cannot be told from noise. Weighed by relevance, they
    do not hide the others. But an axis that acts only together with another one looks idle as long
    as they have not met: so half of the draws take all axes for alike.

    Args:
        features: Maps points to features.
        points: (n, C), n at least 1.
        values: (n,), higher is better.
        counts: (n,); see ``Surrogate``.
        seeds: See ``Surrogate``.
    """

    def __init__(
        self, features: Features, points: Points, values: Array, counts: Array, seeds: SeedEffects
    ) -> None:
        views = features, features.weighed(points, values)
        self._views = [Surrogate(view, points, values, counts, seeds) for view in views]
        self._likelier = max(self._views, key=lambda view: view.evidence)

    @property
    def own(self) -> Own:
        """Effects of single configs."""
        return self._likelier.own

    def mean(self) -> Form:
        """The posterior mean."""
        return self._likelier.mean()

    def sample(self, rng: np.random.Generator, boldness: float = 1.0) -> Form:
        """One draw from the posterior; see ``Surrogate.sample``."""
        alike, weighed = self._views
        return (alike if rng.random() < BOLD else weighed).sample(rng, boldness)
