"""A space as a lattice: every config its rules lead to, as a vector of whole numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.history import Description
from search.moves import Edit, Rule
from search.strategies.base import Rejected
from search.strategies.model.axes import Axis, axes
from spec.config import Data
from spec.path import PathError, Span

Points = NDArray[np.intp]
"""Level indices, one per coordinate in the last dimension."""
Describe = Callable[[Sequence[Data]], list[Description | Rejected]]


class Lattice:
    """All configs a space leads to from a baseline, and the way from a config to its point.

    The levels of a number are those that repeated moves of its rule reach, or those listed. A list
    under ``duplicate`` or ``drop`` is one axis, its length; ``[*]`` gives each item of the longest
    list a coordinate, of which those past the current length have no effect; ``[:]`` is one
    coordinate for all items together.

    Args:
        space: Dotted path -> rule.
        baseline: The full form the moves start from.
        describe: Tells which options a component has.

    Raises:
        InputError: For a rule without an end.
    """

    def __init__(self, space: Mapping[str, Rule], baseline: Data, describe: Describe) -> None:
        self.baseline = baseline
        self.axes = axes(space, baseline)
        self._describe = describe
        self._offsets = [0]
        for axis in self.axes:
            self._offsets.append(self._offsets[-1] + axis.items)
        self._index = {axis.name: number for number, axis in enumerate(self.axes)}
        self._options: dict[tuple[str, int], frozenset[str]] = {}
        self._encoded: dict[str, Points] = {}

    def __len__(self) -> int:
        return self._offsets[-1]

    @cached_property
    def sizes(self) -> Points:
        """How many levels each coordinate has."""
        return np.array([len(axis.levels) for axis in self.axes for _ in axis.start])

    @cached_property
    def _first(self) -> Points:
        """Where each coordinate's levels begin in one long list of all."""
        return np.cumsum([0, *self.sizes[:-1]])

    @cached_property
    def _total(self) -> int:
        return int(self.sizes.sum())

    @cached_property
    def _counted(self) -> list[tuple[int, NDArray[np.bool_], slice]]:
        """For axes with a coordinate per item: who counts, which items each level has, where."""
        found = []
        for axis in self.axes:
            if axis.count is not None and axis.items > 1:
                counter = self.axes[self._index[axis.count]]
                items = np.arange(axis.items) < np.array(counter.levels)[:, None]
                found.append((self.coordinates(counter).start, items, self.coordinates(axis)))
        return found

    @cached_property
    def size(self) -> int:
        """How many points there are, those that differ only in items they do not have being one."""
        ways = {axis.name: [1] * len(axis.levels) for axis in self.axes}
        for axis in self.axes:
            levels = len(axis.levels)
            if axis.items > 1 and axis.count is not None:
                lengths = self.axes[self._index[axis.count]].levels
                counted = zip(ways[axis.count], lengths, strict=True)
                ways[axis.count] = [way * levels**length for way, length in counted]
                ways[axis.name] = [1]
            elif axis.items > 1:
                ways[axis.name] = [levels**axis.items]
        return math.prod(sum(numbers) for numbers in ways.values())

    @cached_property
    def start(self) -> Points:
        """The baseline's point."""
        return np.array([level for axis in self.axes for level in axis.start])

    def coordinates(self, axis: Axis) -> slice:
        """The coordinates of an axis."""
        number = self._index[axis.name]
        return slice(self._offsets[number], self._offsets[number + 1])

    def stacked(self, blocks: Sequence[tuple[Axis, NDArray[np.float64]]]) -> NDArray[np.float64]:
        """Features as rows of a table, one row per level of every coordinate.

        Args:
            blocks: For each feature its axis, and its values (items, levels) there.
        """
        rows = np.zeros((self._total, len(blocks)))
        for number, (axis, values) in enumerate(blocks):
            start = int(self._first[self.coordinates(axis).start])
            rows[start : start + values.size, number] = values.ravel()
        return rows

    def active(self, points: Points) -> NDArray[np.bool_]:
        """Which coordinates have an effect: those of items that exist. (B, C) in and out."""
        mask = np.ones(points.shape, dtype=bool)
        for counter, by_level, span in self._counted:
            mask[:, span] = by_level[points[:, counter]]
        return mask

    def plain(self, points: Points) -> Points:
        """Points with the baseline's level wherever a level has no effect. (B, C) in and out."""
        return np.where(self.active(points), points, self.start)

    def marks(self, points: Points) -> NDArray[np.float64]:
        """Points as indicators of the levels of all coordinates in one long list.

        What has no effect is not marked. (B, C) to (B, levels).
        """
        places = np.where(self.active(points), self._first + points, self._total)
        marked = np.zeros((len(points), self._total + 1))
        marked[np.arange(len(points))[:, None], places] = 1.0
        return marked[:, :-1]

    def scattered(self, rng: np.random.Generator, number: int, alike: float = 0.5) -> Points:
        """Random points; a share of them with all items of a list alike. (number, C)."""
        points = rng.integers(0, self.sizes, (number, len(self)))
        for axis in self.axes:
            span = self.coordinates(axis)
            same = rng.random(number) < alike
            points[same, span] = points[same, span][:, :1]
        return points

    def balanced(self, rng: np.random.Generator, number: int) -> Points:
        """Random points that share out the levels of every axis evenly, all items of a list alike.

        A Latin hypercube (McKay, Beckman and Conover, Technometrics 21, 1979), but with one shift
        for all parts of a range, so that numbers of levels differ by one at most. (number, C).
        """
        points = np.empty((number, len(self)), dtype=np.intp)
        for axis in self.axes:
            shares = (rng.permutation(number) + rng.random()) / number
            levels = (shares * len(axis.levels)).astype(np.intp)
            points[:, self.coordinates(axis)] = levels[:, None]
        return points

    def edit(self, point: Points) -> Edit | None:
        """The change that makes a point of the baseline; None for the baseline itself."""
        changes: Data = {}
        for axis in self.axes:
            changes |= self._changes(axis, point)
        if not changes:
            return None
        words = ", ".join(f"{path} {said(value)}" for path, value in changes.items())
        return Edit(", ".join(changes), "several", changes, words)

    def config(self, point: Points) -> Data:
        """The config at a point, ready for ``describe``."""
        edit = self.edit(point)
        return self.baseline if edit is None else edit.apply(self.baseline)

    def described(self, points: Points) -> list[Description | None]:
        """What ``describe`` says of points; None for what the trainer refuses. (B, C)."""
        answers = self._describe([self.config(point) for point in points])
        return [None if isinstance(answer, Rejected) else answer for answer in answers]

    def encode(self, description: Description) -> Points:
        """The point of a config; a value between levels takes the nearest."""
        name = description.config_id
        if name not in self._encoded:
            levels = [level for axis in self.axes for level in axis.read(description.config)]
            self._encoded[name] = np.array(levels)
        return self._encoded[name]

    def _lengths(self, count: str, points: Points) -> Points:
        number = self._index[count]
        lengths: Points = np.array(self.axes[number].levels)[points[..., self._offsets[number]]]
        return lengths

    def _changes(self, axis: Axis, point: Points) -> Data:
        """What one axis changes, as ``search.moves.rebuilt`` takes it."""
        levels = point[self.coordinates(axis)]
        if axis.count is not None:
            length = int(self._lengths(axis.count, point))
            levels = levels[:length] if axis.items > 1 else levels.repeat(length)
        elif Span.ALL in axis.path.steps:
            levels = levels.repeat(len(axis.places(self.baseline)))
        moved = any(a != b for a, b in zip(levels, _endless(axis.start, len(levels)), strict=True))
        if not moved and not self._chosen_anew(axis, point):
            return {}
        values = [axis.forms[level] for level in levels]
        usable = [self._usable(axis, point, item) for item in range(len(levels))]
        if all(usable):
            return {axis.name: values if axis.path.spans else values[0]}
        kept = [(item, value) for item, value in enumerate(values) if usable[item]]
        return {str(axis.place(item)): value for item, value in kept}

    def _chosen_anew(self, axis: Axis, point: Points) -> bool:
        """Whether the component it is an option of was replaced, and its options with it."""
        if axis.below is None:
            return False
        span = self.coordinates(self.axes[self._index[axis.below]])
        return bool((point[span] != self.start[span]).any())

    def _usable(self, axis: Axis, point: Points, item: int) -> bool:
        """Whether the component chosen there has this option."""
        if axis.below is None:
            return True
        parent = self.axes[self._index[axis.below]]
        levels = point[self.coordinates(parent)]
        return axis.name in self._known_options(parent, int(levels[min(item, len(levels) - 1)]))

    def _known_options(self, parent: Axis, level: int) -> frozenset[str]:
        """Axes below a component that it has options for, as ``describe`` tells."""
        key = (parent.name, level)
        if key not in self._options:
            places = parent.places(self.baseline)
            changes = {str(place): parent.forms[level] for place in places}
            (answer,) = self._describe([Edit("", "several", changes).apply(self.baseline)])
            full = self.baseline if isinstance(answer, Rejected) else answer.config
            below = [axis for axis in self.axes if axis.below == parent.name]
            self._options[key] = frozenset(axis.name for axis in below if _has(axis, full))
        return self._options[key]


def _endless(start: tuple[int, ...], length: int) -> tuple[int, ...]:
    return (*start, *[start[-1]] * (length - len(start)))[:length]


def _has(axis: Axis, full: Data) -> bool:
    try:
        return bool(axis.places(full))
    except PathError:
        return False


def said(value: Any) -> str:
    """A level in words."""
    if isinstance(value, list):
        alike = bool(value) and all(item == value[0] for item in value)
        return said(value[0]) if alike else "/".join(said(item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value.get("kind", value)) if isinstance(value, Mapping) else str(value)
