"""Why a trial failed, from its exit, its last words and its end record."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from search.executors.base import Exit
from search.history import Failure
from spec.records import End

Reason = Literal[
    "out_of_memory_gpu",
    "out_of_memory_host",
    "disk_full",
    "diverged",
    "timed_out",
    "silent",
    "interrupted",
    "crashed",
    "lost",
]

TAIL_BYTES = 64 * 1024
LAST_WORDS = 60
"""Lines of a log's end that may say why: a traceback fits, an error survived long ago does not."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_EXCEPTION = re.compile(
    r"^(?:\[rank\d+\]: )?"
    r"(?:[\w.]*(?:Error|Exception|Interrupt|Exit)\b|[Ff]atal|FATAL|Segmentation fault)"
)
_OF_LAUNCHER = re.compile(r"torch\.distributed\.elastic\b.*ChildFailedError")
"""What torchrun says last, behind the words of the script that failed."""
_SIGNS: tuple[tuple[Reason, re.Pattern[str]], ...] = (
    (
        "out_of_memory_gpu",
        re.compile(
            r"(?:CUDA|HIP|MPS backend) out of memory|CUDA error: out of memory"
            r"|cudaErrorMemoryAllocation|hipErrorOutOfMemory|torch(?:\.cuda)?\.OutOfMemoryError"
            r"|CU(?:BLAS|DNN)_STATUS_ALLOC_FAILED|RESOURCE_EXHAUSTED"
        ),
    ),
    (
        "out_of_memory_host",
        re.compile(
            r"^MemoryError\b|numpy\S*MemoryError"
            r"|DefaultCPUAllocator: (?:can't allocate|not enough) memory|Cannot allocate memory"
            r"|std::bad_alloc|Out of memory: Killed|oom-kill"
        ),
    ),
    ("disk_full", re.compile(r"No space left on device|Disk quota exceeded|ENOSPC")),
    ("interrupted", re.compile(r"^KeyboardInterrupt\b")),
)
_SENTENCES: dict[Reason, str] = {
    "out_of_memory_gpu": "the GPU ran out of memory",
    "out_of_memory_host": "the host ran out of memory",
    "disk_full": "the disk is full",
    "interrupted": "it was interrupted from outside",
}
_DONE = ("completed", "target_reached")
_BY_HAND = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def read_tail(log: Path) -> str:
    """The end of a log as plain lines, without colours, progress bars unrolled.

    At most 64 KiB are read, however long the log is. Without a log it is empty.
    """
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - TAIL_BYTES))
            data = stream.read(TAIL_BYTES)
    except FileNotFoundError:
        return ""
    text = _ANSI.sub("", data.decode(errors="replace").replace("\r", "\n"))
    lines = [_CONTROL.sub("", line).rstrip() for line in text.split("\n")]
    whole = lines[1:] if size > TAIL_BYTES and len(lines) > 1 else lines
    return "\n".join(line for line in whole if line)


def diagnose(process: Exit, log_tail: str, ended: End | None) -> Failure | None:
    """Name what went wrong, or None when the trial has its measurement.

    Args:
        process: How the process ended.
        log_tail: The end of its output, as ``read_tail`` gives it.
        ended: Its last record, or None when it wrote none.
    """
    if ended is not None and ended.status in _DONE:
        return None  # whatever happened afterwards, the measurement is whole
    lines = log_tail.splitlines()[-LAST_WORDS:]
    by_itself = _by_executor(process, ended) or _by_record(ended)
    if by_itself:
        return Failure(*by_itself, telling(lines))
    return _by_words(lines) or Failure(*_by_death(process), telling(lines))


Verdict = tuple[Reason, str]


def _by_executor(process: Exit, ended: End | None) -> Verdict | None:
    seconds = f"after {process.seconds:.0f} s"
    match process.cause:
        case "timeout":
            return "timed_out", f"it was ended {seconds}, its whole time"
        case "silent":
            return "silent", f"it was ended {seconds}, because it had been silent for too long"
        case "stopped" if ended is None or ended.status != "diverged":
            return "interrupted", f"it was stopped {seconds}"
        case "lost":
            return "lost", "its process was lost out of sight, then ended"
        case "stopped" | "exited":  # one whose loss is lost is stopped because of that
            return None


def _by_record(ended: End | None) -> Verdict | None:
    if ended is None:
        return None
    if ended.status == "diverged":
        return "diverged", "its loss is no finite number"
    return "interrupted", "it was asked to stop by somebody else"


def _by_words(lines: Sequence[str]) -> Failure | None:
    """The last line that has a known sign."""
    for line in reversed(lines):
        for reason, sign in _SIGNS:
            if sign.search(line):
                return Failure(reason, _SENTENCES[reason], line)
    return None


def _by_death(process: Exit) -> Verdict:
    number = process.signal or (process.code - 128 if process.code and process.code > 128 else None)
    if number == signal.SIGKILL:
        return "out_of_memory_host", "it was killed, most likely because the host ran out of memory"
    if number in _BY_HAND:
        return "interrupted", f"somebody else sent it {_name(number)}"
    if process.signal:
        return "crashed", f"it crashed with {_name(process.signal)}"
    if process.code == 0:
        return "crashed", "it exited with code 0 but wrote no end record"
    return "crashed", f"it crashed with exit code {process.code}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # 32 and 33 are the C library's own
        return f"signal {number}"


def telling(lines: Sequence[str]) -> str:
    """The last line that looks like an exception, else the last line."""
    found = [line for line in lines if _EXCEPTION.match(line)]
    own = [line for line in found if not _OF_LAUNCHER.match(line)] or found or lines
    return own[-1] if own else ""
