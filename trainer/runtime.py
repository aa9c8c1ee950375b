"""What one process runs on: device, threads, seeds, clocks, and the request to stop."""

from __future__ import annotations

import ctypes
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FrameType, TracebackType
from typing import Any, Self
from zlib import crc32

import torch

from spec.errors import InputError
from trainer.components import linear
from trainer.components.linear import Kernel

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device a person named; ``auto`` is the first GPU, or the CPU where there is none.

    Raises:
        InputError: When there is no such device.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name}: no device; write auto, cpu, cuda or cuda:0") from None
    if device.type == "cuda":
        return _pick_gpu(name, device)
    if device.type != "cpu":
        raise InputError(
            f"--device {name}: training runs on cpu or cuda; write auto, cpu, cuda or cuda:0"
        )
    return device


def _pick_gpu(name: str, device: torch.device) -> torch.device:
    count = torch.cuda.device_count()
    index = device.index or 0
    if index >= count:
        raise InputError(
            f"--device {name}: this process sees {count} GPUs; write cpu, or a lower number"
        )
    return torch.device("cuda", index)


def prepare(device: torch.device, threads: int, dtype: str) -> AbstractContextManager[Any]:
    """Set the process up for one trial.

    Args:
        device: Where it will train.
        threads: CPU threads of one operator.
        dtype: Of the forward and backward pass. On a GPU that is autocast. On a CPU only the dense
            layers' products are made in half precision: attention's backward pass in bfloat16 is
            several times slower there.

    Returns:
        The context of each forward pass.
    """
    torch.set_num_threads(threads)
    if device.type == "cpu":
        _keep_freed_memory()
        linear.use(Kernel(dtype) if dtype != "float32" else linear.faster())
        return nullcontext()
    torch.set_float32_matmul_precision("high")  # TF32
    if dtype == "float32":
        return nullcontext()
    return torch.autocast(device.type, DTYPES[dtype])


def _keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one.

    By default it gives large blocks back to the kernel and gets them again, zeroed page by page:
    thousands of page faults, a tenth of a small model's step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # elsewhere there is no such dial
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def seed_step(device: torch.device, seed: int, step: int) -> None:
    """Seed what dropout draws from by the step: a resumed run needs no generator's state."""
    mixed = crc32(f"{seed} {step}".encode())  # torch's CPU generator knows 32 bits of a seed
    torch.default_generator.manual_seed(mixed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(mixed)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory allocated on the GPU, or resident on the CPU, since the process began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Clock:
    """Adds up wall and CPU time of the stretches it is entered for; the GPU is idle at the ends."""

    def __init__(
        self, device: torch.device, seconds: float = 0.0, cpu_seconds: float = 0.0
    ) -> None:
        self.cpu_seconds = cpu_seconds
        self._seconds = seconds
        self._gpu = device.type == "cuda"
        self._began: tuple[float, float] | None = None
        self._marks: list[Any] = []
        self._laps: list[float] = []

    @property
    def seconds(self) -> float:
        """Wall time of all stretches so far, the present one included."""
        running = time.perf_counter() - self._began[0] if self._began else 0.0
        return self._seconds + running

    def lap(self) -> None:
        """Mark the end of a step."""
        self._marks.append(self._mark())

    @property
    def median_lap_ms(self) -> float | None:
        """Median time between two marks; None before the first step has ended."""
        return 1000 * statistics.median(self._laps) if self._laps else None

    def __enter__(self) -> Self:
        self._wait()
        self._began = time.perf_counter(), time.process_time()
        self.lap()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wait()
        assert self._began is not None
        self._seconds += time.perf_counter() - self._began[0]
        self.cpu_seconds += time.process_time() - self._began[1]
        self._began = None
        pairs = zip(self._marks, self._marks[1:], strict=False)
        self._laps += [self._between(start, end) for start, end in pairs]
        self._marks.clear()

    def _wait(self) -> None:
        if self._gpu:
            torch.cuda.synchronize()

    def _mark(self) -> Any:
        if not self._gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) / 1000 if self._gpu else end - start


class Interrupt:
    """Turns SIGTERM and SIGINT, however often, into a flag that the loop reads between steps."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.requested = False
        self._before: list[Callable[[int, FrameType | None], Any] | int | None] = []

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._request) for number in self.SIGNALS]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in zip(self.SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
