"""The one exception a person can mend: bad input, named at its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches


class InputError(ValueError):
    """Input that cannot be used: names the thing, its value, the rule, and the way out.

    Command modules print it without a traceback and exit with status 2.
    """


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a document.

    Attributes:
        path: Dotted path of the offending value, empty for the whole document.
        message: The value, the rule, and the way out.
        place: ``file:line:column`` when the document was read from a file.
        loc: The path as keys and indices, for one who knows the document and can tell the place.
    """

    path: str
    message: str
    place: str = ""
    loc: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        named = self.place.endswith(f" {self.path}")  # a place may name the path itself
        parts = (self.place, "" if named else self.path)
        where = ": ".join(part for part in parts if part)
        return f"{where}: {self.message}" if where else self.message


@dataclass
class ConfigError(InputError):
    """Every problem found in one document, in the document's order."""

    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(str(self))

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A closing clause such as ``; did you mean 'n_head'?``, or else the known words."""
    words = sorted(known)
    close = get_close_matches(str(word), words, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(words)}" if words else ""
