"""Shows how far a preparation is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


_EVERY_SECONDS = 10.0


class Progress(Protocol):
    """Told what happens while data is prepared."""

    def say(self, line: str) -> None:
        """Something a person waiting should know."""

    def begin(self, what: str, total: int) -> None:
        """Work on ``total`` bytes of text starts."""

    def advance(self, done: int) -> None:
        """``done`` more bytes are encoded."""


class Lines:
    """Plain lines on stderr: the start, and a sign of life now and then."""

    def __init__(self) -> None:
        self._what, self._total, self._done, self._said_at = "", 0, 0, 0.0

    def say(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def begin(self, what: str, total: int) -> None:
        self._what, self._total, self._said_at = what, total, time.monotonic()
        self.say(f"{what}: {total / 1e6:.1f} MB of text")

    def advance(self, done: int) -> None:
        self._done += done
        if time.monotonic() > self._said_at + _EVERY_SECONDS:
            self._said_at = time.monotonic()
            self.say(f"{self._what}: {self._done / 1e6:.1f} of {self._total / 1e6:.1f} MB")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to restore."""


class Bar(Lines):
    """A bar on stderr, with what is said above it."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = _bar()
        self._task = self._bar.add_task("reading", total=None)

    def say(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False)

    def begin(self, what: str, total: int) -> None:
        self._bar.update(self._task, description=what, total=total)

    def advance(self, done: int) -> None:
        self._bar.advance(self._task, done)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


def _bar() -> RichProgress:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TimeRemainingColumn(),
    )
    return progress.Progress(*columns, console=Console(stderr=True), transient=True)


def shown() -> Lines:
    """What fits stderr."""
    return Bar() if sys.stderr.isatty() else Lines()
