"""Forms on a lattice, quadratic and waved: what a proposal evaluates by the thousand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.strategies.model.lattice import Lattice, Points

Array = NDArray[np.float64]


class Table:
    """One row of numbers per level of every coordinate; a point's features are the sum of its rows.

    Items that a point does not have add nothing.

    Args:
        lattice: Whose points.
        rows: (levels of all coordinates, features).
    """

    def __init__(self, lattice: Lattice, rows: Array) -> None:
        self._lattice, self._rows = lattice, rows

    def __call__(self, points: Points) -> Array:
        """(B, C) to (B, features)."""
        summed: Array = self._lattice.marks(points) @ self._rows
        return summed

    def form(
        self, linear: Array, square: Array, constant: float, waves: Waves | None = None
    ) -> Form:
        """``constant + rows @ linear + m square m + waves(m)``, ``m`` the rows' first features."""
        return Form(self._rows @ linear, self._rows[:, : len(square)], square, constant, waves)


@dataclass(frozen=True)
class Waves:
    """A sum of cosines of the features that are multiplied: any smooth function of them.

    Attributes:
        along: Directions, (m, k).
        phases: (k,).
        heights: (k,).
    """

    along: Array
    phases: Array
    heights: Array

    def __call__(self, mains: Array) -> Array:
        """(B, m) to (B,)."""
        values: Array = np.cos(mains @ self.along + self.phases) @ self.heights
        return values


@dataclass(frozen=True)
class Form:
    """A quadratic form of points.

    Attributes:
        linear: What each level of each coordinate adds, (levels,).
        mains: What it adds to the features that are multiplied, (levels, m).
        square: Their products' weights, (m, m).
        constant: Added to all.
        waves: What else the multiplied features add; None for nothing.
    """

    linear: Array
    mains: Array
    square: Array
    constant: float = 0.0
    waves: Waves | None = None

    def __call__(self, marks: Array) -> Array:
        """Values of points, (B, levels) to (B,); see ``Lattice.marks``."""
        mains = marks @ self.mains
        values: Array = marks @ self.linear
        values += ((mains @ self.square) * mains).sum(axis=1) + self.constant
        if self.waves is not None:
            values += self.waves(mains)
        return values


def pairs(mains: Array) -> Array:
    """Products of every two columns, a column with itself included."""
    left, right = np.triu_indices(mains.shape[1])
    products: Array = mains[:, left] * mains[:, right]
    return products


def squared(weights: Array, size: int) -> Array:
    """The matrix whose form has these weights on ``pairs``."""
    square = np.zeros((size, size))
    square[np.triu_indices(size)] = weights
    return square
