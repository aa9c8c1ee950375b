"""Sweep files: mappings whose lists are swept, as ReaLLMASIC's ``run_experiments.py`` reads them.

Same combinations in the same order, with two mends: a float range keeps its end, and numbers such
as ``1e-4`` are numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from spec import yaml
from spec.config import Data
from spec.errors import InputError

GROUPS = "parameter_groups"
_SMALL = 1e-9


def combinations(file: Path) -> Iterator[Data]:
    """Every combination of a sweep file, in order.

    A ``.json`` file holds a mapping or a list of them; any other file is YAML of one or many
    documents, or a list. In a mapping, a list is swept, any other value is fixed, and
    ``{range: {start, end, step}}`` is the list from start to end, the end included. Each item of
    ``parameter_groups`` adds its own keys in turn. ``{conditions: [[key, value], ...], options:
    ...}`` is swept where all conditions hold, and is left out elsewhere.

    Raises:
        InputError: When the file is missing, or not of this form.
    """
    for sweep in _sweeps(file):
        if not isinstance(sweep, Mapping):
            raise InputError(f"{file}: {sweep!r} is no sweep; write keys with values or lists")
        yield from expanded(sweep, str(file))


def expanded(sweep: Mapping[str, Any], where: str = "sweep") -> Iterator[Data]:
    """Every combination of one mapping, in order.

    Raises:
        InputError: For a range or a condition that is not of the form.
    """
    plain = {key: value for key, value in sweep.items() if key != GROUPS}
    tied = {key: value for key, value in plain.items() if _has(value, "conditions")}
    base = {key: _swept(key, value, where) for key, value in plain.items() if key not in tied}
    for group in sweep.get(GROUPS, [{}]):
        merged = base | {key: _swept(key, value, where) for key, value in group.items()}
        for values in product(*merged.values()):
            yield from _tied(dict(zip(merged, values, strict=True)), tied, where)


def _tied(combination: Data, tied: Mapping[str, Any], where: str) -> list[Data]:
    """A combination with the keys whose conditions it meets, once per option."""
    found = [combination]
    for key, rule in tied.items():
        conditions, options = _rule(key, rule, where)
        found = [
            each
            for before in found
            for each in (
                [{**before, key: option} for option in options]
                if all(before.get(name) == wanted for name, wanted in conditions)
                else [before]
            )
        ]
    return found


def _rule(key: str, rule: Mapping[str, Any], where: str) -> tuple[list[tuple[str, Any]], list[Any]]:
    try:
        conditions = [(name, wanted) for name, wanted in rule["conditions"]]
        options = rule["options"]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{where}: {key}: write {{conditions: [[key, value], ...], options: [...]}}"
        ) from None
    return conditions, options if isinstance(options, list) else [options]


def _swept(key: str, value: Any, where: str) -> list[Any]:
    if _has(value, "range"):
        return _range(key, value["range"], where)
    return list(value) if isinstance(value, list) else [value]


def _range(key: str, span: Any, where: str) -> list[int] | list[float]:
    try:
        start, end = span["start"], span["end"]
        step = span.get("step", 1 if isinstance(start, int) else 0.1)
        if all(isinstance(number, int) for number in (start, end, step)):
            return list(range(start, end + (1 if step > 0 else -1), step))
        count = int((end - start) / step + _SMALL) + 1
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError):
        raise InputError(
            f"{where}: {key}: {span!r} is no range; write {{start: 0, end: 0.3, step: 0.1}}"
        ) from None
    return [float(f"{start + index * step:.12g}") for index in range(count)]


def _has(value: Any, key: str) -> bool:
    return isinstance(value, Mapping) and key in value


def _sweeps(file: Path) -> list[Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give the path of a sweep") from None
    if file.suffix != ".json":
        documents = [document.data for document in yaml.parse_all(text, file)]
        alone = len(documents) == 1 and isinstance(documents[0], list)
        return documents[0] if alone else [data for data in documents if data is not None]
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{file}: not JSON: {error}") from None
    return found if isinstance(found, list) else [found]
