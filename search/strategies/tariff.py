"""Costs known before training as quadratic forms, fitted to what ``describe`` says of a sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from search.costs import COSTS
from search.history import Description
from search.strategies.axes import Axis
from search.strategies.forms import Array, Form, Table, pairs, squared
from search.strategies.lattice import Lattice

SAMPLE = 160
"""Configs described once per study to learn what things cost; a fifth of a second to two."""


class Tariff:
    """Estimates costs of points without describing each.

    A cost is a sum over layers of products of sizes, which a quadratic form in sizes, their
    squares and their sums over layers meets nearly exactly. It only steers: whatever is proposed
    has been described.

    Args:
        lattice: Whose points.
        names: Costs known before training.
        seed: Of the sample.
    """

    def __init__(self, lattice: Lattice, names: Iterable[str], seed: int) -> None:
        rng = np.random.default_rng([seed, 0])
        points = np.vstack([lattice.start, lattice.scattered(rng, SAMPLE)])
        answers = lattice.described(points)
        known = [answer is not None for answer in answers]
        blocks = [block for axis in lattice.axes for block in _sizes(axis)]
        self._table = Table(lattice, lattice.stacked(blocks))
        rows = self._table(points[known])
        found = [answer for answer in answers if answer is not None]
        self.forms: Mapping[str, Form] = {
            name: self._fitted(rows, np.array([price(name, answer) for answer in found]))
            for name in names
        }

    def _fitted(self, rows: Array, costs: Array) -> Form:
        """Least squares of the relative error."""
        design = np.hstack([np.ones((len(rows), 1)), rows, pairs(rows)])
        scale = np.maximum(np.abs(costs), 1e-12 * np.abs(costs).max() + 1e-300)
        weights = np.linalg.lstsq(design / scale[:, None], costs / scale, rcond=1e-9)[0]
        size = rows.shape[1]
        square = squared(weights[1 + size :], size)
        return self._table.form(weights[1 : 1 + size], square, float(weights[0]))


def price(name: str, description: Description) -> float:
    """A cost known before training.

    Raises:
        KeyError: For a cost that has to be measured.
    """
    derived = COSTS[name].derived
    if derived is None:
        raise KeyError(name)
    return float(derived(description.inventory))


def within(limits: Mapping[str, float], description: Description) -> bool:
    """Whether a config keeps the limits."""
    return all(price(name, description) <= limit for name, limit in limits.items())


def _sizes(axis: Axis) -> list[tuple[Axis, Array]]:
    """Sizes themselves, not their logarithms: costs are sums of products of them."""
    size = len(axis.levels)
    if axis.kind == "choice":
        columns = [np.eye(size)[level] for level in range(size) if level != axis.start[0]]
    else:
        values = np.array(axis.levels, dtype=float)
        values = values / (np.abs(values).max() or 1.0)
        columns = [values, values**2] if axis.items == 1 and size > 2 else [values]
    return [(axis, np.tile(column / axis.items, (axis.items, 1))) for column in columns]
