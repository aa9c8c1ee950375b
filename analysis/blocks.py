"""The vocabulary of a report page: a section is a list of these blocks, drawn by the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

Figure = dict[str, Any]
"""A plotly figure as plain data; colours are names of the palette in ``style``."""

Cell = str | tuple[str, float | None]
"""Text, or text and the number it sorts by."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    words: str


@dataclass(frozen=True)
class Facts:
    """A few numbers that stand out: label, value, and a remark."""

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Chart:
    """One figure, or several under one caption between which the reader switches.

    Attributes:
        name: Unique in the page.
        caption: What is seen, in plain words.
        figures: Label of the switch -> figure.
    """

    kind: ClassVar[str] = "chart"
    name: str
    caption: str
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Table:
    """A short table, part of the page's text."""

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of any length: sorted, filtered and drawn page by page in the reader's browser.

    Attributes:
        name: Unique in the page.
        columns: Their labels.
        rows: The cells.
        copy: Label of a column of commands to copy; a row holds its command after its cells.
    """

    kind: ClassVar[str] = "grid"
    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    copy: str = ""


@dataclass(frozen=True)
class Command:
    """A line for a shell, with a button that copies it."""

    kind: ClassVar[str] = "command"
    line: str


@dataclass(frozen=True)
class Code:
    """Preformatted text."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Fold:
    """Blocks under a line that opens and closes them."""

    kind: ClassVar[str] = "fold"
    summary: str
    blocks: Sequence[Block] = field(default_factory=list)
    open: bool = False


Block = Text | Facts | Chart | Table | Grid | Command | Code | Fold
