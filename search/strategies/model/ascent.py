"""The best point of a quality form under limits: a ratio-greedy climb of many steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from search.strategies.model.forms import Array, Form
from search.strategies.model.lattice import Lattice, Points

STEPS = 200
"""Most moves of one climb; far more than the lattice is wide in practice."""
SHED = 12
"""Most moves that make room for one move that does not fit."""
TRIED = 4
"""Moves that do not fit for which room is sought, before a climb ends."""

LEAST = 1e-12
"""Gains below this are rounding."""
FEW = 5
"""An axis with so many levels is crossed in one move; a longer one by shifts that double."""


@dataclass
class Climb:
    """Looks for points of high quality whose loads are at most 1.

    From a start it takes the move with the best gain per cost, free and better ones first: one
    coordinate to another level, or all items of a list at once. Where nothing fits any more, a
    move that does not fit is combined with those that make room for the least loss. Every summit is
    remembered with its neighbours, so that a next-best point is at hand.

    Attributes:
        lattice: Whose points.
        moves: Its moves.
        quality: What to maximise.
        loads: What may not exceed 1, from marks: a cost as a share of its cap, say; none is fine.
        seen: Points that fit, with their quality.
        passed: Points that climbs have passed.
    """

    lattice: Lattice
    moves: Moves
    quality: Form
    loads: Sequence[Callable[[Array], Array]]
    seen: dict[bytes, tuple[float, Points]] = field(default_factory=dict, init=False)
    passed: set[bytes] = field(default_factory=set, init=False)

    def run(self, starts: Sequence[Points]) -> list[Points]:
        """Climb from every start.

        Returns:
            Points that fit by the estimates, best first.
        """
        for start in starts:
            self._climb(start)
        ranked = sorted(self.seen.values(), key=lambda pair: (-pair[0], pair[1].tobytes()))
        return [point for _, point in ranked]

    def _load(self, marks: Array) -> Array:
        """The largest load of points; at most 1 fits. (B, C) to (B,)."""
        loads = [load(marks) for load in self.loads]
        return np.max(loads, axis=0) if loads else np.zeros(len(marks))

    def _climb(self, start: Points) -> None:
        here = self._made_to_fit(start)
        for _ in range(STEPS):
            if here is None or here.tobytes() in self.passed:
                return  # an earlier climb went on from there
            self.passed.add(here.tobytes())
            here = self._step(here)

    def _step(self, here: Points) -> Points | None:
        """The next point of a climb; None at its end."""
        value, load, moves, gains, loads = self._outlook(here)
        fits = loads <= 1.0
        better = gains > LEAST
        if (better & fits).any():
            extra = np.maximum(loads - load, 1e-9)
            worth = np.where(loads <= load, 1e12 * (1.0 + gains), gains / extra)
            worth[~(better & fits)] = -np.inf
            chosen: Points = moves[int(worth.argmax())]
            return chosen
        self._remember(np.vstack([here, moves[fits]]), np.append(value, gains[fits] + value))
        for index in np.argsort(-gains)[:TRIED]:
            if gains[index] <= LEAST:
                break
            room = self._made_to_fit(moves[index])
            if room is not None and self._value(room) > value + LEAST:
                return room
        return None

    def _made_to_fit(self, point: Points) -> Points | None:
        """Give up what is worth least for its cost until all loads are."""
        for _ in range(SHED * max(1, len(self.loads))):
            _, load, moves, gains, loads = self._outlook(point)
            if load <= 1.0:
                return point
            lighter = loads < load - 1e-9
            if not lighter.any():
                return None
            saved = np.minimum(load - loads, load - 1.0)  # room beyond that is worth nothing
            price = np.where(lighter, gains / np.maximum(saved, 1e-12), -np.inf)
            point = moves[int(price.argmax())]
        return None

    def _value(self, point: Points) -> float:
        return float(self.quality(self.lattice.marks(point[None]))[0])

    def _outlook(self, here: Points) -> tuple[float, float, Points, Array, Array]:
        """Value and load here; every move with its gain and its load."""
        points = np.vstack([here, self.moves(here)])
        marks = self.lattice.marks(points)
        values, loads = self.quality(marks), self._load(marks)
        return float(values[0]), float(loads[0]), points[1:], values[1:] - values[0], loads[1:]

    def _remember(self, points: Points, values: Array) -> None:
        plain = self.lattice.plain(points)  # or one config would be remembered many times
        for point, value in zip(plain, values, strict=True):
            self.seen[point.tobytes()] = (float(value), point)


class Moves:
    """Every point one move away: one coordinate to another level, or all items of a list at once.

    Args:
        lattice: Whose points.
    """

    def __init__(self, lattice: Lattice) -> None:
        spots, ways = [], []
        for axis in lattice.axes:
            span, size = lattice.coordinates(axis), len(axis.levels)
            for place in range(span.start, span.stop):
                ways += (own := _ways(size))
                spots += [np.arange(len(lattice)) == place] * len(own)
            if axis.items > 1:
                ways += (own := [*_ways(size), (1, -1), (1, 1)])
                spots += [_mask(lattice, span)] * len(own)
        self._spots = np.array(spots)
        self._stay, self._by = np.array(ways)[:, :, None].transpose(1, 0, 2)
        self._top = lattice.sizes - 1

    def __call__(self, here: Points) -> Points:
        """(C,) to (M, C)."""
        there = np.clip(self._stay * here + self._by, 0, self._top)
        points = np.where(self._spots, there, here)
        moved: Points = points[(points != here).any(axis=1)]
        return moved


def _mask(lattice: Lattice, span: slice) -> NDArray[np.bool_]:
    mask = np.zeros(len(lattice), dtype=bool)
    mask[span] = True
    return mask


def _ways(size: int) -> list[tuple[int, int]]:
    """Moves along one coordinate: (0, level) to a level, (1, shift) by a shift, ever farther."""
    if size <= FEW:
        return [(0, level) for level in range(size)]
    shifts = [2**power for power in range(size.bit_length()) if 2**power < size]
    return [(1, sign * shift) for shift in shifts for sign in (-1, 1)]
