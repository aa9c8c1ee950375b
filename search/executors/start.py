"""Two ways to start a trial's main process: a fork of a warm server, and a fresh program."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from search.executors import child
from search.executors.marker import MARKER, SERVER
from spec.errors import InputError

_ALWAYS = ("search.executors.detach", "search.executors.child")


@dataclass(frozen=True)
class Start:
    """What to start: a command with its complete environment."""

    command: tuple[str, ...]
    log: Path
    cwd: Path
    environment: Mapping[str, str]

    @property
    def is_module(self) -> bool:
        """Whether it is ``python -m module`` of this very interpreter, which a fork can become."""
        return len(self.command) >= 3 and self.command[:2] == (sys.executable, "-m")


class Handle(Protocol):
    """A started main process."""

    @property
    def pid(self) -> int: ...

    @property
    def sentinel(self) -> int | None:
        """A descriptor, readable once the process has ended; None where the system has none."""
        ...

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        ...

    def close(self) -> None:
        """Free what the handle holds, once the process has ended; again does nothing."""
        ...


class Spawned:
    """A fresh program.

    Raises:
        InputError: When the command cannot be executed.
    """

    def __init__(self, start: Start) -> None:
        with start.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    start.command,
                    cwd=start.cwd,
                    env={"PYTHONUNBUFFERED": "1", **start.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise InputError(
                    f"cannot start {start.command[0]!r} in {start.cwd}: {error.strerror}; "
                    f"the trainer's command must name a program that runs there"
                ) from None
        self.pid = self._process.pid
        self.sentinel = os.pidfd_open(self.pid) if sys.platform == "linux" else None

    def poll(self) -> int | None:
        return self._process.poll()

    def close(self) -> None:
        descriptor, self.sentinel = self.sentinel, None
        if descriptor is not None:
            os.close(descriptor)


class Forked:
    """A fork of the standard library's fork server, which has imported the preload module once.

    The first one starts the server. Variables that a program reads when it starts, such as
    ``PYTHONHASHSEED``, have no effect.

    Raises:
        InputError: When the server did not live through its preload module.
    """

    def __init__(self, start: Start, preload: str | None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*_ALWAYS, *([preload] if preload else [])])
        module, *arguments = start.command[2:]
        self._process = context.Process(
            target=child.become,
            args=(module, arguments, str(start.log), str(start.cwd), dict(start.environment)),
        )
        try:
            with _hidden_main(), _server_marked():
                self._process.start()
        except (OSError, EOFError) as error:
            raise InputError(
                f"the fork server ended while it imported {preload}: {error!r}; "
                "its own message is above; mend the module, or set executor.start to spawn"
            ) from None
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.sentinel = self._process.sentinel

    def poll(self) -> int | None:
        return self._process.exitcode

    def close(self) -> None:
        self._process.close()


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep multiprocessing from running the orchestrator's main module again in every child."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _server_marked() -> Iterator[None]:
    """Mark the fork server, if this starts one: its forks show the environment it started with."""
    before = os.environ.get(MARKER)
    os.environ[MARKER] = SERVER
    try:
        yield
    finally:
        if before is None:
            del os.environ[MARKER]
        else:
            os.environ[MARKER] = before
