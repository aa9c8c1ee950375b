"""Numbers from printed lines, by regular expressions with named groups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import field_validator

from search.trainers.readers.base import (
    MetricReader,
    Sighting,
    Source,
    number,
    readers,
    refuse_unknown,
)
from search.trainers.readers.lines import Lines
from spec.config import Seq, refuse
from spec.records import RecordError


@readers.variant("regex")
class RegexConfig(MetricReader):
    """Patterns searched for in every line; their groups are named after the fields."""

    told_by: ClassVar[str] = "regex"

    regex: str | Seq[str]
    """One pattern or several, such as ``step (?P<step>\\d+): val loss (?P<val_loss>\\S+)``. What
    a line without ``val_loss`` tells goes with the next evaluation."""
    file: str | None = None
    """What is read, below the trial's folder; the script's output when not given."""

    @field_validator("regex")
    @classmethod
    def _names_fields(cls, regex: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for pattern in _several(regex):
            try:
                groups = re.compile(pattern).groupindex
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
            if not groups:
                refuse(pattern, f"{pattern!r} has no group; write (?P<val_loss>\\S+) for a number")
            refuse_unknown(dict(groups))
        return regex

    @property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The patterns, compiled."""
        return tuple(re.compile(pattern) for pattern in _several(self.regex))

    def fields(self) -> frozenset[str]:
        return frozenset(name for pattern in self.patterns for name in pattern.groupindex)

    def place(self) -> str | None:
        return self.file

    def open(self, place: Path) -> Source:
        return _Matches(self, place)


class _Matches:
    """Sightings of every pattern, line by line."""

    def __init__(self, config: RegexConfig, file: Path) -> None:
        self._config = config
        self._lines = Lines(file)
        self._patterns = config.patterns
        self._silent = set(self._patterns)

    @property
    def unmatched(self) -> str:
        silent = ", ".join(p.pattern for p in self._patterns if p in self._silent)
        return f"{self._lines.file.name}: no line matches {silent}" if silent else ""

    def read(self, last: bool) -> Iterator[Sighting]:
        for line in self._lines.read(last):
            for pattern in self._patterns:
                match = pattern.search(line)
                if match is not None:
                    self._silent.discard(pattern)
                    yield self._sighting(match, line)

    def _sighting(self, match: re.Match[str], line: str) -> Sighting:
        try:
            found = {n: number(text) for n, text in match.groupdict().items() if text is not None}
        except RecordError as error:
            raise RecordError(
                f"{self._lines.file.name}: {error} in {line[:200]!r}; "
                f"narrow the pattern {match.re.pattern}"
            ) from None
        return self._config.scaled(found)


def _several(regex: str | tuple[str, ...]) -> tuple[str, ...]:
    return (regex,) if isinstance(regex, str) else regex
