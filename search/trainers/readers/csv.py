"""Numbers from a CSV file that begins with a header."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

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
from spec.errors import did_you_mean
from spec.records import RecordError


@readers.variant("csv")
class CsvConfig(MetricReader):
    """Rows under a header."""

    told_by: ClassVar[str] = "csv"

    csv: str
    """The file, below the trial's folder."""
    columns: Annotated[dict[str, str], Field(min_length=1)]
    """Field -> column. An empty cell tells nothing."""
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What stands between cells."""

    @field_validator("columns")
    @classmethod
    def _names_fields(cls, columns: dict[str, str]) -> dict[str, str]:
        refuse_unknown(columns)
        return columns

    def fields(self) -> frozenset[str]:
        return frozenset(self.columns)

    def place(self) -> str | None:
        return self.csv

    def open(self, place: Path) -> Source:
        return _Rows(self, place)


class _Rows:
    def __init__(self, config: CsvConfig, file: Path) -> None:
        self._config = config
        self._lines = Lines(file)
        self._header: list[str] | None = None
        self._seen = False

    @property
    def unmatched(self) -> str:
        columns = ", ".join(self._config.columns.values())
        return "" if self._seen else f"{self._lines.file.name}: no row fills {columns}"

    def read(self, last: bool) -> Iterator[Sighting]:
        for cells in csv.reader(self._lines.read(last), delimiter=self._config.separator):
            row = [cell.strip() for cell in cells]
            if self._header is None:
                self._header = self._known(row)
            elif row != self._header and (found := self._sighting(row)):
                self._seen = True
                yield self._config.scaled(found)

    def _known(self, header: list[str]) -> list[str]:
        for column in self._config.columns.values():
            if column not in header:
                raise RecordError(
                    f"{self._lines.file.name}: no column {column!r}{did_you_mean(column, header)}"
                )
        return header

    def _sighting(self, row: list[str]) -> Sighting:
        assert self._header is not None
        cells = dict(zip(self._header, row, strict=False))
        told = ((name, cells.get(column, "")) for name, column in self._config.columns.items())
        return {name: number(cell) for name, cell in told if cell}
