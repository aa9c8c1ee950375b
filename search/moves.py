"""How a config may change: the rules of a space, and ``Edit``, one candidate change."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from spec.config import Config, Data, Seq, refuse
from spec.errors import ConfigError, InputError, Problem, did_you_mean
from spec.path import Path, PathError, Span
from spec.yaml import Document

Number = int | float
_NOWHERE = Document(None)


@dataclass(frozen=True)
class Edit:
    """One candidate change of a config: a value, made once, recorded, applied only by ``apply``.

    Attributes:
        path: Where; ``[*]`` is resolved, ``[:]`` means every layer at once.
        op: ``set`` a value, ``duplicate`` a layer (the copy follows it), ``drop`` one, or make
            ``several`` changes at once.
        value: The new value; with ``[:]`` in the path one per layer; None for duplicate and drop;
            for several a mapping of paths to values, see ``rebuilt``.
        move: The change in words relative to where it starts, such as ``+64``, ``x1.5`` or
            ``layernorm``. Path and move together name the same move in every round. Of several
            changes it is all of them with their paths.
    """

    path: str
    op: Literal["set", "duplicate", "drop", "several"]
    value: Any = None
    move: str = ""

    def apply(self, full: Data) -> Data:
        """A copy of a full form with this change made.

        Raises:
            PathError: When the path leads nowhere.
        """
        if self.op == "several":
            return rebuilt(full, self.value)
        path = Path.parse(self.path)
        if self.op == "set":
            changed: Data = path.set(full, self.value)
            return changed
        *_, index = path.steps
        assert isinstance(index, int)
        holder = Path(path.steps[:-1])
        items = holder.get(full)
        copies = 2 if self.op == "duplicate" else 0
        edited: Data = holder.set(
            full, [*items[:index], *[items[index]] * copies, *items[index + 1 :]]
        )
        return edited

    def to_dict(self) -> Data:
        """Plain data, for the study."""
        return {"path": self.path, "op": self.op, "value": self.value, "move": self.move}

    @property
    def key(self) -> str:
        """The same move in every round: ``model.layers[2].mlp.hidden +64``."""
        if self.op == "several" and self.move.startswith(self.path.partition(", ")[0]):
            return self.move  # studies of before kept the paths apart
        return f"{self.path} {self.move}"

    def __str__(self) -> str:
        return self.key


class Rule(Config):
    """One dimension of a space: proposes the one-step neighbours of a config at a path."""

    names: ClassVar[tuple[str, ...]] = ()
    """Keys, one of which tells this rule from the others."""

    def edits(self, path: Path, full: Data) -> Iterator[Edit]:
        """The one-step changes at a path with ``[*]`` already resolved."""
        raise NotImplementedError


class _Numeric(Rule):
    min: Number | None = None
    """Smallest value allowed."""
    max: Number | None = None
    """Largest value allowed."""

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> _Numeric:
        if self.min is not None and self.max is not None and self.min > self.max:
            refuse(self.max, f"max {self.max} is below min {self.min}; swap them")
        return self

    def moves(self) -> Iterator[tuple[str, Callable[[Number], Number]]]:
        raise NotImplementedError

    def edits(self, path: Path, full: Data) -> Iterator[Edit]:
        here = path.get(full)
        for move, change in self.moves():
            there = self.moved(path, here, change)
            if there != here:
                yield Edit(str(path), "set", there, move)

    def moved(self, path: Path, here: Any, change: Callable[[Number], Number]) -> Any:
        """The moved value; a value that would leave the range stays where it is."""
        if isinstance(here, list):
            return [self.moved(path, item, change) for item in here]
        if isinstance(here, bool) or not isinstance(here, int | float):
            raise InputError(
                f"space.{path}: the value there is {here!r}, which {self.names[0]} cannot move; "
                "write a number in the baseline, or use choices"
            )
        there = _clean(change(here), like=here)
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max
        return there if low <= there <= high else here


class StepRule(_Numeric):
    """Add and subtract a fixed amount."""

    names = ("step",)

    step: Annotated[Number, Field(gt=0)]
    """The amount; whole for whole values."""

    def moves(self) -> Iterator[tuple[str, Callable[[Number], Number]]]:
        yield f"+{self.step:g}", lambda value: value + self.step
        yield f"-{self.step:g}", lambda value: value - self.step


class ScaleRule(_Numeric):
    """Multiply and divide by a factor; whole values stay whole."""

    names = ("scale",)

    scale: Annotated[Number, Field(gt=1)]
    """The factor."""
    multiple_of: Annotated[int, Field(ge=1)] = 1
    """Whole values are rounded to a multiple of this."""

    def moves(self) -> Iterator[tuple[str, Callable[[Number], Number]]]:
        yield f"x{self.scale:g}", lambda value: self._rounded(value, value * self.scale)
        yield f"/{self.scale:g}", lambda value: self._rounded(value, value / self.scale)

    def _rounded(self, before: Number, after: float) -> Number:
        if isinstance(before, int):
            return round(after / self.multiple_of) * self.multiple_of
        return after


class ChoicesRule(Rule):
    """Replace the value by each of the others."""

    names = ("choices",)

    choices: Annotated[Seq[Any], Field(min_length=1)]
    """Values, or names of components."""

    def edits(self, path: Path, full: Data) -> Iterator[Edit]:
        here = path.get(full)
        everywhere = Span.ALL in path.steps
        for choice in self.choices:
            spots = here if everywhere else [here]
            if not all(chosen(spot, choice) for spot in spots):
                value = [choice] * len(here) if everywhere else choice
                yield Edit(str(path), "set", value, word(choice))


class LayersRule(Rule):
    """Duplicate or drop items of a list, such as layers."""

    names = ("duplicate", "drop")

    duplicate: Literal["each", "last"] | None = None
    """Which items may be copied; the copy follows its original."""
    drop: Literal["each", "last"] | None = None
    """Which items may be removed."""
    min: Annotated[int, Field(ge=0)] = 1
    """Fewest items."""
    max: Annotated[int, Field(ge=1)] | None = None
    """Most items."""

    def edits(self, path: Path, full: Data) -> Iterator[Edit]:
        items = path.get(full)
        if not isinstance(items, list):
            raise InputError(f"space.{path}: duplicate and drop need a list there, not {items!r}")
        count = len(items)
        if self.duplicate and (self.max is None or count < self.max):
            for index in _which(self.duplicate, count):
                yield Edit(f"{path}[{index}]", "duplicate", None, "duplicated")
        if self.drop and count > self.min:
            for index in _which(self.drop, count):
                yield Edit(f"{path}[{index}]", "drop", None, "dropped")


RULES: tuple[type[Rule], ...] = (StepRule, ScaleRule, ChoicesRule, LayersRule)


class _RuleParser:
    """Tells a rule by its keys, for pydantic and for the JSON schema."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _parse_rule,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda rule: rule.model_dump(mode="json", exclude_none=True)
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Any:
        return {"anyOf": [handler(rule.__pydantic_core_schema__) for rule in RULES]}


