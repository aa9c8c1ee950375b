"""Sightings of several readers become one curve, in step order."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from search.trainers.readers.base import (
    AT,
    BUILD,
    EVALUATION,
    MetricReader,
    Sighting,
    Source,
    whole,
)
from spec.records import Eval

LATEST = 1000
"""Step times of which the median is given."""
AHEAD = 100_000
"""Steps that one reader may be ahead of another."""
_COUNTERS = ("step", "tokens", "train_seconds")
"""What still holds at the next evaluation, when it is not told again."""


@dataclass
class Stream:
    """One reader's source, and how far it has come.

    Attributes:
        config: The reader.
        source: Where its sightings come from.
        carried: What it told that the next evaluation takes along.
        front: The largest step it told.
        trail: What it told of steps that no evaluation has reached.
    """

    config: MetricReader
    source: Source
    carried: Sighting = field(default_factory=dict)
    front: float = -inf
    trail: deque[Sighting] = field(default_factory=lambda: deque(maxlen=AHEAD))

    @property
    def evaluates(self) -> bool:
        """Whether evaluations come from here."""
        return "val_loss" in self.config.fields()

    @property
    def leads(self) -> bool:
        """Whether evaluations from elsewhere wait until this one has come as far."""
        return "step" in self.config.fields() and not self.evaluates and not self.config.closing

    def up_to(self, step: float) -> Sighting:
        """What holds at a step: the latest of each field told until then."""
        while self.trail and self.trail[0]["step"] <= step:
            self.carried |= self.trail.popleft()
        return {name: value for name, value in self.carried.items() if name not in ("step", AT)}


class Merge:
    """Joins streams by step.

    A line without ``val_loss`` goes with the next evaluation of its own reader; what another reader
    told goes with the first evaluation at or after its step. An evaluation waits for readers that
    tell steps but no loss; a step that was passed on already is not told again.
    """

    def __init__(self, streams: Sequence[Stream], started: float) -> None:
        self._streams = streams
        self._started = started
        self._pending: dict[float, Sighting] = {}
        self._general: Sighting = {}
        self._told = -inf
        self._step_ms: deque[float] = deque(maxlen=LATEST)
        self.build: dict[str, int] = {}
        self.peak_memory_bytes: int | None = None
        self.timed = any("train_seconds" in stream.config.fields() for stream in streams)

    @property
    def step_ms(self) -> float | None:
        """Median of the latest step times."""
        return statistics.median(self._step_ms) if self._step_ms else None

    @property
    def seconds(self) -> float:
        """How long the trial has trained: the last time told, or else since its launch."""
        if not self.timed:
            return time.time() - self._started
        told = [*(s.carried for s in self._streams), *self._pending.values(), self._general]
        told += [stream.trail[-1] for stream in self._streams if stream.trail]
        return max(sighting.get("train_seconds", 0.0) for sighting in told)

    def take(self, last: bool) -> list[Eval]:
        """The evaluations that are complete now; all of them when the trial has ended.

        Raises:
            RecordError: When a reader cannot understand what it reads.
        """
        now = time.time()
        for stream in self._streams:
            for sighting in stream.source.read(last):
                self._sort(stream, sighting, now)
        horizon = inf if last else min((s.front for s in self._streams if s.leads), default=inf)
        return list(self._ripe(horizon))

    def unmatched(self) -> list[str]:
        """What should have come but never has."""
        return [
            stream.source.unmatched
            for stream in self._streams
            if stream.source.unmatched and not stream.config.optional
        ]

    def _sort(self, stream: Stream, sighting: Sighting, now: float) -> None:
        for name in BUILD:
            if name in sighting:
                self.build.setdefault(name, int(whole({name: sighting[name]})[name]))
        if "step_ms" in sighting:
            self._step_ms.append(sighting["step_ms"])
        if "peak_memory_bytes" in sighting:
            peak = int(whole({"peak_memory_bytes": sighting["peak_memory_bytes"]}).popitem()[1])
            self.peak_memory_bytes = max(peak, self.peak_memory_bytes or 0)
        told = {name: value for name, value in sighting.items() if name in (*EVALUATION, AT)}
        stream.front = max(stream.front, told.get("step", -inf))
        if "val_loss" in told:
            self._evaluated(stream, {AT: now, **told})
        elif stream.leads and "step" in told:
            stream.trail.append(told)
        elif stream.evaluates:
            stream.carried |= told
        else:
            self._general |= told

    def _evaluated(self, stream: Stream, told: Sighting) -> None:
        told = {**stream.carried, **told}
        step = told.setdefault("step", max(self._told, *self._pending, 0.0) + 1)
        stream.carried = {name: told[name] for name in _COUNTERS if name in told}
        if "step" not in stream.config.fields():
            stream.carried.pop("step")
        self._pending[step] = {**told, **self._pending.get(step, {})}

    def _ripe(self, horizon: float) -> Iterator[Eval]:
        for step in sorted(self._pending):
            if step > horizon:
                return
            told = self._pending.pop(step)
            others = [s.up_to(step) for s in self._streams if s.leads]
            if step > self._told:
                self._told = step
                joined = self._general
                for other in others:
                    joined = joined | other
                yield self._evaluation(joined | told)

    def _evaluation(self, told: Sighting) -> Eval:
        seconds = told.get("train_seconds", 0.0) if self.timed else told[AT] - self._started
        values = {name: told[name] for name in EVALUATION if name in told}
        return Eval.model_validate(whole(values) | {"train_seconds": max(seconds, 0.0)})
