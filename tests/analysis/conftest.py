"""Studies and the browser that several tests look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.view import View, load
from tests.analysis import browser
from tests.analysis.studies import crowded, exploration, grow, messy, started

Folders = pytest.TempPathFactory
TIMED = {"gain": "time_to_target", "target": 2.21, "cost": "train_seconds"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: Folders) -> Path:
    """A search that took two steps."""
    asked = exploration(strategy={"kind": "greedy", "max_rounds": 2, "race": 8})
    return grow(tmp_path_factory.mktemp("finished"), asked)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: Folders) -> Path:
    """A first round under way, with hostile texts."""
    return messy(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="session")
def views(tmp_path_factory: Folders, finished: Path, hostile: Path) -> dict[str, View]:
    """A study of every sort."""
    new = tmp_path_factory.mktemp("new")
    started(new, exploration()).close()
    one = grow(tmp_path_factory.mktemp("one"), most=1)
    timed = grow(tmp_path_factory.mktemp("timed"), exploration(objective=TIMED), most=24)
    folders = {"finished": finished, "hostile": hostile, "new": new, "one": one, "timed": timed}
    crowd = View(crowded(2100), Path("hp_searches/crowd"))
    return {name: load(folder) for name, folder in folders.items()} | {"crowd": crowd}


@pytest.fixture(scope="session")
def page() -> Iterator[browser.Page]:
    """A tab of a browser without a network."""
    program = browser.find()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(browser.NAMES)} on PATH, no $CHROMIUM")
    with browser.browser(program) as tab:
        yield tab