def _parse_rule(value: Any) -> Rule:
    if isinstance(value, Rule):
        return value
    names = [name for rule in RULES for name in rule.names]
    if not isinstance(value, Mapping):
        refuse(value, f"{value!r} is no rule; write a mapping with one of {', '.join(names)}")
    for rule in RULES:
        if any(name in value for name in rule.names):
            return rule.model_validate(value)
    keys = ", ".join(map(str, value)) or "none"
    return refuse(value, f"keys {keys}: no such rule{did_you_mean(next(iter(value), ''), names)}")


Space = dict[str, Annotated[Rule, _RuleParser()]]
"""Dotted path -> rule."""


def neighbours(space: Mapping[str, Rule], full: Data) -> list[Edit]:
    """All one-step changes of a full form, in the order of the space.

    A path that leads nowhere is left out: it may be an option of a component that is not there now.

    Raises:
        InputError: When a rule does not fit the value at its path.
    """
    return [
        edit
        for text, rule in space.items()
        for path in Path.parse(text).expand(full, skip=True)
        for edit in rule.edits(path, full)
    ]


def check_paths(space: Mapping[str, Rule], full: Data, document: Document = _NOWHERE) -> None:
    """Refuse paths that lead nowhere in the baseline and could not be made to by a choice.

    Args:
        space: The paths and their rules.
        full: The baseline's full form.
        document: The exploration they were written in, for the places of problems.

    Raises:
        ConfigError: With what stands where each path leaves the way.
    """
    chosen_at = [_pattern(text) for text, rule in space.items() if isinstance(rule, ChoicesRule)]
    found = []
    for text in space:
        conditional = any(_pattern(text).startswith(f"{above}.") for above in chosen_at)
        try:
            if not conditional:
                Path.parse(text).expand(full)
        except PathError as error:
            found.append(Problem("space", str(error), document.place(("space", text))))
    if found:
        raise ConfigError(found)


