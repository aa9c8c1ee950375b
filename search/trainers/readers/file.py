"""Numbers from a file that is whole only once the trial has ended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import model_validator

from search.trainers.readers.base import (
    MetricReader,
    Sighting,
    Source,
    number,
    readers,
    refuse_unknown,
)
from spec.config import Seq, refuse
from spec.records import RecordError


@readers.variant("file")
class FinalFile(MetricReader):
    """A file read at the end: by a pattern over its whole text, or by position."""

    told_by: ClassVar[str] = "file"

    file: str
    """The file, below the trial's folder."""
    pattern: str | None = None
    """Searched for in the whole text; groups are named after the fields."""
    columns: Seq[str | None] = ()
    """The field at each position of the first line; ``null`` skips one, the rest is ignored."""
    separator: str = ","
    """What stands between columns."""

    @model_validator(mode="after")
    def _one_way(self) -> FinalFile:
        if (self.pattern is None) == (not self.columns):
            refuse(self.file, "a final file is read by pattern or by columns; give one of them")
        refuse_unknown(dict.fromkeys(self.fields()), "columns" if self.columns else "pattern")
        return self

    def fields(self) -> frozenset[str]:
        if self.pattern is None:
            return frozenset(name for name in self.columns if name)
        try:
            return frozenset(re.compile(self.pattern).groupindex)
        except re.error as error:
            refuse(self.pattern, f"{self.pattern!r} is no regular expression: {error}", "pattern")

    @property
    def closing(self) -> bool:
        return True

    def place(self) -> str | None:
        return self.file

    def open(self, place: Path) -> Source:
        return _Whole(self, place)


class _Whole:
    def __init__(self, config: FinalFile, file: Path) -> None:
        self._config = config
        self._file = file
        self.unmatched = f"{file.name} was never written"

    def read(self, last: bool) -> Iterator[Sighting]:
        if not last or not self._file.is_file():
            return
        text = self._file.read_bytes().decode(errors="replace")
        words = self._matched(text) if self._config.pattern else self._positions(text)
        try:
            found = {name: number(word) for name, word in words.items() if word.strip()}
        except RecordError as error:
            raise RecordError(f"{self._file.name}: {error}") from None
        self.unmatched = "" if found else f"{self._file.name}: nothing found in {text[:200]!r}"
        if found:
            yield self._config.scaled(found)

    def _matched(self, text: str) -> dict[str, str]:
        match = re.search(self._config.pattern or "", text)
        return {} if match is None else {n: w for n, w in match.groupdict().items() if w}

    def _positions(self, text: str) -> dict[str, str]:
        cells = text.strip().partition("\n")[0].split(self._config.separator)
        return {name: cell for name, cell in zip(self._config.columns, cells, strict=False) if name}
