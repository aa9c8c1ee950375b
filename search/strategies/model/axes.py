"""One rule of a space as an axis: the values that its moves lead to from the baseline."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from search.moves import ChoicesRule, LayersRule, Number, Rule, ScaleRule, StepRule, chosen
from spec.config import Data
from spec.errors import ConfigError, Problem
from spec.path import Path, PathError, Span

MOST_LEVELS = 10_000
"""A rule with more levels than this is taken for a mistake."""
LARGEST = 1e300
"""Listed numbers beyond this, infinity say, have no place on a scale: they are mere choices."""


@dataclass(frozen=True)
class Axis:
    """One rule of a space, with the values it leads to.

    Attributes:
        path: The path as the space has it.
        kind: ``number``; ``choice``; or ``count``, the length of a list.
        levels: Values in rising order, or choices as written.
        forms: What stands in a config for each level: a component chosen by name is a mapping.
        start: The baseline's level, one per coordinate.
        count: The axis that counts the items this one has a coordinate for, if their number moves.
        below: The axis that chooses the component this is an option of.
    """

    path: Path
    kind: Literal["number", "choice", "count"]
    levels: tuple[Any, ...]
    forms: tuple[Any, ...]
    start: tuple[int, ...]
    count: str | None = None
    below: str | None = None

    @property
    def name(self) -> str:
        """The path as text."""
        return str(self.path)

    @property
    def items(self) -> int:
        """How many coordinates: one, or one per item the list may hold."""
        return len(self.start)

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """Levels of a number on a scale with the baseline at 0 and the whole range 1 long.

        Logarithmic when all values are above zero: a doubling then weighs the same everywhere. A
        zero is a step below the smallest, if the others are spaced that way.
        """
        values = np.array(self.levels, dtype=float)
        scale = _scale(values)
        spread = scale.max() - scale.min()
        return np.asarray((scale - scale[self.start[0]]) / (spread or 1.0))

    def place(self, item: int) -> Path:
        """The path of one coordinate."""
        return Path(tuple(item if isinstance(step, Span) else step for step in self.path.steps))

    def places(self, full: Data) -> list[Path]:
        """Everywhere in a full form that this axis stands for.

        Raises:
            PathError: When the path leads nowhere.
        """
        each = Path(tuple(Span.EACH if s is Span.ALL else s for s in self.path.steps))
        return each.expand(full)

    def read(self, full: Data) -> list[int]:
        """The levels of a full form: the nearest, and the baseline's where it has no such value."""
        if self.kind == "count":
            return [_nearest(self.levels, len(self.path.get(full)))]
        levels = list(self.start)
        for item in range(self.items):
            try:
                value = self.place(item).get(full)
            except PathError:
                continue
            levels[item] = self._level(value, levels[item])
        return levels

    def _level(self, value: Any, otherwise: int) -> int:
        if self.kind == "choice":
            return _chosen(self.levels, value, otherwise)
        return _nearest(self.levels, value) if isinstance(value, int | float) else otherwise


def axes(space: Mapping[str, Rule], baseline: Data) -> list[Axis]:
    """The axes of a space: lengths of lists first, components before their options.

    A rule for ``[:]`` adds nothing where ``[*]`` moves the same places one by one.

    Raises:
        ConfigError: For a rule without an end: such a space has no bounds to search within.
    """
    found = [
        _axis(Path.parse(text), rule, baseline)
        for text, rule in space.items()
        if "[:]" not in text or text.replace("[:]", "[*]") not in space
    ]
    return sorted((_linked(axis, found) for axis in found), key=_order)


def _order(axis: Axis) -> tuple[bool, int]:
    return axis.kind != "count", len(axis.path.steps) if axis.below else 0


def _axis(path: Path, rule: Rule, baseline: Data) -> Axis:
    if isinstance(rule, LayersRule):
        length = len(path.get(baseline))
        lengths = _lengths(path, rule, length)
        return Axis(path, "count", lengths, lengths, (lengths.index(length),))
    bare = Axis(path, "number", (), (), ())
    values = [place.get(baseline) for place in bare.places(baseline)]
    values = values[:1] if Span.ALL in path.steps else values
    if isinstance(rule, ChoicesRule):
        return _choice(path, rule, values)
    assert isinstance(rule, StepRule | ScaleRule)
    return _numbers(path, (n for value in values for n in _reached(path, rule, value)), values)


def _numbers(path: Path, levels: Iterable[Number], values: Sequence[Number]) -> Axis:
    """Numbers have an order and distances, whether a rule reaches them or they are listed."""
    rising = tuple(sorted(set(levels)))
    return Axis(path, "number", rising, rising, tuple(rising.index(value) for value in values))


