"""Strategies other than greedy through the command: real processes, a real study, real results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from search.run import app
from search.summary import open_study
from spec import yaml
from tests.search.toy import exploration


def run(file: Path, out: Path, *more: str) -> None:
    done = CliRunner().invoke(app, [str(file), "--out", str(out), *more])
    assert done.exit_code == 0, done.output


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.read(folder / "results.yaml").data
    return found


@pytest.mark.parametrize("kind", ["guided", "optuna"])
def test_a_study_is_searched_resumed_and_told(tmp_path: Path, kind: str):
    file = exploration(tmp_path, strategy={"kind": kind, "trials": 16})
    run(file, tmp_path, "--max-trials", "7")
    assert len(open_study(tmp_path / "toy").history) == 7
    run(file, tmp_path)
    history = open_study(tmp_path / "toy").history
    assert len(history) <= 16
    assert history.decisions[-1].kind == "stop"
    told = results(tmp_path / "toy")
    assert told["stop_reason"] == history.decisions[-1].words
    first = told["iterations"][1]
    assert len(first["candidates"]) >= 5
    if history.accepted:
        assert first["chosen"]["config_id"] == history.accepted[0].config_id
        assert told["incumbent"]["config_id"] == history.accepted[0].config_id
        assert (
            first["chosen"]["confirmed"]["loss"] < told["iterations"][0]["baseline_metrics"]["loss"]
        )


def test_a_sweep_file_beside_the_exploration_needs_no_space(tmp_path: Path):
    (tmp_path / "their.yaml").write_text("width: [5, 6, 7]\nrate: [1.0, 2.0]\n")
    strategy = {"kind": "grid", "file": "their.yaml"}
    file = exploration(tmp_path, space={}, strategy=strategy)
    run(file, tmp_path)
    history = open_study(tmp_path / "toy").history
    tried = {
        (config["width"], config["rate"])
        for trial in history
        if (config := trial.request.description.config) and trial.request.purpose.edit
    }
    assert tried == {(5, 1.0), (5, 2.0), (6, 1.0), (6, 2.0)}  # 7 is refused by the toy


def test_an_empty_space_is_refused_where_it_is_needed(tmp_path: Path):
    file = exploration(tmp_path, space={}, strategy="random")
    done = CliRunner().invoke(app, [str(file), "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "give at least one path" in done.output
