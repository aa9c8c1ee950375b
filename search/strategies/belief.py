"""What guided search believes of configs after some trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from scipy.special import ndtr

from search.strategies.base import Problem
from search.strategies.draws import lattice_of
from search.strategies.explored import Explored
from search.strategies.lessons import Lesson, lessons
from search.strategies.model.ensemble import Ensemble
from search.strategies.model.features import Features
from search.strategies.model.forms import Array, Form
from search.strategies.model.lattice import Points

HUGE = 100.0
"""Logarithm of a load that is far out of reach."""
MODEST = 0.5
"""Boldness of a draw of the margin beside that of quality: a training that misses the target tells
less than one that is merely slow."""
LEAST = 1e-9
"""Deviations below this are none."""


@dataclass(frozen=True)
class Wish:
    """What a draw is to have: high quality, and a margin above a floor where there is a target.

    Attributes:
        quality: Of points; see ``Lessons.quality``.
        margin: See ``Lessons.margin``; None without a target that was reached.
        floor: The least margin that will do, in its unit.
    """

    quality: Form
    margin: Form | None = None
    floor: float = 0.0

    def shortfall(self, marks: Array) -> Array:
        """At most 1 where the margin is enough: a load, see ``Climb``. (B, levels) to (B,)."""
        if self.margin is None:
            return np.zeros(len(marks))
        return np.exp(np.minimum(self.floor - self.margin(marks), HUGE))


@dataclass(frozen=True)
class Belief:
    """What guided search believes after some trials.

    Attributes:
        points: (n, C), of the informative configs.
        quality: Of quality.
        margin: Of the margin to the target; None without a target that was reached.
        noise_known: Whether anything was repeated, so that the noise is known.
        floor: Standard deviation of one margin's noise, in its unit; 0 while nothing is known.
        expected: Id of each informative config -> what it would come to if trained again; with a
            target that includes the chance of missing it, which counts as the longest training.
        doubts: Standard deviation of what is real of that.
    """

    points: Points
    quality: Ensemble
    margin: Ensemble | None
    noise_known: bool
    floor: float
    expected: Mapping[str, float]
    doubts: Mapping[str, float]

    def mean(self) -> Wish:
        """The posterior mean."""
        margin = None if self.margin is None else self.margin.mean()
        return Wish(self.quality.mean(), margin, self.floor)

    def sample(self, rng: np.random.Generator, boldness: float) -> Wish:
        """One draw around the posterior mean, of the margin half as bold; see ``View.sample``."""
        quality = self.quality.sample(rng, boldness)
        margin = None if self.margin is None else self.margin.sample(rng, MODEST * boldness)
        return Wish(quality, margin, self.floor)


@lru_cache(maxsize=4)
def features_of(problem: Problem) -> Features:
    """What models see of the problem's configs."""
    return Features(lattice_of(problem))


@lru_cache(maxsize=2)
def belief_of(explored: Explored) -> Belief | None:
    """What the trials so far teach; None before the second one."""
    taught, lattice = lessons(explored), lattice_of(explored.problem)
    names = list(taught.quality.values)
    if len(names) < 2:
        return None
    points = np.array([lattice.encode(explored.configs[name]) for name in names])
    learnt = partial(_learnt, names, features_of(explored.problem), points, lattice.marks(points))
    quality, expected, doubts = learnt(taught.quality)
    margin, floor = None, 0.0
    if taught.margin is not None:
        margin, hoped, unsure = learnt(taught.margin)
        floor = math.sqrt(margin.own.variance)
        if taught.margin.seeds.variance is None:  # nothing was repeated: what was seen counts
            hoped, unsure = np.array(list(taught.margin.values.values())), np.zeros(len(names))
        worst = min(taught.quality.values.values())
        chance, swing = _chance(hoped, unsure, floor)
        doubts = np.hypot(chance * doubts, swing * (expected - worst))
        expected = chance * expected + (1.0 - chance) * worst
    known = taught.quality.seeds.variance is not None
    told = (dict(zip(names, part.tolist(), strict=True)) for part in (expected, doubts))
    return Belief(points, quality, margin, known, floor, *told)


def _learnt(
    names: Sequence[str], features: Features, points: Points, marks: Array, lesson: Lesson
) -> tuple[Ensemble, Array, Array]:
    """A model of one quantity; what each config would come to if measured again, and the doubt."""
    values = np.array([lesson.values[name] for name in names])
    counts = np.array([lesson.counts[name] for name in names], dtype=float)
    model = Ensemble(features, points, values, counts, lesson.seeds)
    means = model.mean()(marks)
    left = values - means
    return model, means + model.own.shares * left, model.own.doubts(left)


def _chance(margins: Array, doubts: Array, noise: float) -> tuple[Array, Array]:
    """Chance that a training reaches the target, and what the doubt makes of it."""
    spread = np.maximum(np.hypot(doubts, noise), LEAST)
    steepness = np.exp(-0.5 * (margins / spread) ** 2) / math.sqrt(2.0 * math.pi)
    return np.asarray(ndtr(margins / spread)), steepness * doubts / spread