def _choice(path: Path, rule: ChoicesRule, values: Sequence[Any]) -> Axis:
    levels = list(rule.choices)
    for value in values:
        if not any(chosen(value, choice) for choice in levels):
            levels.append(value)
    if all(map(_measurable, levels)):
        return _numbers(path, levels, values)
    start = tuple(_chosen(levels, value, 0) for value in values)
    forms = tuple(_form(choice, values) for choice in levels)
    return Axis(path, "choice", tuple(levels), forms, start)


def _form(choice: Any, values: Iterable[Any]) -> Any:
    """The baseline's own component with its options where that is the choice; else a fresh one."""
    for value in values:
        if chosen(value, choice):
            return value
    is_component = any(isinstance(value, Mapping) and "kind" in value for value in values)
    return {"kind": choice} if is_component and isinstance(choice, str) else choice


def _scale(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rising values on the scale on which they are spaced more evenly."""
    if values[0] > 0:
        return np.asarray(np.log(values))
    if values[0] < 0 or len(values) < 4:
        return values
    logs = np.log(values[1:])
    logs = np.concatenate([[2.0 * logs[0] - logs[1]], logs])
    steps = np.diff(values), np.diff(logs)
    uneven = [float(step.max() / step.min()) for step in steps]
    return logs if uneven[1] < uneven[0] else values


def _measurable(level: Any) -> bool:
    """Whether a choice is a number with a place on a scale."""
    number = isinstance(level, int | float) and not isinstance(level, bool)
    return number and abs(level) < LARGEST


def _linked(axis: Axis, others: Sequence[Axis]) -> Axis:
    """An axis that knows which list's length and which chosen component it depends on."""
    start, count = axis.start, None
    spans = [depth for depth, step in enumerate(axis.path.steps) if isinstance(step, Span)]
    holder = str(Path(axis.path.steps[: spans[0]])) if spans else ""
    for other in others:
        if other.kind == "count" and other.name == holder:
            count = holder
            most = max(other.levels) if Span.EACH in axis.path.steps else 1
            start = (*start, *[start[-1]] * (most - len(start)))[:most]
    below = [other.name for other in others if other.kind == "choice" and _inside(axis, other)]
    return replace(axis, start=start, count=count, below=max(below, key=len, default=None))


def _inside(axis: Axis, other: Axis) -> bool:
    """Whether an axis lies below another, ``[*]`` and ``[:]`` being the same places."""
    steps, mine = other.path.steps, axis.path.steps
    pairs = zip(mine, steps, strict=False)
    same = all(a == b or (isinstance(a, Span) and isinstance(b, Span)) for a, b in pairs)
    return len(mine) > len(steps) and same


def _lengths(path: Path, rule: LayersRule, length: int) -> tuple[int, ...]:
    if rule.duplicate and rule.max is None:
        raise _refused(path, "duplicate without an end; give the rule a max")
    least = min(rule.min, length) if rule.drop else length
    most = max(rule.max or length, length) if rule.duplicate else length
    return tuple(range(max(least, 1), most + 1))


def _reached(path: Path, rule: StepRule | ScaleRule, value: Number) -> list[Number]:
    """Values that repeated moves lead to; sizes and counts without a min stay above zero."""
    rule.moved(path, value, lambda same: same)  # refuses what is no number
    if rule.max is None or (rule.min is None and value <= 0):
        end = "max" if rule.max is None else "min"
        raise _refused(
            path,
            f"no {end}, so this strategy cannot lay out its values; give the rule a {end}, or "
            "search with strategy: greedy",
        )
    if rule.min is None:
        rule = rule.model_copy(update={"min": 1 if isinstance(value, int) else value * 1e-6})
    found = [value]
    for _, change in rule.moves():
        here = value
        while (there := rule.moved(path, here, change)) != here:
            found.append(here := there)
            if len(found) > MOST_LEVELS:
                raise _refused(path, f"over {MOST_LEVELS:,} values; take larger steps")
    return found


def _refused(path: Path, words: str) -> ConfigError:
    return ConfigError([Problem(f"space.{path}", words, loc=("space", str(path)))])


def _chosen(levels: Sequence[Any], value: Any, otherwise: int) -> int:
    found = (index for index, choice in enumerate(levels) if chosen(value, choice))
    return next(found, otherwise)


def _nearest(levels: Sequence[Number], value: Number) -> int:
    right = min(bisect_left(levels, value), len(levels) - 1)
    left = max(right - 1, 0)
    return left if abs(levels[left] - value) <= abs(levels[right] - value) else right
