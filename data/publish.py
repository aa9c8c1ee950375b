"""Makes a folder appear whole or not at all, whoever else writes it and whenever one is killed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def alone(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Be the only writer of ``folder``; waits for another one, and clears what dead ones left."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{folder.name}: another process prepares it; waiting")
        lock.acquire()
    try:
        _clear(folder)
        yield
    finally:
        _clear(folder)
        lock.release()


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder`` that takes its place at the end; only inside ``alone``."""
    new = _beside(folder)
    new.chmod(0o755)  # mkdtemp makes it private
    yield new
    if folder.exists():
        folder.rename(_beside(folder))
    new.rename(folder)


def _beside(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=_prefix(folder), dir=folder.parent))


def _clear(folder: Path) -> None:
    """Remove unfinished folders; who holds the lock knows that nobody lives in them."""
    for left in folder.parent.glob(f"{_prefix(folder)}*"):
        shutil.rmtree(left)


def _prefix(folder: Path) -> str:
    return f".{folder.name}.tmp-"
