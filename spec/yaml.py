"""One YAML 1.2 reader and writer for the whole project; errors carry file, line and column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml as pyyaml  # noqa: TID251  # only its emitter: see dump
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from spec.errors import ConfigError, InputError, Problem

Loc = tuple[str | int, ...]
"""A path as keys and indices."""


@dataclass(frozen=True)
class Document:
    """Plain data and where each part of it was written.

    Attributes:
        data: Dicts, lists, strings, numbers, booleans and None.
        file: The file it came from; None for data made in memory.
        places: For each path its ``file:line:column``.
    """

    data: Any
    file: Path | None = None
    places: Mapping[Loc, str] = field(default_factory=dict)

    def place(self, loc: Sequence[str | int]) -> str:
        """Where a path or its nearest parent was written; empty for data made in memory."""
        for end in range(len(loc), 0, -1):
            if place := self.places.get(tuple(loc[:end])):
                return place
        return str(self.file or "")

    def graft(self, key: str, other: Document) -> Document:
        """This document with another one's data under a key, whose parts keep their own places."""
        moved = {(key, *loc): place for loc, place in other.places.items()}
        data = {**self.data, key: other.data}
        return Document(data, self.file, {**self.places, **moved})


def read(file: Path | str) -> Document:
    """Read a YAML 1.2 file.

    Raises:
        InputError: When the file is missing or cannot be read.
        ConfigError: When it is not YAML, with line and column.
    """
    file = Path(file)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; give the path of an existing YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from None
    return parse(text, file)


def parse(text: str, file: Path | None = None) -> Document:
    """Read YAML 1.2 text; ``file`` is named in errors.

    Raises:
        ConfigError: When it is not YAML, or a key appears twice in one mapping.
    """
    return _document(_loaded(lambda yaml: yaml.load(text), file), file)


def parse_all(text: str, file: Path | None = None) -> list[Document]:
    """Read YAML 1.2 text of one or many documents.

    Raises:
        ConfigError: As ``parse``.
    """
    trees = _loaded(lambda yaml: list(yaml.load_all(text)), file)
    return [_document(tree, file) for tree in trees]


def _loaded(load: Callable[[YAML], Any], file: Path | None) -> Any:
    try:
        return load(YAML(typ="rt", pure=True))
    except MarkedYAMLError as error:
        raise ConfigError([Problem("", _complaint(error), _position(file, error))]) from None
    except (YAMLError, ValueError) as error:
        raise ConfigError([Problem("", f"not YAML: {error}", str(file or ""))]) from None


def _document(tree: Any, file: Path | None) -> Document:
    marks: dict[Loc, tuple[int, int]] = {}
    data = _plain(tree, (), marks)
    places = {loc: f"{file}:{line}:{column}" for loc, (line, column) in marks.items()}
    return Document(data, file, places if file else {})


def _complaint(error: MarkedYAMLError) -> str:
    said = re.split(r"\n", str(error.problem or error.context or "not YAML"))[0]
    return f"not YAML: {said}"


def _position(file: Path | None, error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    name = str(file) if file else "line"
    return f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name


def _plain(tree: Any, path: Loc, marks: dict[Loc, tuple[int, int]]) -> Any:
    if isinstance(tree, CommentedMap):
        out = {}
        for key, value in tree.items():
            here = (*path, key)
            line, column = (
                tree.lc.key(key) if key in (tree.lc.data or {}) else (tree.lc.line, tree.lc.col)
            )
            marks[here] = (line + 1, column + 1)
            out[key] = _plain(value, here, marks)
        return out
    if isinstance(tree, CommentedSeq):
        items = []
        for index, value in enumerate(tree):
            here = (*path, index)
            line, column = tree.lc.item(index)
            marks[here] = (line + 1, column + 1)
            items.append(_plain(value, here, marks))
        return items
    if isinstance(tree, bool) or tree is None:
        return tree
    for plain in (int, float, str):
        if isinstance(tree, plain):
            return plain(tree)
    return str(tree)


_PLAIN = re.compile(r"[A-Za-z_/]([\w ./+()-]*[\w./+)-])?", re.ASCII)
"""Words every YAML reader takes for themselves, unless they are one of these:"""
_MISREAD = re.compile(r"y|n|yes|no|on|off", re.IGNORECASE)  # booleans to YAML 1.1 (PyYAML)


class _Dumper(getattr(pyyaml, "CSafeDumper", pyyaml.SafeDumper)):  # type: ignore[misc]
    """Writes what YAML 1.1 and 1.2 read back alike; lists of scalars on one line."""

    def text(self, data: str) -> Any:
        plain = _PLAIN.fullmatch(data) and not _MISREAD.fullmatch(data)
        style = "|" if "\n" in data else (None if plain else "'")
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def number(self, data: float) -> Any:
        if math.isnan(data):
            text = ".nan"
        elif math.isinf(data):
            text = ".inf" if data > 0 else "-.inf"
        else:
            text = repr(data)
            if "e" in text and "." not in text:
                text = text.replace("e", ".0e")
        return self.represent_scalar("tag:yaml.org,2002:float", text)

    def items(self, data: Sequence[Any]) -> Any:
        leaf = not any(isinstance(item, dict | list | tuple) for item in data)
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=leaf)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(str, _Dumper.text)
_Dumper.add_representer(float, _Dumper.number)
_Dumper.add_representer(list, _Dumper.items)
_Dumper.add_representer(tuple, _Dumper.items)


def dump(data: Any) -> str:
    """Write plain data as YAML that 1.1 and 1.2 readers read alike, keys in their given order.

    PyYAML's emitter is libyaml, twenty times as fast as one in Python; results of big studies
    need that. What it would write ambiguously is quoted here.
    """
    text: str = pyyaml.dump(
        data,
        Dumper=_Dumper,
        default_flow_style=False,
        sort_keys=False,
        allow_unicode=True,
        width=120,
    )
    return text
