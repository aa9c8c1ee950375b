"""Every way to fail has its name, a sentence, and the line of the log that tells most."""

import signal
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.executors.base import Cause, Exit, Job
from search.executors.local import LocalConfig, LocalExecutor
from search.failures import TAIL_BYTES, Reason, diagnose, read_tail
from search.history import Failure
from spec.records import End, Reader


def exit_of(code: int | None = 0, number: int | None = None, cause: Cause = "exited") -> Exit:
    return Exit(0, code, number, cause, 12.3)


def reason(*args: Any) -> str | None:
    failure = diagnose(*args)
    return failure.reason if failure else None


TORCH_GPU = """Traceback (most recent call last):
  File "train.py", line 3, in <module>
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"""
TORCH_HOST = "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"

CASES = [
    ("out_of_memory_gpu", exit_of(1), TORCH_GPU, None),
    ("out_of_memory_gpu", exit_of(1), "torch.cuda.OutOfMemoryError: CUDA out of memory.", None),
    ("out_of_memory_gpu", exit_of(1), "RuntimeError: CUDA error: out of memory", None),
    ("out_of_memory_gpu", exit_of(1), "RuntimeError: HIP error: hipErrorOutOfMemory", None),
    (
        "out_of_memory_gpu",
        exit_of(None, 6),
        "CUBLAS_STATUS_ALLOC_FAILED when calling `c`\nAborted",
        None,
    ),
    ("out_of_memory_host", exit_of(None, 9), "step 12 loss 3.1", None),
    ("out_of_memory_host", exit_of(137), "Killed", None),
    ("out_of_memory_host", exit_of(1), "MemoryError", None),
    ("out_of_memory_host", exit_of(1), TORCH_HOST, None),
    ("out_of_memory_host", exit_of(1), "OSError: [Errno 12] Cannot allocate memory", None),
    ("disk_full", exit_of(1), "OSError: [Errno 28] No space left on device: 'x.pt'", None),
    ("crashed", exit_of(1), "ValueError: no", None),
    ("crashed", exit_of(None, 11), "", None),
    ("crashed", exit_of(0), "bye", None),
    ("crashed", exit_of(200), "", None),
    ("timed_out", exit_of(None, 15, "timeout"), TORCH_GPU, None),
    ("timed_out", exit_of(0, None, "timeout"), "", End(status="stopped")),
    ("silent", exit_of(None, 9, "silent"), "", None),
    ("diverged", exit_of(0), "loss nan", End(status="diverged")),
    ("diverged", exit_of(None, 15, "stopped"), "loss nan", End(status="diverged")),
    ("interrupted", exit_of(0, None, "stopped"), "", End(status="stopped")),
    ("interrupted", exit_of(None, 9, "stopped"), "", None),
    ("interrupted", exit_of(None, 15), "", None),
    ("interrupted", exit_of(0), "", End(status="stopped")),
    ("interrupted", exit_of(1), "Traceback\nKeyboardInterrupt", None),
    ("lost", exit_of(None, None, "lost"), "", None),
    (None, exit_of(0), "", End(status="completed")),
    (None, exit_of(0), "OSError: [Errno 28] No space left on device", End(status="target_reached")),
    (None, exit_of(None, 11), "crash at tear-down", End(status="completed")),
    (None, exit_of(None, 15, "stopped"), "", End(status="completed")),
]


@pytest.mark.parametrize(("wanted", "process", "tail", "ended"), CASES)
def test_each_end_has_its_name(wanted, process, tail, ended):
    assert reason(process, tail, ended) == wanted


def test_every_reason_has_a_case():
    assert {case[0] for case in CASES} >= set(get_args(Reason))


def test_the_message_is_a_sentence_with_the_telling_line():
    failure = diagnose(exit_of(1), TORCH_GPU + "\nsome late warning", None)
    assert failure is not None
    assert str(failure).startswith("the GPU ran out of memory: torch.OutOfMemoryError: CUDA out of")
    crash = diagnose(exit_of(1), "a\npkg.errors.ShapeError: 5 != 4\nbye", None)
    assert crash == Failure(
        "crashed", "it crashed with exit code 1", "pkg.errors.ShapeError: 5 != 4"
    )
    assert str(diagnose(exit_of(None, signal.SIGSEGV), "", None)) == "it crashed with SIGSEGV"


