"""What is believed of one quantity, under several views of it."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from search.strategies.model.features import Features
from search.strategies.model.forms import Array, Form
from search.strategies.model.lattice import Points
from search.strategies.model.own import Own
from search.strategies.model.process import Process
from search.strategies.model.seeds import SeedEffects
from search.strategies.model.surrogate import Surrogate

BOLD = 0.5
"""Share of draws that take all axes for alike, whatever the data say."""


class View(Protocol):
    """A model of a quantity.

    Attributes:
        own: Effects of single configs.
        evidence: How likely it makes the values; see ``summed``.
    """

    own: Own
    evidence: float

    def mean(self) -> Form:
        """The posterior mean."""

    def sample(self, rng: np.random.Generator, boldness: float = 1.0) -> Form:
        """One draw from the posterior."""


class Ensemble:
    """What is believed of a quantity, under three views; the likeliest is told.

    Their lengths of axes are fitted to the same values, which flatters two of the three.

    Gains of edits nearly add up, which a linear model knows from the start, and many axes may have
    a value per layer; where a few axes act together in their own way, a smooth process comes to
    know it. With many axes and few trials most of them cannot be told from noise: weighed by
    relevance, in both, they do not hide the others. But an axis that acts only together with
    another one looks idle as long as they have not met: so half of the draws are of a linear model
    that takes all axes for alike.

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
        weighed = features.weighed(points, values)
        self._alike: View = Surrogate(features, points, values, counts, seeds)
        linear = Surrogate(weighed, points, values, counts, seeds)
        self._weighed = _likelier(linear, Process(weighed, points, values, linear.own))
        self._likeliest = _likelier(self._alike, self._weighed)

    @property
    def own(self) -> Own:
        """Effects of single configs."""
        return self._likeliest.own

    def mean(self) -> Form:
        """The posterior mean."""
        return self._likeliest.mean()

    def sample(self, rng: np.random.Generator, boldness: float = 1.0) -> Form:
        """One draw from the posterior; see ``View.sample``."""
        return (self._alike if rng.random() < BOLD else self._weighed).sample(rng, boldness)


def _likelier(one: View, other: View) -> View:
    return one if one.evidence >= other.evidence else other
