"""The records of a trial whose trainer writes none: read, kept in ``metrics.jsonl``, ended."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search.executors.base import Exit, Slot
from search.failures import read_tail
from search.gains import best
from search.history import PROBE, Request
from search.objective import Budget
from search.trainers.base import NothingRead
from search.trainers.merge import Merge, Stream
from spec.records import End, Eval, Record, Start, Status, Writer

TAIL_LINES = 20
"""Lines of output shown when nothing could be read from it."""


class ForeignRecords:
    """Reads one trial of a foreign trainer.

    Args:
        streams: What is read.
        request: The trial.
        folder: The trial's folder; the records are written to its ``metrics.jsonl`` too.
        slot: Where it runs.
        kept: The part of the budget that the script does not know and is kept from here.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        request: Request,
        folder: Path,
        slot: Slot,
        kept: Budget,
    ) -> None:
        self._merge = Merge(streams, time.time())
        self._request = request
        self._folder = folder
        self._slot = slot
        self._kept = kept
        self._curve: list[Eval] = []
        self._built: Mapping[str, Any] | None = None
        self._reached: Status | None = None

    @property
    def over(self) -> bool:
        """See ``Records.over``."""
        return self._reached is not None

    def read(self) -> list[Record]:
        """See ``Records.read``."""
        return self._keep(self._news(last=False))

    def finish(self, ended: Exit) -> list[Record]:
        """See ``Records.finish``."""
        records = self._news(last=True)
        status = self._status(ended)
        if status is None:
            return self._keep(records)
        wanting = status == "completed" and not self._timed_probe
        if wanting and (missing := self._merge.unmatched()):
            self._keep(records)
            raise NothingRead(self._complaint(missing))
        return self._keep([*records, self._end(status)])

    @property
    def _timed_probe(self) -> bool:
        """Whether it was run for a step time alone and has told one: it need not evaluate."""
        return self._request.purpose.phase == PROBE and self._merge.step_ms is not None

    def _news(self, last: bool) -> list[Record]:
        records: list[Record] = []
        for point in self._merge.take(last):
            if not self.over:
                records += [*self._start(), point]
                self._curve.append(point)
                self._judge(point)
        if self._kept.max_seconds is not None and self._merge.seconds >= self._kept.max_seconds:
            self._reached = self._reached or "completed"
        return [*records, *self._start()] if last or self._built is not None else records

    def _start(self) -> list[Record]:
        """A start record before the first evaluation, and again when more became known."""
        build = dict(self._merge.build)
        if self._built == build:
            return []
        self._built = build
        start = Start(
            parameters=build.get("parameters"),
            inventory=build,
            device=self._slot.device,
            threads=self._slot.threads,
            seed=self._request.seed,
            clock="training" if self._merge.timed else "arrival",
        )
        return [start]

    def _judge(self, point: Eval) -> None:
        target = self._kept.stop_at_loss
        if math.isnan(point.val_loss):
            self._reached = "diverged"
        elif target is not None and point.val_loss <= target:
            self._reached = "target_reached"

    def _status(self, ended: Exit) -> Status | None:
        """How the trial ended; None for a death, whose reason the exit and the output tell."""
        if self._reached is not None:
            return self._reached
        if self._curve and not math.isfinite(self._curve[-1].val_loss):
            return "diverged"
        return "completed" if ended.cause == "exited" and ended.code == 0 else None

    def _end(self, status: Status) -> End:
        point = best(self._curve)
        return End(
            status=status,
            best_val_loss=None if point is None else point.val_loss,
            best_step=None if point is None else point.step,
            step_ms=self._merge.step_ms,
            peak_memory_bytes=self._merge.peak_memory_bytes,
        )

    def _complaint(self, missing: Sequence[str]) -> str:
        tail = read_tail(self._folder / "output.log").splitlines()[-TAIL_LINES:]
        told = "\n  ".join(tail) or "(nothing)"
        return (
            f"{'; '.join(missing)}; mend trainer.metrics, or mark the reader optional: true. "
            f"The output ends:\n  {told}"
        )

    def _keep(self, records: list[Record]) -> list[Record]:
        if records:
            with Writer(self._folder / "metrics.jsonl") as writer:
                for record in records:
                    writer.append(record)
        return records
