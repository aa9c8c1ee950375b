"""The processes of a trial: found wherever they went, signalled only when they are ours."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from search.executors.base import ProcessFacts
from search.executors.marker import MARKER

CLOCK = 2.0
"""Seconds by which two readings of one start may differ: the boot time in them is whole seconds."""

LOOK = 0.02
"""Seconds between two looks at processes that are not our children and cannot be waited for."""


def facts(pid: int, marker: str, launched: float) -> ProcessFacts:
    """The facts of a process just started; ``launched`` stands in when it has already ended."""
    try:
        return ProcessFacts(pid, psutil.Process(pid).create_time(), marker)
    except psutil.NoSuchProcess:
        return ProcessFacts(pid, launched, marker)


class Tree:
    """A trial's main process and everything it started.

    A process belongs to it when it is the main process (pid and start time), a descendant, carries
    the trial's marker, or is in the session the main process opened. What belonged once still does
    after its parents died.
    """

    def __init__(self, facts: ProcessFacts) -> None:
        self.facts = facts
        self._known: set[psutil.Process] = set()

    def main(self) -> psutil.Process | None:
        """The main process while it runs."""
        try:
            process = psutil.Process(self.facts.pid)
            same = abs(process.create_time() - self.facts.create_time) < CLOCK
            return process if same and _alive(process) else None
        except psutil.Error:
            return None

    def members(self) -> list[psutil.Process]:
        """The processes that run now."""
        led = self._leads_its_session()
        self._known.update(p for p in psutil.process_iter() if self._ours(p, led))
        for process in list(self._known):
            try:
                self._known.update(process.children(recursive=True))
            except psutil.NoSuchProcess:
                continue
        self._known = {process for process in self._known if _alive(process)}
        return list(self._known)

    def terminate(self) -> None:
        """Ask the main process to end; it knows best in which order its own children should."""
        self.members()  # remembered: children that survive it lose the way to it
        main = self.main()
        if main is not None:
            _send(main, signal.SIGTERM)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to every member."""
        for process in self.members():
            _send(process, number)

    def _leads_its_session(self) -> bool:
        """Whether the pid still is the main process, alive or dead and unburied."""
        try:
            created = psutil.Process(self.facts.pid).create_time()
        except psutil.Error:
            return False
        return abs(created - self.facts.create_time) < CLOCK

    def _ours(self, process: psutil.Process, led: bool) -> bool:
        try:
            if process.create_time() < self.facts.create_time - CLOCK or process.pid == os.getpid():
                return False
            if process.pid == self.facts.pid:
                return led
            if os.getsid(process.pid) == self.facts.pid:
                # Without its leader a session's number may be a stranger's: ask for a mark of ours.
                return led or MARKER in process.environ()
            return process.environ().get(MARKER) == self.facts.marker
        except (psutil.Error, OSError):  # it has gone, or is another user's
            return False


def end_orphans(records: Iterable[ProcessFacts], grace: float = 10.0) -> set[ProcessFacts]:
    """End the trials that a dead orchestrator left running; never a process that is not theirs.

    Args:
        records: The facts the study recorded for its running trials.
        grace: Seconds between asking and killing.

    Returns:
        Those of which something still ran.
    """
    trees = [Tree(record) for record in records]
    found = {tree.facts for tree in trees if tree.members()}
    for tree in trees:
        tree.terminate()
    deadline = time.monotonic() + grace
    while left := [tree for tree in trees if tree.members()]:
        for tree in left:
            if tree.main() is None or time.monotonic() >= deadline:
                tree.signal_all(signal.SIGKILL)
        time.sleep(LOOK)
    return found


def writers(log: Path) -> list[ProcessFacts]:
    """The leaders of the sessions whose output is this log, for a trial nobody wrote down."""
    found: dict[int, ProcessFacts] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if any(Path(file.path) == log for file in process.open_files()):
                leader = os.getsid(process.pid)
                found[leader] = ProcessFacts(leader, psutil.Process(leader).create_time(), "")
    return list(found.values())


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)  # psutil compares the start time first
