"""How a config reaches a script: ``{placeholders}`` in its command, and options on its argv."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from spec.config import Config, Data, refuse
from spec.errors import InputError, did_you_mean
from spec.path import Path as DottedPath
from spec.path import PathError

FACTS = ("args", "config", "out", "seed", "device", "threads", "python")
"""Placeholders that are no keys of the config."""

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Columns(Config):
    """How a list of mappings, one per layer, is written as options of many values."""

    count: str | None = None
    """The option that takes how many there are, such as ``n_layer``."""
    name: str = "{key}"
    """The option of one key, such as ``{key}_layerlist``."""

    def spread(self, items: Sequence[Mapping[str, Any]], path: str) -> Data:
        """One list per key, and their length.

        Raises:
            InputError: When an item lacks a key of another.
        """
        keys = list(dict.fromkeys(key for item in items for key in item))
        for index, item in enumerate(items):
            if missing := [key for key in keys if item.get(key) is None]:
                raise InputError(f"{path}[{index}] has no {missing[0]}; columns need it in each")
        told: Data = {} if self.count is None else {self.count: len(items)}
        names = {key: self.name.replace("{key}", key) for key in keys}
        return told | {names[key]: [item[key] for item in items] for key in keys}


class Args(Config):
    """How the values of a config are written as options; ``null`` is left out."""

    style: str = "--{key}={value}"
    """One option: ``--{key} {value}``, ``--{key}={value}``, ``{key}={value}`` (Hydra), or alike."""
    booleans: Literal["value", "lower", "pair", "flag"] = "value"
    """value: ``--x=True``; lower: ``--x=true``; pair: ``--x`` or ``--no-x``; flag: ``--x`` or
    nothing."""
    lists: Literal["comma", "repeated", "joined", "brackets"] = "comma"
    """comma: ``--x=1,2``; repeated: ``--x=1 --x=2``; joined: ``--x 1 2`` (argparse ``nargs``);
    brackets: ``x=[1,2]``."""
    keys: Literal["dotted", "flat"] = "dotted"
    """dotted: ``--model.depth``; flat: ``--depth``, the last part of the way alone."""

    columns: dict[str, Columns] = Field(default_factory=dict)
    """Key -> how the list of mappings under it, such as ``layers``, becomes columns."""

    @model_validator(mode="after")
    def _fits_together(self) -> Args:
        names = [match[1] for match in _PART.finditer(self.style) if match[1]]
        if names != ["key", "value"] or len(self._shape()) > 2:
            way = "write {key}, then {value}, such as --{key} {value}"
            refuse(self.style, f"{self.style!r} is no style; {way}", "style")
        if self.lists == "joined" and len(self._shape()) != 2:
            refuse(self.lists, "joined lists need a space between key and value", "lists")
        if self.booleans in ("pair", "flag") and not self.style.startswith("--"):
            refuse(self.booleans, "a bare flag starts with --; write booleans: value", "booleans")
        return self

    def write(self, config: Mapping[str, Any], omit: frozenset[str] = frozenset()) -> list[str]:
        """The options of a config, without the paths in ``omit``.

        Raises:
            InputError: When two keys become one option, or a list cannot be told from its items.
        """
        words: list[str] = []
        seen: dict[str, str] = {}
        for path, value in leaves(config):
            key = path if self.keys == "dotted" else path.rpartition(".")[2]
            if seen.setdefault(key, path) != path:
                raise InputError(
                    f"{seen[key]} and {path} are both --{key} with keys: flat; use keys: dotted"
                )
            if path not in omit:
                words += self._option(key, value)
        return words

    def spread(self, config: Data) -> Data:
        """A config with its columns as the script knows them.

        Raises:
            InputError: When what shall become columns is no list of mappings, or is uneven.
        """
        for path, columns in self.columns.items():
            items = config.get(path)
            if items is None:
                continue
            if not isinstance(items, list) or not all(isinstance(i, Mapping) for i in items):
                raise InputError(f"{path} is {items!r}; columns need a list of mappings")
            rest = {key: value for key, value in config.items() if key != path}
            config = rest | columns.spread(items, path)
        return config

    def text(self, value: Any) -> str:
        """One value as one word."""
        if isinstance(value, bool):
            return str(value) if self.booleans != "lower" else str(value).lower()
        if isinstance(value, list):
            joint = ",".join(self._apart(value))
            return f"[{joint}]" if self.lists == "brackets" else joint
        return json.dumps(value) if isinstance(value, Mapping) else str(value)

    def _shape(self) -> list[str]:
        return self.style.split(" ")

    def _option(self, key: str, value: Any) -> list[str]:
        if isinstance(value, bool) and self.booleans in ("pair", "flag"):
            flag = self._shape()[0].partition("{key}")[0] + key
            off = [f"--no-{key}"] if self.booleans == "pair" else []
            return [flag] if value else off
        if isinstance(value, list) and self.lists == "repeated":
            return [word for item in value for word in self._filled(key, self.text(item))]
        if isinstance(value, list) and self.lists == "joined":
            return [*self._filled(key, "")[:1], *map(self.text, value)]
        return self._filled(key, self.text(value))

    def _filled(self, key: str, value: str) -> list[str]:
        given = {"{key}": key, "{value}": value}
        return [
            re.sub(r"\{key\}|\{value\}", lambda match: given[match[0]], part)
            for part in self._shape()
        ]

    def _apart(self, items: list[Any]) -> list[str]:
        """Items as words that commas keep apart; in brackets, an item may be such a list again."""
        words = [self.text(item) for item in items]
        nested = [self.lists == "brackets" and isinstance(item, list) for item in items]
        pairs = zip(words, nested, strict=True)
        spoilt = next((word for word, inside in pairs if "," in word and not inside), None)
        if spoilt is not None:
            raise InputError(
                f"{spoilt!r} holds a comma, so it cannot stand in a list joined by commas; "
                "use lists: repeated or joined"
            )
        return words


def leaves(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping with its dotted path; what is ``null`` is not there."""
    for key, value in config.items():
        path = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping):
            yield from leaves(value, path)
        elif value is not None:
            yield path, value


