"""Sweep files: mappings whose lists are swept, as ReaLLMASIC's ``run_experiments.py`` reads them.

Same combinations in the same order, with these mends: a float range keeps its end, numbers such as
``1e-4`` are numbers, groups may have groups, ranges and conditions of their own (as in its later
versions, a key of a group replaces the one around it), and what leads to no value is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

from spec import errors, yaml
from spec.config import Data
from spec.errors import InputError, did_you_mean
from spec.path import join
from spec.yaml import Document, Loc

GROUPS = "parameter_groups"
MOST = 100_000
"""Most values of one range."""
_SMALL = 1e-9


@dataclass(frozen=True)
class Rule:
    """Values of a key that is swept only where other keys have the wanted values."""

    conditions: Sequence[tuple[str, Any]]
    options: Sequence[Any]

    def holds(self, combination: Data) -> bool:
        """Whether a combination meets all conditions."""
        return all(combination.get(name) == wanted for name, wanted in self.conditions)


@dataclass(frozen=True)
class Sweep:
    """One mapping with one of its groups: iterates its combinations, in order."""

    values: Mapping[str, Sequence[Any]]
    tied: Mapping[str, Rule]

    def __iter__(self) -> Iterator[Data]:
        for values in product(*self.values.values()):
            found = [dict(zip(self.values, values, strict=True))]
            for key, rule in self.tied.items():
                found = [
                    each
                    for before in found
                    for each in (
                        [{**before, key: option} for option in rule.options]
                        if rule.holds(before)
                        else [before]
                    )
                ]
            yield from found


def combinations(file: Path) -> Iterator[Data]:
    """Every combination of a sweep file, in order.

    A ``.json`` file holds a mapping or a list of them; any other file is YAML of one or many
    documents, each of that form. In a mapping, a list is swept, any other value is fixed, and
    ``{range: {start, end, step}}`` is the list from start to end, the end included. Each item of
    ``parameter_groups`` adds its own keys in turn, and may have groups itself. ``{conditions:
    [[key, value], ...], options: ...}`` is swept where all conditions hold, and is left out
    elsewhere.

    Raises:
        InputError: When the file is missing or holds no sweep.
        ConfigError: When a part of it is not of this form, with its place. The whole file is
            looked at before the first combination is given.
    """
    found = [sweep for document in _documents(file) for sweep in sweeps(document)]
    if not found:
        raise InputError(f"{file}: holds no sweep; write keys with values or lists")
    for sweep in found:
        yield from sweep


def sweeps(document: Document) -> list[Sweep]:
    """The sweeps of a mapping, one for each of its groups, or of a list of mappings.

    Raises:
        ConfigError: For what is not of the form.
    """
    if not isinstance(document.data, list):
        return _Reader(document, (), document.data).sweeps()
    parts = enumerate(document.data)
    return [sweep for n, part in parts for sweep in _Reader(document, (n,), part).sweeps()]


@dataclass(frozen=True)
class _Reader:
    """Reads one mapping of a document; complains with the place of what is wrong."""

    document: Document
    at: Loc
    data: Any

    def sweeps(self) -> list[Sweep]:
        if not isinstance(self.data, Mapping):
            raise self._fault((), f"{self.data!r} is no sweep; write keys with values or lists")
        return [self._sweep(merged) for merged in self._merged((), self.data, {})]

    def _merged(
        self, loc: Loc, data: Mapping[str, Any], before: Mapping[str, tuple[Loc, Any]]
    ) -> list[dict[str, tuple[Loc, Any]]]:
        """A mapping on top of those around it, once for each of its groups, with places."""
        own = {key: ((*loc, key), value) for key, value in data.items() if key != GROUPS}
        own, groups = {**before, **own}, data.get(GROUPS)
        if not groups:
            return [own]
        if not isinstance(groups, list) or not all(isinstance(group, Mapping) for group in groups):
            words = f"{groups!r} are no groups; write a list of mappings: [{{key: value}}, ...]"
            raise self._fault((*loc, GROUPS), words)
        return [
            merged
            for number, group in enumerate(groups)
            for merged in self._merged((*loc, GROUPS, number), group, own)
        ]

    def _sweep(self, merged: Mapping[str, tuple[Loc, Any]]) -> Sweep:
        for key, (loc, _) in merged.items():
            if not isinstance(key, str):
                raise self._fault(loc, f"{key!r} is no key; write a word")
            if get_close_matches(key, [GROUPS], cutoff=0.9):
                raise self._fault(loc, f"unknown key {key!r}; did you mean {GROUPS!r}?")
        tied = {
            key: self._rule(loc, value)
            for key, (loc, value) in merged.items()
            if _has(value, "conditions") or (_has(value, "options") and _has(value, "condition"))
        }
        return Sweep({k: self._swept(*told) for k, told in merged.items() if k not in tied}, tied)

    def _rule(self, loc: Loc, rule: Mapping[str, Any]) -> Rule:
        try:
            conditions = [(str(name), wanted) for name, wanted in rule["conditions"]]
            options = rule["options"]
        except (KeyError, TypeError, ValueError):
            words = f"{rule!r}: write {{conditions: [[key, value], ...], options: [...]}}"
            raise self._fault(loc, words) from None
        known = _keys(self.data)
        for name, wanted in conditions:
            if name not in known and wanted is not None:
                words = f"{rule!r} waits for {name!r}, which is not in the sweep"
                raise self._fault(loc, words + did_you_mean(name, known))
        if options == []:
            raise self._fault(loc, f"{rule!r} has no options, so nothing would be tried; give one")
        return Rule(conditions, options if isinstance(options, list) else [options])

    def _swept(self, loc: Loc, value: Any) -> list[Any]:
        ranged = _has(value, "range")
        values = self._range(loc, value["range"]) if ranged else value
        if values == []:
            words = f"{value!r} leads to no value, so nothing would be tried; give it one"
            raise self._fault(loc, words)
        return values if isinstance(values, list) else [values]

    def _range(self, loc: Loc, span: Any) -> list[int] | list[float]:
        try:
            start, end = span["start"], span["end"]
            step = span.get("step", 1 if isinstance(start, int) else 0.1)
            unknown = set(span) - {"start", "end", "step"}
            if unknown:
                raise ValueError(unknown)
            whole = all(isinstance(number, int) for number in (start, end, step))
            count = max(0, math.floor((end - start) / step + _SMALL) + 1)
        except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError):
            words = f"{span!r} is no range; write {{start: 0, end: 0.3, step: 0.1}}"
            raise self._fault(loc, words) from None
        if count > MOST:
            words = f"{span!r} has {count:,} values; take larger steps, {MOST:,} are the most"
            raise self._fault(loc, words)
        if whole:
            return [start + index * step for index in range(count)]
        # what is left of a sum that should be zero is nobody's dropout
        small = _SMALL * abs(step)
        values = [float(f"{start + index * step:.12g}") for index in range(count)]
        return [value if abs(value) > small else 0.0 for value in values]

    def _fault(self, loc: Loc, words: str) -> errors.ConfigError:
        whole = (*self.at, *loc)
        return errors.ConfigError([errors.Problem(join(whole), words, self.document.place(whole))])


def _keys(data: Mapping[str, Any]) -> set[str]:
    """Of a mapping and all its groups."""
    own = {str(key) for key in data if key != GROUPS}
    return own.union(*(_keys(group) for group in data.get(GROUPS) or ()))


def _has(value: Any, key: str) -> bool:
    return isinstance(value, Mapping) and key in value


def _documents(file: Path) -> list[Document]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give the path of a sweep") from None
    if file.suffix != ".json":
        return [each for each in yaml.parse_all(text, file) if each.data is not None]
    try:
        return [Document(json.loads(text), file)]
    except ValueError as error:
        raise InputError(f"{file}: not JSON: {error}") from None
