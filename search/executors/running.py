"""One running trial, from its start to the end of its last process."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from search.executors.base import Cause, Exit, Job, Slot
from search.executors.start import Handle
from search.executors.tree import LOOK, Tree

LOOKS_PER_SILENCE = 10
"""Looks at a trial's files within one allowed silence: it is noticed at most a tenth late."""


@dataclass
class Watch:
    """The limits of one trial: how long it may take, and how long its files may not grow."""

    files: Sequence[Path]
    timeout: float = math.inf
    silence: float = math.inf
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._size = -1
        self._grown = self._looked = self.started

    def exceeded(self, now: float) -> Literal["timeout", "silent"] | None:
        """The limit that is passed at ``now``."""
        if now >= self.started + self.timeout:
            return "timeout"
        if now >= self._looked + self.silence / LOOKS_PER_SILENCE:
            self._look(now)
        return "silent" if now >= self._grown + self.silence else None

    def next_look(self) -> float:
        """When ``exceeded`` may change its answer."""
        return min(self.started + self.timeout, self._looked + self.silence / LOOKS_PER_SILENCE)

    def _look(self, now: float) -> None:
        size = sum(file.stat().st_size for file in self.files if file.exists())
        if size != self._size:
            self._size, self._grown = size, now
        self._looked = now


class Running:
    """A trial that was started. ``advance`` moves it on; nothing here blocks.

    A KeyboardInterrupt at any point leaves it in a state from which ``advance`` goes on.
    """

    def __init__(self, job: Job, slot: Slot, handle: Handle, tree: Tree, watch: Watch) -> None:
        self.job = job
        self.slot = slot
        self._handle = handle
        self._tree = tree
        self._watch = watch
        self._cause: Cause = "exited"
        self._kill_at = math.inf
        self._code: int | None = None
        self._seconds = 0.0
        self._told = False  # the processes that outlived the main one were asked to end

    @property
    def sentinel(self) -> int | None:
        """What becomes readable at the end of the main process; None once it has ended."""
        return None if self._ended else self._handle.sentinel

    @property
    def _ended(self) -> bool:
        return self._code is not None

    def stop(self, cause: Cause, grace: float) -> None:
        """Ask the trial to end, and see that it has ended ``grace`` seconds later."""
        if self._kill_at == math.inf:
            if self._ended:
                return  # what it left is being killed
            self._cause = cause
            self._ask_to_end()
        self._kill_at = min(self._kill_at, time.monotonic() + grace)

    def advance(self, grace: float) -> Exit | None:
        """Do what is due now. The exit, once no process of the trial is left."""
        now = time.monotonic()
        if not self._ended:
            self._poll(now)
        if self._ended:
            return self._clear(now)
        exceeded = self._watch.exceeded(now)
        if self._kill_at == math.inf and exceeded:
            self.stop(exceeded, grace)
        elif now >= self._kill_at:
            self._tree.signal_all(signal.SIGKILL)
        return None

    def next_look(self) -> float:
        """When ``advance`` is due although nothing ended, on the monotonic clock."""
        now = time.monotonic()
        if self._ended or now >= self._kill_at or self._handle.sentinel is None:
            return now + LOOK
        return self._watch.next_look() if self._kill_at == math.inf else self._kill_at

    def _ask_to_end(self) -> None:
        if self.job.stop_file is None:
            self._tree.terminate()
        else:
            self.job.stop_file.parent.mkdir(parents=True, exist_ok=True)
            self.job.stop_file.touch()

    def _poll(self, now: float) -> None:
        self._code = self._handle.poll()
        self._seconds = now - self._watch.started
        if self._ended and self._tree.main() is not None:
            self._cause = "lost"  # the fork server died, and with it the word of how this will end

    def _clear(self, now: float) -> Exit | None:
        """End what outlived the main process: after a stop it has the rest of the grace period."""
        if not self._tree.members():
            self._handle.close()
            return self._exit()
        if now >= self._kill_at or self._kill_at == math.inf:
            self._tree.signal_all(signal.SIGKILL)
        elif not self._told:
            self._told = True
            self._tree.signal_all(signal.SIGTERM)
        return None

    def _exit(self) -> Exit:
        assert self._code is not None
        if self._cause == "lost":
            code, number = None, None
        else:
            code, number = (None, -self._code) if self._code < 0 else (self._code, None)
        return Exit(self.job.number, code, number, self._cause, self._seconds)