def given(config: Mapping[str, Any]) -> Data:
    """A config without what is ``null``: what reaches the script, and what its id is made of."""
    return {
        str(key): given(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if value is not None
    }


def placeholders(text: str) -> list[str]:
    """What stands in single braces.

    Raises:
        InputError: For a brace that opens or closes nothing.
    """
    found = []
    for match in _PART.finditer(text):
        if match[0] in ("{", "}"):
            raise InputError(f"{text!r}: a lone {match[0]!r}; write a literal brace twice")
        if match[1] is not None:
            found.append(match[1])
    return found


def check(text: str, config: Data, others: Sequence[str] = FACTS) -> str:
    """What is wrong with the placeholders of a text, or nothing."""
    try:
        for name in placeholders(text):
            if name == "args" and text != "{args}":
                return f"{text!r}: {{args}} stands for many arguments and needs one of its own"
            if name not in others and not _there(name, config):
                known = [*others, *(path for path, _ in leaves(config))]
                return (
                    f"unknown placeholder {{{name}}}{did_you_mean(name, known)} "
                    "(a literal brace is written twice)"
                )
    except InputError as error:
        return str(error)
    return ""


def _there(path: str, config: Data) -> bool:
    try:
        DottedPath.parse(path).get(config)
    except PathError:
        return False
    return True


def value_at(config: Data, path: str) -> Any:
    """The value at a path; None when there is none."""
    return DottedPath.parse(path).get(config) if _there(path, config) else None


def fill(text: str, facts: Mapping[str, str], config: Data, args: Args) -> str | None:
    """A text with its placeholders replaced; None when the config has ``null`` for one of them."""

    def value_of(name: str) -> str | None:
        if name in facts:
            return facts[name]
        value = DottedPath.parse(name).get(config)
        return None if value is None else args.text(value)

    if any(value_of(name) is None for name in placeholders(text)):
        return None

    def replaced(match: re.Match[str]) -> str:
        return match[0][0] if match[1] is None else value_of(match[1]) or ""

    return _PART.sub(replaced, text)


def expand(
    command: Sequence[str], facts: Mapping[str, str], config: Data, args: Args
) -> tuple[str, ...]:
    """The argv of a command template. ``{args}`` holds every key that has no placeholder.

    Raises:
        InputError: When a value cannot be written in this style.
    """
    placed = frozenset(name for text in command for name in placeholders(text))
    words: list[str] = []
    for text in command:
        if text == "{args}":
            words += args.write(config, omit=placed)
        elif (word := fill(text, facts, config, args)) is not None:
            words.append(word)
    if any("\0" in word for word in words):
        raise InputError("a value holds a zero byte, which no command line can carry; remove it")
    return tuple(words)


def reaches(command: Sequence[str], path: str) -> bool:
    """Whether the key at a path (or one below or above it) gets into the command at all."""
    names = {name for text in command for name in placeholders(text)}
    if names & {"args", "config"}:
        return True
    return any(f"{name}.".startswith(f"{path}.") or path.startswith(f"{name}.") for name in names)
