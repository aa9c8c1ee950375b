"""The contract of a metric reader: what one trial wrote in one place becomes sightings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from pydantic import Field, field_validator, model_validator

from spec.config import problems
from spec.errors import did_you_mean
from spec.family import Component, Family
from spec.records import RecordError

EVALUATION = ("step", "tokens", "train_seconds", "val_loss", "val_bpb", "train_loss")
"""What an evaluation may carry; units as in ``spec.records.Eval``."""
BUILD = ("parameters", "flops_per_token", "weight_bytes", "kv_bytes", "kv_bytes_per_token")
"""What a trial may tell of its model, once; units as in ``describe``'s inventory."""
CLOSING = ("step_ms", "peak_memory_bytes")
"""What is summed up at the end: the median step and the largest memory."""
FIELDS = (*EVALUATION, *BUILD, *CLOSING)
WHOLE = ("step", "tokens", *BUILD, "peak_memory_bytes")
"""Fields that are whole numbers."""

AT = "at"
"""In a sighting: when it was written, Unix time, where the source knows better than its arrival."""

Sighting = dict[str, float]
"""Some fields seen together, scaled, and perhaps ``AT``."""

_NUMBER = re.compile(r"([-+]?(?:\d[\d,_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([kKMGBT]?)")
_SUFFIX = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}


def number(text: str) -> float:
    """A printed number: ``1,024``, ``10.65M``, ``3.2e-4``, ``nan``, ``-inf``.

    Raises:
        RecordError: When it is none.
    """
    text = text.strip().strip("'\"")
    match = _NUMBER.fullmatch(text)
    if match is not None:
        return float(match[1].replace(",", "").replace("_", "")) * _SUFFIX[match[2]]
    try:
        return float(text)
    except ValueError:
        raise RecordError(f"{text[:60]!r} is no number") from None


class Source(Protocol):
    """Where sightings of one trial come from."""

    @property
    def unmatched(self) -> str:
        """What should have come but never has, such as a pattern; empty when all of it came."""
        ...

    def read(self, last: bool) -> Iterator[Sighting]:
        """The sightings since the last call, in their order.

        Args:
            last: The trial has ended: a half line is whole now.

        Raises:
            RecordError: When something there is no number.
        """
        ...


class MetricReader(Component):
    """Where and how one kind of output is read."""

    scale: dict[str, float] = Field(default_factory=dict)
    """Field -> factor to its unit, such as ``train_seconds: 0.001`` for printed milliseconds."""
    optional: bool = False
    """Whether it is no error when nothing was ever read."""

    @field_validator("scale")
    @classmethod
    def _scales_fields(cls, scale: dict[str, float]) -> dict[str, float]:
        refuse_unknown(scale, "scale")
        return scale

    @model_validator(mode="after")
    def _tells_what_it_scales(self) -> MetricReader:
        idle = [name for name in self.scale if name not in self.fields()]
        if idle:
            raise problems(*((("scale", n), n, f"{n} is not among its fields") for n in idle))
        return self

    def fields(self) -> frozenset[str]:
        """The fields it may tell."""
        raise NotImplementedError

    @property
    def closing(self) -> bool:
        """Whether it reads only once the trial has ended."""
        return False

    def place(self) -> str | None:
        """The file or folder it reads, a template below the trial's folder."""
        raise NotImplementedError

    def open(self, place: Path) -> Source:
        """The source for one trial.

        Raises:
            InputError: When a package it needs is missing.
        """
        raise NotImplementedError

    def require(self) -> None:
        """Refuse to start without a package it needs.

        Raises:
            InputError: With the command that installs it.
        """

    def scaled(self, values: Mapping[str, float]) -> Sighting:
        """A sighting in the units of the records."""
        return {name: value * self.scale.get(name, 1.0) for name, value in values.items()}


readers: Family[MetricReader] = Family(
    "metric reader", "what one trial wrote in one place becomes sightings of fields, in order"
)


def refuse_unknown(names: Mapping[str, object], *where: str) -> None:
    """Refuse names that are no fields, in a validator."""
    unknown = [name for name in names if name not in FIELDS]
    if unknown:
        raise problems(
            *(((*where, n), n, f"unknown field {n!r}{did_you_mean(n, FIELDS)}") for n in unknown)
        )


def whole(values: Sighting) -> dict[str, float | int]:
    """Counts as whole numbers.

    Raises:
        RecordError: When a count is not finite.
    """
    told: dict[str, float | int] = {}
    for name, value in values.items():
        if name in WHOLE and not math.isfinite(value):
            raise RecordError(f"{name} is {value}; it must be a whole number")
        told[name] = round(value) if name in WHOLE else value
    return told
