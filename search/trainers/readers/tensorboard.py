"""Numbers from TensorBoard event files, by TensorBoard's own reader."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from search.trainers.readers.base import (
    AT,
    MetricReader,
    Sighting,
    Source,
    readers,
    refuse_unknown,
)
from spec.errors import InputError


@readers.variant("tensorboard")
class TensorBoard(MetricReader):
    """Scalars of event files; each has a step and the time it was written at."""

    told_by: ClassVar[str] = "tensorboard"

    tensorboard: str
    """The folder that holds event files, at any depth, below the trial's folder."""
    tags: Annotated[dict[str, str], Field(min_length=1)]
    """Field -> tag. ``step`` needs no tag."""

    @field_validator("tags")
    @classmethod
    def _names_fields(cls, tags: dict[str, str]) -> dict[str, str]:
        refuse_unknown(tags)
        return tags

    def fields(self) -> frozenset[str]:
        return frozenset(self.tags) | {"step"}

    def place(self) -> str | None:
        return self.tensorboard

    def require(self) -> None:
        if find_spec("tensorboard") is None:
            raise InputError(
                "reading TensorBoard files needs tensorboard, which is not installed; "
                "pip install 'espalier[tensorboard]'"
            )

    def open(self, place: Path) -> Source:
        self.require()
        return _Events(self, place)


class _Events:
    def __init__(self, config: TensorBoard, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self._names = {tag: name for name, tag in config.tags.items()}
        self._silent = set(self._names)
        self._loaders: dict[Path, Any] = {}

    @property
    def unmatched(self) -> str:
        silent = ", ".join(sorted(self._silent))
        return f"{self._folder.name}: no scalar is tagged {silent}" if silent else ""

    def read(self, last: bool) -> Iterator[Sighting]:
        """Scalars of one step, written one after the other, are one sighting."""
        found: Sighting = {}
        for event in self._events():
            for value in event.summary.value:
                if value.tag not in self._names:
                    continue
                self._silent.discard(value.tag)
                if found and found["step"] != event.step:
                    yield found
                    found = {}
                told = self._config.scaled({self._names[value.tag]: _scalar(value)})
                found = {**found, **told, "step": float(event.step), AT: event.wall_time}
        if found:
            yield found

    def _events(self) -> Iterator[Any]:
        loading = importlib.import_module("tensorboard.backend.event_processing.event_file_loader")
        for file in sorted(self._folder.rglob("*tfevents*")):
            if file not in self._loaders:
                self._loaders[file] = loading.EventFileLoader(str(file))
            yield from self._loaders[file].Load()


def _scalar(value: Any) -> float:
    """The loader hands every scalar on as a tensor of rank 0."""
    tensors = importlib.import_module("tensorboard.util.tensor_util")
    return float(tensors.make_ndarray(value.tensor).reshape(-1)[0])
