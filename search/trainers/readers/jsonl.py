"""Numbers from JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from search.trainers.readers.base import (
    MetricReader,
    Sighting,
    Source,
    number,
    readers,
    refuse_unknown,
)
from search.trainers.readers.lines import Lines
from spec.records import RecordError

OUTPUT = "output"
"""In place of a file: the script's output, among whose lines JSON objects may stand."""


@readers.variant("jsonl")
class JsonLines(MetricReader):
    """Objects, one per line."""

    told_by: ClassVar[str] = "jsonl"

    jsonl: str
    """The file, below the trial's folder, or ``output``."""
    keys: Annotated[dict[str, str], Field(min_length=1)]
    """Field -> key in the object; a dotted key looks into objects inside."""

    @field_validator("keys")
    @classmethod
    def _names_fields(cls, keys: dict[str, str]) -> dict[str, str]:
        refuse_unknown(keys)
        return keys

    def fields(self) -> frozenset[str]:
        return frozenset(self.keys)

    def place(self) -> str | None:
        return None if self.jsonl == OUTPUT else self.jsonl

    def open(self, place: Path) -> Source:
        return _Objects(self, place)


class _Objects:
    def __init__(self, config: JsonLines, file: Path) -> None:
        self._config = config
        self._lines = Lines(file)
        self._seen = False

    @property
    def unmatched(self) -> str:
        keys = ", ".join(self._config.keys.values())
        return "" if self._seen else f"{self._lines.file.name}: no JSON line has any of {keys}"

    def read(self, last: bool) -> Iterator[Sighting]:
        for line in self._lines.read(last):
            found = self._sighting(line)
            if found:
                self._seen = True
                yield self._config.scaled(found)

    def _sighting(self, line: str) -> Sighting:
        if not line.lstrip().startswith("{"):
            return {}
        try:
            told = json.loads(line)
        except ValueError:
            if self._config.place() is None:  # a script may print a brace
                return {}
            raise RecordError(f"{self._lines.file.name}: not JSON: {line[:120]}") from None
        values = {name: _value(told, key) for name, key in self._config.keys.items()}
        return {name: number(str(value)) for name, value in values.items() if value is not None}


def _value(told: Mapping[str, Any], key: str) -> Any:
    """The value under a key as it is written, or else as a way through objects."""
    if key in told:
        return told[key]
    here: Any = told
    for part in key.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here
