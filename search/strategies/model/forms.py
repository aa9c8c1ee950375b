"""Forms on a lattice, quadratic and smooth: what a proposal evaluates by the thousand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.strategies.model.lattice import Lattice, Points

Array = NDArray[np.float64]

FREEDOM = 5.0
"""Twice the smoothness of Matern's kernel."""


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

    def form(self, linear: Array, square: Array, constant: float, *smooth: Smooth) -> Form:
        """``constant + rows @ linear + m square m + smooth(m)``, ``m`` the rows' first features."""
        return Form(self._rows @ linear, self._rows[:, : len(square)], square, constant, smooth)


@dataclass(frozen=True)
class Waves:
    """A sum of cosines of the features that are multiplied.

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
        angles = (mains @ self.along + self.phases).astype(np.float32)  # a tenth of the time
        values: Array = np.cos(angles) @ self.heights
        return values


@dataclass(frozen=True)
class Bumps:
    """A sum of Matern's kernels around points in the space of the features that are multiplied.

    Attributes:
        rates: Inverse lengths, (m,).
        centres: (k, m).
        heights: (k,).
    """

    rates: Array
    centres: Array
    heights: Array

    def __call__(self, mains: Array) -> Array:
        """(B, m) to (B,)."""
        here, there = mains * self.rates, self.centres * self.rates
        apart = (here**2).sum(axis=1)[:, None] + (there**2).sum(axis=1) - 2.0 * here @ there.T
        values: Array = matern(np.maximum(apart, 0.0)) @ self.heights
        return values


Smooth = Waves | Bumps


@dataclass(frozen=True)
class Form:
    """A quadratic form of points, and smooth functions on top.

    Attributes:
        linear: What each level of each coordinate adds, (levels,).
        mains: What it adds to the features that are multiplied, (levels, m).
        square: Their products' weights, (m, m).
        constant: Added to all.
        smooth: What else the features that are multiplied add.
    """

    linear: Array
    mains: Array
    square: Array
    constant: float = 0.0
    smooth: Sequence[Smooth] = ()

    def __call__(self, marks: Array) -> Array:
        """Values of points, (B, levels) to (B,); see ``Lattice.marks``."""
        mains = marks @ self.mains
        values: Array = marks @ self.linear
        values += ((mains @ self.square) * mains).sum(axis=1) + self.constant
        for part in self.smooth:
            values += part(mains)
        return values


def matern(apart: Array) -> Array:
    """Matern's kernel of smoothness 5/2, of squared distances in units of its length.

    Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, eq. 4.17.
    """
    far = np.sqrt(FREEDOM * apart)
    return np.asarray((1.0 + far + far**2 / 3.0) * np.exp(-far))


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