@pytest.mark.parametrize("rank", ["", "[rank0]: "])
def test_behind_torchrun_the_telling_line_is_the_scripts(rank):
    own = f"{rank}AssertionError: for now i think we need CUDA for DDP"
    last = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:"
    assert diagnose(exit_of(1), f"x\n{own}\n{last}\n====\ntrain.py FAILED", None) == Failure(
        "crashed", "it crashed with exit code 1", own
    )
    assert str(diagnose(exit_of(1), last, None)).endswith(last)


def test_an_error_survived_long_ago_is_not_the_reason():
    tail = "RuntimeError: CUDA out of memory\n" + "step\n" * 100 + "ValueError: later"
    assert reason(exit_of(1), tail, None) == "crashed"


def test_a_word_about_memory_in_passing_is_not_the_reason():
    assert (
        reason(exit_of(1), "pinning memory\nno MemoryError so far\nValueError: x", None)
        == "crashed"
    )


# Reading the end of a log


def test_a_log_that_is_not_there_is_empty(tmp_path):
    assert read_tail(tmp_path / "output.log") == ""


def test_colours_progress_bars_and_broken_bytes_become_plain_lines(tmp_path):
    log = tmp_path / "output.log"
    log.write_bytes(
        b"\x1b[31mred\x1b[0m\n 10%\r 20%\r\n\x00bell\x07\n\xff\xfe ok\n\x1b]0;title\x07end"
    )
    assert read_tail(log) == "red\n 10%\n 20%\nbell\n\ufffd\ufffd ok\nend"


def test_a_long_log_is_read_from_its_end_in_whole_lines(tmp_path):
    log = tmp_path / "output.log"
    log.write_bytes(b"a line of the million\n" * 1_000_000 + b"ValueError: at last\n")
    lines = read_tail(log).splitlines()
    assert set(lines[:-1]) == {"a line of the million"}
    assert lines[-1] == "ValueError: at last"
    assert len("\n".join(lines)) <= TAIL_BYTES


def test_one_endless_line_keeps_its_end(tmp_path):
    log = tmp_path / "output.log"
    log.write_bytes(b"x" * 2 * TAIL_BYTES + b"end")
    assert read_tail(log).endswith("end")


@given(st.binary(max_size=300), st.integers(-40, 300))
def test_no_output_breaks_the_diagnosis(tmp_path_factory, data, code):
    log = tmp_path_factory.getbasetemp() / "any.log"
    log.write_bytes(data)
    tail = read_tail(log)
    assert not set(tail) & {"\x00", "\x07", "\x1b", "\r"}
    process = exit_of(code) if code >= 0 else exit_of(None, -code)
    assert diagnose(process, tail, None) is not None


# The toys


@pytest.mark.parametrize(
    ("habit", "wanted"),
    [
        ("completes", None),
        ("emits_nan", "diverged"),
        ("crashes", "crashed"),
        ("runs_out_of_gpu_memory", "out_of_memory_gpu"),
        ("runs_out_of_host_memory", "out_of_memory_host"),
        ("fills_the_disk", "disk_full"),
        ("prints_garbage", "crashed"),
        ("prints_a_million_lines", "crashed"),
        ("dies_of 9", "out_of_memory_host"),
        ("dies_of 2", "interrupted"),
    ],
)
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_the_toys_are_diagnosed(
    tmp_path: Path,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: Any,
    habit: str,
    wanted: str,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repository))
    monkeypatch.syspath_prepend(str(repository))
    command = (sys.executable, "-m", "tests.toys.trainer", *habit.split())
    with LocalExecutor(LocalConfig(device="cpu", start=start), "tests") as executor:
        executor.launch(Job(0, command, tmp_path, tmp_path, {}), executor.slots[0])
        (process,) = executor.wait(30)
    ends = [r for r in Reader(tmp_path / "metrics.jsonl").read() if isinstance(r, End)]
    tail = read_tail(tmp_path / "output.log")
    assert reason(process, tail, ends[-1] if ends else None) == wanted
