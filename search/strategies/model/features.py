"""What models see of a point: common effects, their bends, single layers, and pairs."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.strategies.model.axes import Axis
from search.strategies.model.forms import Array, Form, Smooth, Table, pairs
from search.strategies.model.lattice import Lattice, Points
from search.strategies.model.relevance import lengths, typical

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
    """Maps points to what models of quality see of them.

    Numbers enter on a logarithmic scale with the baseline at zero and the whole range one long.
    An axis with a value per layer has one common effect, the mean over the layers, and smaller
    ones: of the position in the stack, and of every single layer. Strength is shared that way: a
    step in one layer is worth less than the noise of one training. Choices are indicators beside
    the baseline's. Common effects of different axes meet in products.

    Args:
        lattice: Whose points.

    Attributes:
        table: Of the features of single axes, the common effects first.
        mains: How many of these are common effects.
        crossed: Which pairs of common effects are of different axes, see ``pairs``.
        groups: Of each feature, those of single axes first, then pairs.
        rates: (mains,), inverse lengths over which common effects act.
    """

    def __init__(self, lattice: Lattice) -> None:
        mains = [column for axis in lattice.axes for column in _mains(axis)]
        rest = [column for axis in lattice.axes for column in _details(axis)]
        self.mains = len(mains)
        columns = mains + rest
        blocks = [(column.axis, column.values) for column in columns]
        self.table = Table(lattice, lattice.stacked(blocks))
        left, right = np.triu_indices(self.mains)
        index = {axis.name: number for number, axis in enumerate(lattice.axes)}
        self._owners = np.array([index[column.axis.name] for column in columns])
        self.crossed = self._owners[left] != self._owners[right]
        self.groups: list[Group] = [column.group for column in columns]
        self.groups += ["cross"] * int(self.crossed.sum())
        self.rates = np.full(self.mains, 1.0 / typical(len(lattice.axes)))
        self._scales = np.ones(len(self.groups))

    def weighed(self, points: Points, values: Array) -> Features:
        """The same features, with lengths and strengths of axes as some values suggest them.

        Args:
            points: (n, C), where the values are from.
            values: (n,).
        """
        rates = 1.0 / lengths(self.common(points), self._owners[: self.mains], values)
        strength = np.sqrt(rates / math.sqrt(float((rates**2).mean())))[self._owners]
        left, right = (side[self.crossed] for side in np.triu_indices(self.mains))
        found = copy.copy(self)
        found._scales = np.concatenate([strength, strength[left] * strength[right]])
        found.rates = rates[self._owners[: self.mains]]
        return found

    def widths(self, prior: Mapping[Group, float]) -> Array:
        """(features,): Deviations of all effects under a prior of their groups."""
        return np.array([prior[group] for group in self.groups]) * self._scales

    def __call__(self, points: Points) -> Array:
        """(B, C) to (B, features): those of single axes, then pairs."""
        rows = self.table(points)
        return np.hstack([rows, pairs(rows[:, : self.mains])[:, self.crossed]])

    def common(self, points: Points) -> Array:
        """Common effects alone, (B, C) to (B, mains)."""
        return self.table(points)[:, : self.mains]

    def smooth(self, constant: float, *parts: Smooth) -> Form:
        """Functions of the common effects as a form."""
        rest = np.zeros(len(self._owners)), np.zeros((self.mains, self.mains))
        return self.table.form(*rest, constant, *parts)


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
