"""Costs known before training, as forms fitted to what ``describe`` says of a sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.costs import COSTS
from search.history import Description
from search.strategies.model.axes import Axis
from search.strategies.model.forms import Array, Form, Table, pairs, squared
from search.strategies.model.lattice import Lattice, Points
from spec.errors import InputError

SAMPLE = 240
"""Configs described once per study to learn what things cost; a fifth of a second to two."""
HUGE = 700.0
"""Logarithm of what counts as infinite."""
LEAST = 1e-300
"""What counts as zero."""


@dataclass(frozen=True)
class Estimate:
    """A cost of points without describing them.

    Attributes:
        form: A quadratic form.
        logarithmic: Whether the form is of the cost's logarithm.
    """

    form: Form
    logarithmic: bool

    def __call__(self, marks: Array) -> Array:
        """Costs of points, (B, levels) to (B,); see ``Lattice.marks``."""
        values = self.form(marks)
        return np.exp(np.minimum(values, HUGE)) if self.logarithmic else values


class Tariff:
    """Estimates costs of points without describing each.

    A cost is a sum over layers of products of sizes. Either a quadratic form in the sizes and
    their sums over layers meets it, or one in their logarithms, whose exponential is the cost:
    whichever does better on a part of the sample that it was not fitted to. The estimate only
    steers: whatever is proposed has been described.

    Args:
        lattice: Whose points.
        names: Costs known before training.
        seed: Of the sample.
    """

    def __init__(self, lattice: Lattice, names: Iterable[str], seed: int) -> None:
        rng = np.random.default_rng([seed, 0])
        points = np.vstack([lattice.start, lattice.scattered(rng, SAMPLE)])
        answers = lattice.described(points)
        points = points[[answer is not None for answer in answers]]
        found = [answer for answer in answers if answer is not None]
        bases = [_Basis(lattice, points, logarithmic) for logarithmic in (False, True)]
        self.costs: Mapping[str, Estimate] = {
            name: _best(bases, np.array([price(name, answer) for answer in found]))
            for name in names
        }

    def share(self, name: str, cap: float, marks: Array) -> Array:
        """The part of a cap that points are estimated to use. (B, levels) to (B,)."""
        return self.costs[name](marks) / cap


class _Basis:
    """The sample's sizes, or their logarithms, ready for a fit."""

    def __init__(self, lattice: Lattice, points: Points, logarithmic: bool) -> None:
        self.logarithmic = logarithmic
        blocks = [block for axis in lattice.axes for block in _sizes(axis, logarithmic)]
        self._table = Table(lattice, lattice.stacked(blocks))
        self._rows = self._table(points)
        self._design = np.hstack([np.ones((len(points), 1)), self._rows, pairs(self._rows)])

    def fit(self, costs: Array, kept: NDArray[np.bool_]) -> Array:
        """Weights by least squares of the relative error, on the kept rows of the sample."""
        design, wanted = self._design[kept], np.maximum(costs[kept], LEAST)
        if self.logarithmic:
            return np.asarray(np.linalg.lstsq(design, np.log(wanted), rcond=1e-7)[0])
        ones = np.ones(len(wanted))
        return np.asarray(np.linalg.lstsq(design / wanted[:, None], ones, rcond=1e-7)[0])

    def error(self, costs: Array) -> float:
        """Median relative error on every fourth row, fitted to the others."""
        kept = np.arange(len(costs)) % 4 > 0
        guessed: Array = self._design[~kept] @ self.fit(costs, kept)
        if self.logarithmic:
            guessed[:] = np.exp(np.minimum(guessed, HUGE))
        return float(np.median(np.abs(guessed / np.maximum(costs[~kept], LEAST) - 1.0)))

    def estimate(self, costs: Array) -> Estimate:
        """The estimate fitted to the whole sample."""
        weights, size = self.fit(costs, np.ones(len(costs), dtype=bool)), self._rows.shape[1]
        square = squared(weights[1 + size :], size)
        form = self._table.form(weights[1 : 1 + size], square, float(weights[0]))
        return Estimate(form, self.logarithmic)


def _best(bases: Iterable[_Basis], costs: Array) -> Estimate:
    return min(bases, key=lambda basis: basis.error(costs)).estimate(costs)


def price(name: str, description: Description) -> float:
    """A cost known before training.

    Raises:
        InputError: When ``describe``, which knew it of the baseline, does not tell it of a config.
    """
    value = COSTS[name].known(description.inventory)
    if value is None:
        raise InputError(
            f"describe tells {name} of the baseline, but not of config {description.config_id}; "
            "let it tell that of every config"
        )
    return float(value)


def _sizes(axis: Axis, logarithmic: bool) -> list[tuple[Axis, Array]]:
    """What each level adds to the features: a size, and its square for products of three."""
    size = len(axis.levels)
    if axis.kind == "choice":
        columns = [np.eye(size)[level] for level in range(size) if level != axis.start[0]]
    else:
        values = np.array(axis.levels, dtype=float)
        values = axis.positions if logarithmic else values / (np.abs(values).max() or 1.0)
        columns = [values, values**2] if axis.items == 1 and size > 2 else [values]
    return [(axis, np.tile(column / axis.items, (axis.items, 1))) for column in columns]
