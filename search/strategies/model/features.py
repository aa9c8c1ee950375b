"""What a model sees of a point: common effects, their bends, single layers, and pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.strategies.model.axes import Axis
from search.strategies.model.forms import Array, Table, pairs
from search.strategies.model.lattice import Lattice, Points

Group = Literal["main", "bend", "level", "layer", "cross"]
FEW_LEVELS = 12
"""Axes with more levels than this are smooth: their single levels get no effect of their own."""


@dataclass(frozen=True)
class _Column:
    """One feature: its value at each level of each coordinate of one axis, (items, levels)."""

    axis: Axis
    group: Group
    values: Array


class Features:
    """Maps points to the features of a linear model of quality.

    Numbers enter on a logarithmic scale with the baseline at zero and the whole range one long.
    An axis with a value per layer has one common effect, the mean over the layers, and smaller
    ones: of the position in the stack, and of every single layer. Strength is shared that way: a
    step in one layer is worth less than the noise of one training. Choices are indicators beside
    the baseline's. Common effects of different axes meet in products.

    Args:
        lattice: Whose points.
    """

    def __init__(self, lattice: Lattice) -> None:
        mains = [column for axis in lattice.axes for column in _mains(axis)]
        rest = [column for axis in lattice.axes for column in _details(axis)]
        self.mains = len(mains)
        columns = mains + rest
        blocks = [(column.axis, column.values) for column in columns]
        self.table = Table(lattice, lattice.stacked(blocks))
        left, right = np.triu_indices(self.mains)
        owners = np.array([lattice.axes.index(column.axis) for column in mains])
        self.crossed = owners[left] != owners[right]
        self.groups: list[Group] = [c.group for c in columns] + ["cross"] * int(self.crossed.sum())

    def __call__(self, points: Points) -> Array:
        """(B, C) to (B, features), the pairs last."""
        rows = self.table(points)
        return np.hstack([rows, pairs(rows[:, : self.mains])[:, self.crossed]])


def _mains(axis: Axis) -> list[_Column]:
    if axis.kind != "choice":
        return [_Column(axis, "main", _everywhere(axis, axis.positions))]
    return [_Column(axis, "main", _everywhere(axis, mark)) for mark in _marks(axis)]


def _details(axis: Axis) -> list[_Column]:
    found: list[_Column] = []
    bases = _marks(axis)
    if axis.kind != "choice":
        found.append(_Column(axis, "bend", _everywhere(axis, axis.positions**2)))
        if 2 < len(axis.levels) <= FEW_LEVELS:
            found += [_Column(axis, "level", _everywhere(axis, mark)) for mark in bases]
        bases = [axis.positions]
    if axis.items == 1:
        return found
    where = np.linspace(-1.0, 1.0, axis.items)
    for base in bases:
        for shape in (where, where**2 - (where**2).mean()):
            found.append(_Column(axis, "layer", np.outer(shape, base) / axis.items))
        for item in range(axis.items):
            values = np.zeros((axis.items, len(axis.levels)))
            values[item] = base / axis.items
            found.append(_Column(axis, "layer", values))
    return found


def _everywhere(axis: Axis, values: Array) -> Array:
    """The same values for every item, each item with its share."""
    return np.tile(values / axis.items, (axis.items, 1))


def _marks(axis: Axis) -> list[Array]:
    """An indicator for each level but the baseline's."""
    size = len(axis.levels)
    return [np.eye(size)[level] for level in range(size) if level != axis.start[0]]
