"""Dotted paths into config data: ``model.layers[3].norm``, ``[*]`` each, ``[:]`` all at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from spec.errors import InputError, did_you_mean


class Span(Enum):
    """A step that stands for every item of a list."""

    EACH = "*"
    """One path per item."""
    ALL = ":"
    """One path for all items together."""


Step = str | int | Span

_TOKEN = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(\d+|\*|:)\]")


class PathError(InputError):
    """A path that is malformed or leads nowhere."""


@dataclass(frozen=True)
class Path:
    """A place, or several, in nested dicts and lists; ``str`` gives back what was parsed."""

    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> Path:
        """Read a dotted path.

        Raises:
            PathError: When the text is not a path.
        """
        steps: list[Step] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or (match[0].startswith(".") and not steps):
                raise PathError(
                    f"{text!r} is not a path at column {position + 1}; "
                    "write keys joined by dots, with [0], [*] (each) or [:] (all) behind a list"
                )
            steps.append(match[1] if match[1] is not None else _step(match[2]))
            position = match.end()
        if not steps:
            raise PathError("an empty path; name a key such as optimizer.learning_rate")
        return cls(tuple(steps))

    def __str__(self) -> str:
        return join(self.steps)

    @property
    def spans(self) -> bool:
        """Whether the path still stands for several places."""
        return any(isinstance(step, Span) for step in self.steps)

    def expand(self, data: Any, *, skip: bool = False) -> list[Path]:
        """Replace every ``[*]`` by the indices of the list it stands on in ``data``; ``[:]`` stays.

        Args:
            data: What the path leads into.
            skip: Leave out what leads nowhere.

        Raises:
            PathError: When the path leads nowhere in ``data``, unless that is skipped.
        """
        found = [Path(steps) for steps in _expand(self, (), self.steps, data, skip)]
        return [path for path in found if path.leads(data)] if skip else found

    def leads(self, data: Any) -> bool:
        """Whether the path leads somewhere in ``data``."""
        try:
            self.get(data)
        except PathError:
            return False
        return True

    def get(self, data: Any) -> Any:
        """The value at this path; with ``[:]`` the list of values, one per item.

        Raises:
            PathError: When the path leads nowhere in ``data``.
        """
        return _get(self, 0, data)

    def set(self, data: Any, value: Any) -> Any:
        """A copy of ``data`` with ``value`` here; with ``[:]`` it is a list, one value per item.

        Only the containers on the way are copied.

        Raises:
            PathError: When the path leads nowhere in ``data``, or a list has the wrong length.
        """
        return _set(self, 0, data, value)

    def put(self, data: Any, value: Any) -> Any:
        """Like ``set``, but keys that are not there yet are made.

        Raises:
            PathError: When the way leads through something that holds no keys.
        """
        for depth in range(1, len(self.steps)):
            step, way = self.steps[depth - 1], Path(self.steps[:depth])
            holder = Path(self.steps[: depth - 1]).get(data)
            if isinstance(holder, Mapping) and step not in holder:
                data = way.set(_with_key(data, way), {})
        return self.set(_with_key(data, self), value)


def _with_key(data: Any, path: Path) -> Any:
    """A copy in which the last key of a path exists, if a mapping can hold it."""
    holder = Path(path.steps[:-1])
    mapping = holder.get(data)
    if isinstance(mapping, Mapping) and path.steps[-1] not in mapping:
        return holder.set(data, {**mapping, path.steps[-1]: None})
    return data


def join(steps: Iterable[Step]) -> str:
    """Write steps as a dotted path."""
    text = ""
    for step in steps:
        if isinstance(step, Span):
            text += f"[{step.value}]"
        elif isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def _step(token: str) -> Step:
    return int(token) if token.isdigit() else Span(token)


def _child(path: Path, depth: int, data: Any) -> Any:
    step = path.steps[depth]
    if isinstance(step, str) and isinstance(data, Mapping):
        if step in data:
            return data[step]
        raise PathError(
            f"{path}: no key {step!r} in {_here(path, depth)}{did_you_mean(step, data)}"
        )
    if isinstance(step, int) and isinstance(data, list):
        if step < len(data):
            return data[step]
        raise PathError(
            f"{path}: index {step} is past the {len(data)} items of {_here(path, depth)}"
        )
    raise PathError(f"{path}: {_here(path, depth)} is {_kind(data)}, it has no {join([step])}")


def _items(path: Path, depth: int, data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise PathError(
            f"{path}: {_here(path, depth)} is {_kind(data)}, "
            f"{join([path.steps[depth]])} needs a list"
        )
    return data


def _here(path: Path, depth: int) -> str:
    return join(path.steps[:depth]) or "the config"


def _kind(data: Any) -> str:
    if isinstance(data, Mapping):
        return "a mapping"
    return "a list" if isinstance(data, list) else f"the value {data!r}"


def _expand(
    path: Path, done: tuple[Step, ...], todo: tuple[Step, ...], data: Any, skip: bool
) -> list[tuple[Step, ...]]:
    if not todo:
        return [done]
    depth, step, rest = len(done), todo[0], todo[1:]
    try:
        if not isinstance(step, Span):
            return _expand(path, (*done, step), rest, _child(path, depth, data), skip)
        items = _items(path, depth, data)
    except PathError:
        if skip:
            return []
        raise
    if step is Span.ALL:
        below = [_expand(path, (*done, step), rest, item, skip) for item in items]
        return next((ways for ways in below if ways), [])
    return [
        way
        for index, item in enumerate(items)
        for way in _expand(path, (*done, index), rest, item, skip)
    ]


def _get(path: Path, depth: int, data: Any) -> Any:
    if depth == len(path.steps):
        return data
    if isinstance(path.steps[depth], Span):
        return [_get(path, depth + 1, item) for item in _items(path, depth, data)]
    return _get(path, depth + 1, _child(path, depth, data))


def _set(path: Path, depth: int, data: Any, value: Any) -> Any:
    if depth == len(path.steps):
        return value
    step = path.steps[depth]
    if isinstance(step, Span):
        items = _items(path, depth, data)
        if not isinstance(value, list) or len(value) != len(items):
            raise PathError(
                f"{path}: needs a list of {len(items)} values, one per item, got {value!r}"
            )
        return [_set(path, depth + 1, item, one) for item, one in zip(items, value, strict=True)]
    child = _child(path, depth, data)
    if isinstance(step, int):
        return [*data[:step], _set(path, depth + 1, child, value), *data[step + 1 :]]
    return {**data, step: _set(path, depth + 1, child, value)}
