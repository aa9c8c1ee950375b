"""A trial's ``metrics.jsonl``: begun once, or cut back to the checkpoint it continues from."""

from __future__ import annotations

import os
from pathlib import Path

from spec.errors import InputError
from spec.records import End, Eval, Reader, Writer

NAME = "metrics.jsonl"


def begin(out: Path, *, over: bool = False) -> Writer:
    """Start the records of a trial.

    Args:
        out: Its folder.
        over: Whether those of an earlier trial may be dropped.

    Raises:
        InputError: When the folder already has some, and they may not.
    """
    file = out / NAME
    if over:
        file.unlink(missing_ok=True)
    if file.exists() and file.stat().st_size:
        raise InputError(
            f"{file}: there is a trial in this folder; write --resume to continue it, "
            "--overwrite to begin anew over it, or choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    return Writer(file)


def reopen(out: Path, step: int) -> Writer:
    """Continue the records of a trial at ``step``, without its end and all after that step."""
    file = out / NAME
    kept = [
        record
        for record in Reader(file).read()
        if not isinstance(record, End) and not (isinstance(record, Eval) and record.step > step)
    ]
    beside = file.with_name(f"{NAME}.{os.getpid()}")
    with Writer(beside) as writer:
        for record in kept:
            writer.append(record)
    beside.replace(file)
    return Writer(file)
