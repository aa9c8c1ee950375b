"""Greedy on a model: learn what each change gains, then take many steps at once within the caps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from scipy.special import chdtri

from search.costs import COSTS
from search.history import Description
from search.strategies.base import Problem, strategies
from search.strategies.explored import Explored
from search.strategies.model.ascent import Climb, Moves
from search.strategies.model.features import Features
from search.strategies.model.forms import Array, Form
from search.strategies.model.lattice import Lattice, Points
from search.strategies.model.surrogate import Surrogate
from search.strategies.model.tariff import Tariff, price
from search.strategies.pareto import front, objectives
from search.strategies.sampling import (
    Draw,
    Sampling,
    anywhere,
    chance,
    lattice_of,
)
from spec.config import Data

LEARNT = 400
"""Most configs a model is fitted to: the best half and an even sample of the rest."""
LOOKS = 40
"""Points of one climb that are described in search of one that can be trained."""
AIMS = 3
"""Climbs for one draw: where estimates were too low, the next one aims lower."""
RARE = 3.0
"""Qualities this many times farther below the median than the best is above it count as that far:
a model of good configs need not tell bad ones apart."""


@strategies.variant("guided")
class Guided(Sampling):
    """Learn from every trial what changes gain, and try what looks best in one draw of that belief.

    Quality (the logarithm of the loss, or of the time to target) is a Bayesian linear function of
    the config: see ``Features`` and ``Surrogate``. Each config to try is the best under one
    Thompson sample of it (Thompson, Biometrika 25, 1933) that keeps the limits, found by a
    ratio-greedy climb over estimated costs and checked by ``describe``; every ``sober``-th is the
    best under the posterior mean. The baseline is trained on a few seeds first, to know the noise.
    The finalists are the config expected to be best if trained again, and the best measured one.
    """

    repeats: ClassVar[int] = 3

    scatter: Annotated[int, Field(ge=0)] = 12
    """Configs drawn at random before the model leads, their layers alike: pairs of changes that
    help only together are seen there."""
    boldness: Annotated[float, Field(gt=0)] = 1.0
    """Factor on the deviation of a draw from the mean; 1 is Thompson sampling proper."""
    sober: Annotated[int, Field(ge=2)] = 3
    """One config in so many is the best by the mean, without chance."""
    caps: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(default=None, strict=False)
    """Pareto mode: caps on the objective's cost that draws take in turn; ends with the front."""

    def draw(self, explored: Explored, index: int, taken: frozenset[str]) -> Draw | None:
        """See ``Sampling.draw``."""
        problem, guide = explored.problem, guide_of(explored.problem)
        belief = guide.belief(explored)
        if belief is None or index <= self.scatter:
            return anywhere(problem, index, taken, alike=1.0)
        rng = chance(problem, index)
        bold = 0.0 if index % self.sober == 0 else self.boldness
        wish = belief.sample(rng, bold) if bold else belief.mean()
        found = guide.best(wish, self._caps(problem, index), belief.points, rng, taken)
        return found or anywhere(problem, index, taken)

    def ranked(self, explored: Explored) -> list[str]:
        """See ``Sampling.ranked``."""
        measured = super().ranked(explored)
        expected = guide_of(explored.problem).expected(explored)
        ranked = sorted(measured, key=lambda name: (-expected.get(name, -math.inf), name))
        return list(dict.fromkeys([*ranked[:1], *measured[:1], *ranked]))

    def ending(self, explored: Explored) -> Data:
        """See ``Sampling.ending``."""
        if self.caps is None:
            return {}
        return {"front": front(explored, (explored.problem.objective.cost,))}

    def _caps(self, problem: Problem, index: int) -> dict[str, float]:
        limits = {
            name: limit
            for name, limit in problem.objective.limits.items()
            if COSTS[name].known_before_training
        }
        if self.caps is None:
            return limits
        cost, cap = problem.objective.cost, self.caps[index // self.sober % len(self.caps)]
        return {**limits, cost: min(cap, limits.get(cost, math.inf))}


@dataclass(frozen=True)
class Guide:
    """What guided search knows of a problem before any trial."""

    problem: Problem
    features: Features
    tariff: Tariff
    moves: Moves

    @property
    def lattice(self) -> Lattice:
        """The space."""
        return lattice_of(self.problem)

    def belief(self, explored: Explored) -> Surrogate | None:
        """What the trials so far teach; None before the second one."""
        values = _values(explored)
        if len(values) < 2:
            return None
        kept = _informative(values)
        points = np.array([self.lattice.encode(explored.configs[name]) for name in kept])
        return Surrogate(self.features, points, np.array([values[name] for name in kept]))

    def expected(self, explored: Explored) -> dict[str, float]:
        """What the informative configs would come to if trained again.

        Their effects under the posterior mean, and the share of what these leave over that is no
        noise, as the repeats of the baseline tell: noise is all of it where nothing was repeated.
        """
        belief = self.belief(explored)
        if belief is None:
            return {}
        left = belief.values - (means := belief.mean()(self.lattice.marks(belief.points)))
        share = _reproducible(explored, float(left @ left) / len(left))
        values = means + share * left
        return dict(zip(_informative(_values(explored)), values.tolist(), strict=True))

    def best(
        self,
        wish: Form,
        caps: Mapping[str, float],
        tried: Points,
        rng: np.random.Generator,
        taken: frozenset[str],
    ) -> Draw | None:
        """The config of highest quality under a form that is new and keeps the caps."""
        aims = dict(caps)
        starts = self._starts(wish, tried, rng)
        for _ in range(AIMS):
            over = 1.0
            climb = Climb(self.lattice, self.moves, wish, self.tariff.costs, aims)
            for point in climb.run(starts)[:LOOKS]:
                (answer,) = self.lattice.described(point[None])
                if answer is None or answer.config_id in taken:
                    continue
                share = self._share(answer, caps)
                if share <= 1.0:
                    return Draw(answer, self.lattice.edit(point))
                over = max(over, share)
            if over == 1.0:  # what fits was tried already: aiming lower finds nothing better
                return None
            aims = {name: aim / over for name, aim in aims.items()}
        return None

    def _share(self, description: Description, caps: Mapping[str, float]) -> float:
        """The largest part of a cap that a config uses."""
        return max((price(name, description) / cap for name, cap in caps.items()), default=0.0)

    def _starts(self, wish: Form, tried: Points, rng: np.random.Generator) -> list[Points]:
        """Where climbs begin: the best tried under the form, the smallest, and anywhere alike."""
        best = tried[np.argsort(-wish(self.lattice.marks(tried)), kind="stable")[:2]]
        smallest = np.zeros(len(self.lattice), dtype=np.intp)
        return [*best, smallest, *self.lattice.scattered(rng, 2, alike=1.0)]


@lru_cache(maxsize=4)
def guide_of(problem: Problem) -> Guide:
    """The guide of a problem: describes a sample of the space once."""
    lattice = lattice_of(problem)
    names = {problem.objective.cost, *problem.objective.limits}
    known = sorted(name for name in names if COSTS[name].known_before_training)
    return Guide(
        problem, Features(lattice), Tariff(lattice, known, problem.seeds.first), Moves(lattice)
    )


def _values(explored: Explored) -> dict[str, float]:
    """Config id -> what the model explains; failures count as the worst that was measured.

    Loss enters by its logarithm, in which gains of edits nearly add up; a time to target already
    is one. What never reached the target counts as twice the longest time.
    """
    found = {name: _worth(explored, value) for name, value in explored.qualities.items()}
    finite = [value for value in found.values() if math.isfinite(value)]
    if not finite:
        found = _losses(explored)  # nothing reached the target yet: the loss leads the way
        finite = list(found.values())
    if not finite:
        return {}
    missed = min(finite) - math.log(2.0)
    found = {name: max(value, missed) for name, value in found.items()}
    worst = min(found.values())
    found |= {name: worst for name in explored.rows if name not in found}
    return _tempered(dict(sorted(found.items())))


def _worth(explored: Explored, value: float) -> float:
    """A quality as the model sees it."""
    timed = explored.problem.objective.gain == "time_to_target"
    return value if timed else -math.log(max(-math.log(value), 1e-12))


def _reproducible(explored: Explored, spread: float) -> float:
    """The share of a variance between configs that is no noise, averaged over what noise may be.

    The noise of one measurement is known from configs with several seeds, up to a chi-squared
    factor; without any, all of the variance is taken for noise.
    """
    repeated = []
    for row in explored.rows.values():
        known = [value for trial in row.values() if (value := explored.quality(trial)) is not None]
        if len(known) > 1 and all(map(math.isfinite, known)):
            repeated.append([_worth(explored, value) for value in known])
    freedom = sum(len(row) - 1 for row in repeated)
    if not freedom or spread == 0.0:
        return 0.0
    squares = sum(float(np.var(row)) * len(row) for row in repeated)
    noise = squares / chdtri(freedom, np.linspace(0.025, 0.975, 39))
    return float(np.maximum(0.0, 1.0 - noise / spread).mean())


def _losses(explored: Explored) -> dict[str, float]:
    found = {}
    for name in explored.qualities:
        told = objectives(explored, name, ())
        if told is not None:
            found[name] = -math.log(max(told[0], 1e-12))
    return found


def _tempered(values: Mapping[str, float]) -> dict[str, float]:
    ordered: Array = np.array(list(values.values()))
    middle, best = float(np.median(ordered)), float(ordered.max())
    floor = middle - RARE * (best - middle) if best > middle else -math.inf
    return {name: max(value, floor) for name, value in values.items()}


def _informative(values: Mapping[str, float]) -> Sequence[str]:
    if len(values) <= LEARNT:
        return list(values)
    ranked = sorted(values, key=lambda name: (-values[name], name))
    rest = ranked[LEARNT // 2 :]
    return ranked[: LEARNT // 2] + rest[:: math.ceil(len(rest) / (LEARNT // 2))]
