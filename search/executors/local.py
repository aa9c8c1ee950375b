"""Runs trials as processes of this machine."""

from __future__ import annotations

import math
import os
import secrets
import time
from multiprocessing.connection import wait as wait_for
from types import TracebackType
from typing import Literal, Self

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from search.executors import tree
from search.executors.base import ExecutorConfig, Exit, Job, ProcessFacts, Slot, executors
from search.executors.cpus import cpu_model, usable_cores
from search.executors.energy import consumed
from search.executors.gpus import VISIBLE, Claims, Gpu, visible_gpus
from search.executors.marker import MARKER
from search.executors.running import Running, Watch
from search.executors.start import Forked, Handle, Spawned, Start
from spec.errors import InputError


@executors.variant("local")
class LocalConfig(ExecutorConfig):
    """Trials as processes of this machine."""

    workers: Literal["auto"] | PositiveInt = "auto"
    """Trials at a time. auto: one per visible GPU; on the CPU as many as its usable cores have
    threads for. More trials than GPUs share them."""

    threads: Literal["auto"] | PositiveInt = "auto"
    """CPU threads of one trial. auto: 1 on the CPU, where packing single threads is fastest; beside
    a GPU an equal share of the cores."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the visible GPUs, or the CPU without any."""

    start: Literal["fork", "spawn"] = "fork"
    """fork: from a server that has imported the trainer once, if the command is ``python -m`` of
    this interpreter; spawn: a fresh program, as every other command is."""

    timeout: PositiveFloat | None = None
    """Seconds one trial may take in all."""

    silence: PositiveFloat | None = None
    """Seconds metrics.jsonl and output.log may both stay as they are."""

    grace: NonNegativeFloat = 10.0
    """Seconds between asking a trial to end and killing it."""

    def build(self, study: str, preload: str | None = None) -> LocalExecutor:
        return LocalExecutor(self, study, preload)

    def cpu_workers(self) -> int:
        if self.workers != "auto":
            return self.workers
        return max(1, usable_cores() // (1 if self.threads == "auto" else self.threads))


class LocalExecutor:
    """Runs each trial in a session of its own and ends all of its processes with it.

    Args:
        config: The options.
        study: The study's id; with number and chance it marks every process of a trial.
        preload: Module that the fork server imports once for all trials.

    Raises:
        InputError: When no device is left for the options.
    """

    def __init__(self, config: LocalConfig, study: str, preload: str | None = None) -> None:
        self._config = config
        self._study = study
        self._preload = preload
        self._claims = _claim(config)
        self.slots = (
            _gpu_slots(config, self._claims.gpus) if self._claims.gpus else _cpu_slots(config)
        )
        self._running: dict[int, Running] = {}

    def free(self) -> list[Slot]:
        taken = {running.slot.name for running in self._running.values()}
        return [slot for slot in self.slots if slot.name not in taken]

    def launch(self, job: Job, slot: Slot) -> ProcessFacts:
        assert slot in self.free(), f"{slot.name} is not free"
        assert job.number not in self._running, f"trial {job.number} is running"
        marker = f"{self._study}/{job.number}/{secrets.token_hex(4)}"
        log = job.folder / "output.log"
        log.touch()  # a folder that cannot be written is our error, not the trial's
        launched = time.time()
        handle = self._start(job, {**os.environ, **slot.env, **job.env, MARKER: marker})
        facts = tree.facts(handle.pid, marker, launched)
        watch = Watch(
            (log, job.folder / "metrics.jsonl"),
            self._config.timeout or math.inf,
            self._config.silence or math.inf,
        )
        self._running[job.number] = Running(job, slot, handle, tree.Tree(facts), watch)
        return facts

    def wait(self, timeout: float) -> list[Exit]:
        deadline = time.monotonic() + timeout
        while True:
            advanced = [running.advance(self._config.grace) for running in self._running.values()]
            exits = [ended for ended in advanced if ended is not None]
            for ended in exits:
                del self._running[ended.number]
            if exits or not self._running or time.monotonic() >= deadline:
                return exits
            self._sleep(deadline)

    def stop(self, number: int, grace: float | None = None) -> None:
        if number in self._running:
            self._running[number].stop("stopped", self._config.grace if grace is None else grace)

    def close(self) -> None:
        try:
            self._end_all(None)
        except BaseException:  # a second Ctrl-C: no more patience, but still no process left
            self._end_all(0.0)
            raise
        finally:
            self._claims.release()

    def _sleep(self, deadline: float) -> None:
        """Until a main process ends, or something is due."""
        trials = self._running.values()
        due = min([deadline, *(running.next_look() for running in trials)])
        sentinels = [running.sentinel for running in trials if running.sentinel is not None]
        wait_for(sentinels, None if due == math.inf else max(0.0, due - time.monotonic()))

    def _end_all(self, grace: float | None) -> None:
        for number in self._running:
            self.stop(number, grace)
        while self._running:
            self.wait(math.inf)

    def _start(self, job: Job, environment: dict[str, str]) -> Handle:
        start = Start(job.command, job.folder / "output.log", job.cwd, environment)
        # Python reads its own variables only when it starts.
        early = any(name.startswith("PYTHON") for name in job.env)
        if self._config.start == "fork" and start.is_module and not early:
            return Forked(start, self._preload)
        return Spawned(start)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _claim(config: LocalConfig) -> Claims:
    visible = [] if config.device == "cpu" else visible_gpus()
    if config.device == "cuda" and not visible:
        raise InputError(
            "executor.device is cuda, but nvidia-smi lists no GPU or CUDA_VISIBLE_DEVICES hides "
            "all of them; set it to cpu or auto"
        )
    claims = Claims(visible, len(visible) if config.workers == "auto" else config.workers)
    if visible and not claims.gpus:
        raise InputError(
            f"each of the {len(visible)} visible GPUs is held by another study of yours; "
            "wait for it, or set executor.device to cpu"
        )
    return claims


def _cpu_slots(config: LocalConfig) -> tuple[Slot, ...]:
    threads = 1 if config.threads == "auto" else config.threads
    workers = config.cpu_workers()
    env = {VISIBLE: "", **_threads_env(threads)}
    packed, model = workers > 1, cpu_model()
    return tuple(Slot(f"cpu:{i}", "cpu", threads, env, packed, None, model) for i in range(workers))


def _gpu_slots(config: LocalConfig, gpus: list[Gpu]) -> tuple[Slot, ...]:
    workers = len(gpus) if config.workers == "auto" else config.workers
    threads = max(1, usable_cores() // workers) if config.threads == "auto" else config.threads
    layers = -(-workers // len(gpus))
    slots = []
    for number in range(workers):
        layer, index = divmod(number, len(gpus))
        gpu = gpus[index]
        name = f"cuda:{gpu.name}" if layers == 1 else f"cuda:{gpu.name}/{layer}"
        packed = number + len(gpus) < workers or layer > 0
        counter = None if packed or consumed(gpu.uuid) is None else gpu.uuid
        env = {VISIBLE: gpu.uuid, **_threads_env(threads)}
        slots.append(Slot(name, "cuda", threads, env, packed, counter, gpu.model))
    return tuple(slots)


def _threads_env(threads: int) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
