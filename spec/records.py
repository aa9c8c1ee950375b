"""The records a trial writes to ``metrics.jsonl``: models, append, incremental read."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

PROTOCOL = 1


class _Record(BaseModel):
    """One line. Readers ignore unknown fields and refuse missing ones."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


class Start(_Record):
    """The first record: what was built, and where it runs.

    Attributes:
        protocol: Version of this format.
        parameters: Trainable parameters.
        inventory: The cost inventory, as ``describe`` prints it.
        device: Such as ``cpu`` or ``cuda:0``.
        torch: Version of torch, or None for a trainer without it.
        seed: The trial's seed.
        threads: CPU threads of the process.
        kernel: Who multiplies matrices, where the trainer had a choice.
        clock: What ``train_seconds`` counts: training alone, or with ``arrival`` everything since
            the launch, for a trainer that tells no time.
    """

    event: Literal["start"] = "start"
    protocol: int = PROTOCOL
    parameters: int | None = None
    inventory: dict[str, Any] = Field(default_factory=dict)
    device: str = "cpu"
    torch: str | None = None
    seed: int | None = None
    threads: int | None = None
    kernel: str | None = None
    clock: Literal["training", "arrival"] = "training"


class Eval(_Record):
    """One evaluation on the fixed validation tokens.

    Attributes:
        step: Optimizer steps done.
        tokens: Training tokens seen.
        train_seconds: Training only: no start-up, compilation, evaluation or checkpoints.
        cpu_seconds: CPU time of the process over the same stretch.
        val_loss: Mean negative log-likelihood, nats per token.
        val_bpb: The same in bits per byte of text.
        train_loss: Mean training loss since the last evaluation, nats per token.
    """

    event: Literal["eval"] = "eval"
    step: int
    tokens: int | None = None
    train_seconds: float
    cpu_seconds: float | None = None
    val_loss: float
    val_bpb: float | None = None
    train_loss: float | None = None


Status = Literal["completed", "target_reached", "diverged", "stopped"]


class End(_Record):
    """The last record of a trial that ended by itself or on request.

    Attributes:
        status: completed, target_reached, diverged or stopped.
        best_val_loss: Lowest validation loss, nats per token; None when nothing was evaluated.
        best_step: Its step.
        step_ms: Median wall time of one optimizer step.
        peak_memory_bytes: Peak of the accelerator's allocated memory, or of resident memory on CPU.
    """

    event: Literal["end"] = "end"
    status: Status
    best_val_loss: float | None = None
    best_step: int | None = None
    step_ms: float | None = None
    peak_memory_bytes: int | None = None


Record = Start | Eval | End

_KNOWN = TypeAdapter[Record](Annotated[Record, Field(discriminator="event")])


class _Event(BaseModel):
    event: str


class RecordError(ValueError):
    """A complete line that is no record."""


class Writer:
    """Appends records; each is on disk as one whole line before ``append`` returns."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def append(self, record: Record) -> None:
        line = record.model_dump_json(exclude_none=True) + "\n"
        os.write(self._file, line.encode())

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Reader:
    """Reads what was appended since the last call. A torn last line waits for its rest."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._offset = 0
        self._line = 0

    def read(self) -> list[Record]:
        """The new records, in order; empty while the file does not exist.

        Raises:
            RecordError: When a complete line is not JSON, has no event, or misses a field.
        """
        try:
            with self.file.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        records = []
        for line in whole.splitlines():
            self._line += 1
            if line.strip():
                record = self._parse(line)
                if record is not None:
                    records.append(record)
        return records

    def _parse(self, line: bytes) -> Record | None:
        try:
            if _Event.model_validate_json(line).event not in {"start", "eval", "end"}:
                return None
            return _KNOWN.validate_json(line)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            shown = line[:120].decode(errors="replace")
            raise RecordError(
                f"{self.file}:{self._line}: not a record: {where}: {problem['msg']}: {shown}"
            ) from None
