"""The strict, frozen base of every config, and the identity of a full form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, NoReturn, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from spec.errors import ConfigError, Problem, did_you_mean
from spec.path import join
from spec.yaml import Document

T = TypeVar("T")

Seq = Annotated[tuple[T, ...], Field(strict=False)]
"""A frozen sequence: written as a YAML list, held as a tuple."""

Data = dict[str, Any]
"""A config as plain YAML or JSON data."""

Fault = tuple[tuple[str | int, ...], Any, str]
"""Something wrong: its path below what was looked at, the value, and the message."""


class Config(BaseModel):
    """Base of every config: frozen, keyword-only, valid once it exists, closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        ser_json_inf_nan="strings",
    )

    short_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys people may write that a validator of the class replaces by fields."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = {info.alias or name for name, info in cls.model_fields.items()} | cls.short_keys
            unknown = [key for key in data if key not in known]
            if unknown:
                raise problems(
                    *(((key,), data[key], _unknown(key, known)) for key in unknown),
                    title=cls.__name__,
                )
        return data

    @field_validator("*", mode="before")
    @classmethod
    def _whole_floats_are_integers(cls, value: Any, info: Any) -> Any:
        wants_integer = cls.model_fields[info.field_name].annotation in (int, int | None)
        if wants_integer and isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    @classmethod
    def read(cls, document: Document) -> Self:
        """Validate a document.

        Raises:
            ConfigError: With file, line, path, value, rule and way out of each problem.
        """
        try:
            return cls.model_validate(document.data)
        except ValidationError as error:
            raise explain(error, document) from None

    def full(self) -> Data:
        """The full form: plain data, every default written out."""
        return self.model_dump(mode="json")


def _unknown(key: object, known: set[str]) -> str:
    return f"unknown key {key!r}{did_you_mean(key, known)}"


def problems(*found: Fault, title: str = "config") -> ValidationError:
    """A validation error at given places; raised in a validator, the outer path is prepended.

    Args:
        found: For each problem its path below the validated object, the value, and the message.
        title: Name of what was validated.
    """
    details = [
        InitErrorDetails(
            type=PydanticCustomError("rule", "{message}", {"message": message}),
            loc=loc,
            input=value,
        )
        for loc, value, message in found
    ]
    return ValidationError.from_exception_data(title, details)


def refuse(value: Any, message: str, *loc: str | int) -> NoReturn:
    """Refuse one value, found at ``loc`` below the object being validated."""
    raise problems((loc, value, message))


def explain(error: ValidationError, document: Document) -> ConfigError:
    """Turn pydantic's errors into problems with a place in the document."""
    found: dict[tuple[str | int, ...], list[str]] = {}
    for detail in error.errors(include_url=False):
        found.setdefault(_written(detail, document.data), []).append(_message(detail))
    return ConfigError(
        [
            Problem(join(loc), message, document.place(loc))
            for loc, messages in found.items()
            for message in _either(messages)
        ]
    )


def _written(detail: ErrorDetails, data: Any) -> tuple[str | int, ...]:
    """An error's path without the names that pydantic gives to the members of a union."""
    if detail["type"] in ("rule", "missing"):  # ours, or of a key that is not there
        return detail["loc"]
    kept: tuple[str | int, ...] = ()
    for step in detail["loc"]:
        inside = isinstance(step, int) and isinstance(data, list) and step < len(data)
        if inside or (isinstance(data, Mapping) and step in data):
            data, kept = data[step], (*kept, step)
    return kept if data is detail["input"] else detail["loc"]


def _either(messages: Sequence[str]) -> list[str]:
    """What each member of a union asks of one value, as one sentence."""
    messages = list(dict.fromkeys(messages))
    asked = [message.partition(" should be ") for message in messages]
    if len(asked) == 1 or len({value for value, _, _ in asked}) > 1 or not all(a[1] for a in asked):
        return messages
    return [f"{asked[0][0]} should be {' or '.join(rule for _, _, rule in asked)}"]


def _message(detail: Mapping[str, Any]) -> str:
    kind, message, value = detail["type"], str(detail["msg"]), detail["input"]
    if kind == "rule":
        return message
    if kind == "missing":
        return "is required and missing"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind in ("model_type", "dict_type"):
        message = "should be a mapping of keys to values"
    rule = (
        message.removeprefix("Input ")
        .replace("a valid integer", "an integer")
        .replace("a valid", "a")
    )
    return f"{_shown(value)} ({type(value).__name__}) {rule[:1].lower()}{rule[1:]}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def identity(full: Mapping[str, Any]) -> str:
    """The id of a full form: 12 hex digits of SHA-256, blind to key order and to 1 against 1.0."""
    text = json.dumps(_canonical(full), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