def _pattern(text: str) -> str:
    """A path with every place in a list alike."""
    return re.sub(r"\[[^\]]*\]", "[]", text)


def rebuilt(full: Data, changes: Mapping[str, Any]) -> Data:
    """A copy of a full form with several changes made, one after the other.

    A list of layers takes a whole number as its new length: its last item is repeated, or its end
    cut off. A path that spans a list (``[*]`` or ``[:]``) takes one value per item. Keys that are
    not there yet are made, as the options of a component just chosen are.

    Raises:
        PathError: When a path leads nowhere, or the number of values is not that of the items.
    """
    for text, value in changes.items():
        path = Path.parse(text)
        places = _places(path, full)
        if not path.spans:
            full = _placed(full, path, value)
            continue
        if len(value) != len(places):
            raise InputError(f"{text}: {len(value)} values for {len(places)} items; give one each")
        for place, one in zip(places, value, strict=True):
            full = _placed(full, place, one)
    return full


def _placed(full: Data, path: Path, value: Any) -> Data:
    holder: Any = Path(path.steps[:-1]).get(full) if len(path.steps) > 1 else full
    here = holder.get(path.steps[-1]) if isinstance(holder, Mapping) else None
    layers = here if isinstance(here, list) and here and isinstance(here[0], Mapping) else []
    if layers and isinstance(value, int):
        value = [*layers[:value], *[layers[-1]] * (value - len(layers))]
    done: Data = path.put(full, value)
    return done


def _places(path: Path, full: Data) -> list[Path]:
    """A path once per item of the lists it spans; its end need not exist yet."""
    for depth, step in enumerate(path.steps):
        if isinstance(step, Span):
            before, after = path.steps[:depth], path.steps[depth + 1 :]
            count = len(Path(before).get(full))
            return [
                place
                for index in range(count)
                for place in _places(Path((*before, index, *after)), full)
            ]
    return [path]


def _clean(value: Number, like: Number) -> Number:
    """Whole stays whole; floats lose binary dust, so that there and back again is one id."""
    if isinstance(like, int) and float(value).is_integer():
        return int(value)
    return float(f"{value:.10g}")


def chosen(here: Any, choice: Any) -> bool:
    """Whether a value is the choice already; a component named without options goes by its kind."""
    if isinstance(here, Mapping) and isinstance(choice, str):
        return here.get("kind") == choice
    if isinstance(here, Mapping) and isinstance(choice, Mapping):
        return all(chosen(here.get(key), value) for key, value in choice.items())
    return isinstance(here, bool) is isinstance(choice, bool) and bool(here == choice)


def word(choice: Any) -> str:
    """A choice in one word, such as ``layernorm`` or ``mlp(hidden=256)``."""
    if isinstance(choice, Mapping):
        kind = choice.get("kind", "")
        rest = ", ".join(f"{key}={value}" for key, value in choice.items() if key != "kind")
        return f"{kind}({rest})" if rest else str(kind)
    return str(choice)


def _which(mode: str, count: int) -> range:
    return range(count) if mode == "each" else range(count - 1, count)
