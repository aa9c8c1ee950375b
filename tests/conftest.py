"""What every test may count on."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline, because shared machines stall; the same examples in every run, so that a failure
# belongs to the change that brought it; no database, because a test leaves nothing in the tree.
settings.register_profile("espalier", deadline=None, derandomize=True, database=None)
settings.load_profile("espalier")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that started us in the background has Ctrl-C ignored, and processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes what commands print independent of the terminal that runs the tests."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
