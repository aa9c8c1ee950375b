"""The contract of an executor: slots, jobs, and how trials end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from spec.family import Component, Family

Cause = Literal["exited", "timeout", "silent", "stopped", "lost"]


@dataclass(frozen=True)
class Slot:
    """A place where one trial runs.

    Attributes:
        name: Such as ``cpu:0`` or ``cuda:1``, unique within the executor.
        device: ``cpu`` or ``cuda``; for the trainer's command line.
        model: What the device is, such as ``NVIDIA H200``; empty where nobody knows. Times on one
            model say nothing of times on another.
        threads: CPU threads of the trial; for the trainer's command line.
        env: Variables that bind a trial to the slot.
        packed: Another slot shares the device, so wall times depend on what runs beside.
        counter: The GPU of this machine whose energy counter tells what a trial here takes; None
            where nothing does: on a CPU, on a shared GPU, or without such a counter.
    """

    name: str
    device: str
    threads: int
    env: Mapping[str, str]
    packed: bool
    counter: str | None = None
    model: str = ""

    @property
    def clock(self) -> str:
        """What of the slot every time depends on, in words."""
        model = f" ({self.model.replace(',', '')})" if self.model else ""
        return f"{self.device}{model}, {self.threads} threads"


@dataclass(frozen=True)
class Job:
    """One trial as the operating system sees it.

    Attributes:
        number: The trial's number in its study.
        command: The argv that reruns it by hand: ``(sys.executable, "-m", "trainer.train", ...)``.
        folder: The trial's folder; ``output.log`` in it receives stdout and stderr.
        cwd: Working directory.
        env: Variables on top of the orchestrator's own and the slot's.
        stop_file: What asks the trial to end when it is touched; None: SIGTERM does.
    """

    number: int
    command: tuple[str, ...]
    folder: Path
    cwd: Path
    env: Mapping[str, str]
    stop_file: Path | None = None


@dataclass(frozen=True)
class ProcessFacts:
    """What identifies a trial's main process, even after the orchestrator has died.

    Attributes:
        pid: Its process id, which is its session's too.
        create_time: When it started, seconds since the epoch; with the pid it names one process.
        marker: ``study/number/chance`` in the environment of its processes, and of no others.
    """

    pid: int
    create_time: float
    marker: str


@dataclass(frozen=True)
class Exit:
    """How a trial ended. It is reported when none of its processes is left.

    Attributes:
        number: The trial's number.
        code: Exit code of the main process; None after a signal, or when it is not known.
        signal: The signal that ended the main process, or None.
        cause: ``exited`` by itself or by a stranger's signal; ended by the executor for being over
            its ``timeout`` or ``silent``; ``stopped`` on request; or ``lost`` out of sight.
        seconds: Wall time of the main process.
    """

    number: int
    code: int | None
    signal: int | None
    cause: Cause
    seconds: float


class Executor(Protocol):
    """Runs trials in slots. A context manager: no process outlives it."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Every place this executor may use."""
        ...

    def free(self) -> list[Slot]:
        """The slots without a trial."""
        ...

    def launch(self, job: Job, slot: Slot) -> ProcessFacts:
        """Start a trial.

        Raises:
            InputError: When the command cannot be started.
        """
        ...

    def wait(self, timeout: float) -> list[Exit]:
        """The trials that ended.

        Returns at once when there is one or none runs, else empty after ``timeout`` seconds.
        """
        ...

    def stop(self, number: int, grace: float | None = None) -> None:
        """Ask a trial to end; ``wait`` kills its whole tree after ``grace`` seconds.

        Args:
            number: The trial; one that is not running is left alone.
            grace: None for the configured period, 0 for now. A second call may shorten it.
        """
        ...

    def close(self) -> None:
        """Stop every trial and wait for all of them."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class ExecutorConfig(Component):
    """The options of one kind of executor."""

    def build(self, study: str, preload: str | None = None) -> Executor:
        """The executor itself.

        Args:
            study: The study's id; with the trial's number it marks every process.
            preload: A module worth importing once for all trials.

        Raises:
            InputError: When this machine cannot give what the options ask.
        """
        raise NotImplementedError

    def cpu_workers(self) -> int:
        """How many trials would run at a time on this machine's CPU, for an estimate."""
        raise NotImplementedError


executors: Family[ExecutorConfig] = Family(
    "executor", "runs each job in one slot, reports every end once, leaves no process behind"
)
