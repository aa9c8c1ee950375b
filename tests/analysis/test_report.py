"""The page as a file: complete, escaped, offline, and made for every sort of study."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs
from typer.testing import CliRunner

from analysis.figures.curves import curves_figure
from analysis.page import SECTIONS, render
from analysis.report import app
from analysis.style import PALETTE
from analysis.view import View
from tests.analysis.studies import HOSTILE, crowded

STUDIES = ("finished", "hostile", "new", "one", "timed", "crowd")


class Parsed(HTMLParser):
    """Elements with their attributes, and the content of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and self.cdata_elem == "script":
            kind, before = self.scripts[-1]
            self.scripts[-1] = (kind, before + data)
        else:
            self.words.append(data)

    @property
    def data(self) -> list[Any]:
        return [json.loads(text, parse_constant=pytest.fail) for kind, text in self.scripts if kind]

    @property
    def charts(self) -> list[dict[str, Any]]:
        """Every figure of every chart."""
        found = [data for data in self.data if "rows" not in data]
        return [figure for chart in found for figure in chart.values()]

    @property
    def grids(self) -> list[dict[str, Any]]:
        return [data for data in self.data if "rows" in data]


@pytest.fixture(scope="module")
def pages(views: dict[str, View]) -> dict[str, Parsed]:
    return {name: Parsed(render(view)) for name, view in views.items()}


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_the_command_writes_one_page_into_the_study(finished, repository):
    command = [sys.executable, "-m", "analysis.report", str(finished)]
    result = subprocess.run(
        command, cwd=repository, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert Path(result.stdout.strip()) == finished / "report.html"
    assert sorted(file.name for file in finished.iterdir()) == ["report.html", "study.db"]


def test_a_folder_without_a_study_is_refused_with_the_way_out(tmp_path):
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no study.db" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written_is_an_error_not_a_traceback(finished, tmp_path):
    page = tmp_path / "missing" / "page.html"
    result = CliRunner().invoke(app, [str(finished), "--out", str(page)])
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_has_every_section(study, pages):
    ids = [attributes.get("id") for _, attributes in pages[study].elements]
    assert [section.slug for section in SECTIONS] == [
        id_ for id_ in ids if id_ in {section.slug for section in SECTIONS}
    ]


@pytest.mark.parametrize("study", STUDIES)
def test_every_figure_is_one_that_plotly_accepts(study, pages):
    """Names of colours are replaced first, as the page does; what is left must validate."""

    def coloured(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: coloured(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [coloured(item, key) for item in value]
        return "#123456" if key.endswith("color") and value in PALETTE else value

    for figure in pages[study].charts:
        go.Figure(coloured(figure))


@pytest.mark.parametrize("study", STUDIES)
def test_the_page_names_no_other_place(study, pages, views):
    loads = ("src", "href", "srcset", "action", "poster", "data", "xlink:href")
    for _, attributes in pages[study].elements:
        for name in loads:
            assert (attributes.get(name) or "#").startswith(("#", "data:,"))
    without_plotly = render(views[study]).replace(get_plotlyjs(), "")
    assert not re.search(r"https?://|@import|url\(", without_plotly)


@pytest.mark.parametrize("study", STUDIES)
def test_only_the_scripts_whose_hashes_are_named_may_run(study, pages):
    policy = next(
        attributes["content"]
        for tag, attributes in pages[study].elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    allowed = set(re.findall(r"'sha256-([^']+)'", policy or ""))
    code = [text for kind, text in pages[study].scripts if kind is None]
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code}
    assert hashes == allowed
    assert len(code) == 2
    assert (policy or "").startswith("default-src 'none'")


def test_hostile_text_becomes_no_markup(pages):
    tags = [tag for tag, _ in pages["hostile"].elements]
    assert "img" not in tags
    assert tags.count("title") == 1
    everything = [name for _, attributes in pages["hostile"].elements for name in attributes]
    assert not [name for name in everything if name.startswith("on")]


def test_hostile_text_becomes_no_markup_inside_figures(pages):
    """Plotly reads some HTML in texts; of that only our own line breaks may be left."""
    texts = [text for figure in pages["hostile"].charts for text in strings(figure)]
    assert any("alert(1)" in text for text in texts)
    assert not [text for text in texts if "<" in text.replace("<br>", "")]
    assert not [text for figure in pages["finished"].charts for text in strings(figure)
                if "template" in text]  # fmt: skip


def test_hostile_text_is_shown_as_it_is(pages):
    trials = pages["hostile"].grids[-1]
    assert HOSTILE in [row[trials["columns"].index("phase")] for row in trials["rows"]]


def test_a_study_name_is_escaped(views):
    opened = views["one"].opened
    named = opened.exploration.model_copy(update={"study": HOSTILE})
    view = View(type(opened)(named, opened.baseline, opened.history), Path(HOSTILE))
    assert "<script>alert" not in render(view)


@pytest.mark.parametrize("study", STUDIES)
def test_every_trial_is_in_the_table_with_its_command(study, pages, views):
    trials = pages[study].grids[-1]
    assert trials["copy"] == "command"
    assert [row[0][1] for row in trials["rows"]] == [trial.number for trial in views[study].trials]
    assert all(row[-1].startswith("cd /home/me") for row in trials["rows"])


def column(page: Parsed, name: str) -> list[str]:
    trials = page.grids[-1]
    cells = [row[trials["columns"].index(name)] for row in trials["rows"]]
    return [cell if isinstance(cell, str) else cell[0] for cell in cells]


def test_every_state_is_told_apart(pages):
    assert set(column(pages["hostile"], "state")) == {
        "finished",
        "target missed",
        "running",
        "failed: crashed",
        "interrupted (pending)",
    }


def test_a_missed_target_is_a_bound_and_never_a_number(pages, views):
    states, times = (column(pages["timed"], name) for name in ("state", "time to target"))
    told = dict(zip(states, times, strict=True))
    assert told["target missed"] == "missed, > 12.4 s"
    assert "missed" not in told["finished"]


def test_missed_targets_sort_after_every_hit(pages):
    """Also those of trials that had little time so far."""
    trials = pages["hostile"].grids[-1]
    cells = [row[trials["columns"].index("time to target")] for row in trials["rows"]]
    hits = [rank for text, rank in cells if text and ">" not in text]
    misses = {text: rank for text, rank in cells if ">" in text}
    assert max(hits) < min(misses.values())
    assert "not yet, > 1.55 s" in misses


def test_failures_and_rejections_are_listed_with_their_reasons(pages):
    failed, rejected, _ = pages["finished"].grids
    assert {row[2] for row in failed["rows"]} == {"the loss became nan at step 150"}
    reasons = " ".join(row[2] for row in rejected["rows"])
    assert "n_head 5 does not divide n_embd 64" in reasons
    assert "is over the limit 130,000" in reasons


def test_every_accepted_step_is_told_with_selected_and_confirmed_gain(pages, views):
    """Also one that was recorded twice, as two candidates of which the other was left out."""
    words = pages["finished"].words
    twins = 0
    for decision in views["finished"].history.accepted:
        assert decision.words in words
        chosen, candidates = decision.detail["chosen"], decision.detail["candidates"]
        twins += [told.get("config_id") for told in candidates].count(decision.config_id) - 1
        selected = next(told for told in candidates if told["key"] == chosen)
        row = words.index(chosen, words.index("gain on fresh seeds"))
        told = " ".join(words[row : row + 12])
        assert f"{selected['gain']['mean']:+,.3g}" in told
        assert f"{decision.detail['attempts'][-1]['gain']['mean']:+,.3g}" in told
    assert twins


@pytest.mark.parametrize("target", [2.2, 9.0])
def test_the_target_is_in_the_frame_of_the_curves(target, views):
    opened = views["finished"].opened
    objective = opened.exploration.objective.model_copy(update={"target": target})
    asked = opened.exploration.model_copy(update={"objective": objective})
    view = View(type(opened)(asked, opened.baseline, opened.history), Path("toy"))
    figure = curves_figure(view, view.trials, "tokens")
    low, high = figure["layout"]["yaxis"]["range"]
    assert low < target < high
    assert figure["data"][-1]["y"] == [target, target]


def test_an_open_round_shows_provisional_gains(pages):
    words = " ".join(pages["hostile"].words)
    assert "Round 0: under way" in words
    assert "provisional" in words
    assert any("gain in score" in json.dumps(figure) for figure in pages["hostile"].charts)


@pytest.mark.slow
def test_ten_thousand_trials_stay_a_page_one_can_mail():
    html = render(View(crowded(10_000), Path("hp_searches/crowd")))
    assert len(html.encode()) < 15e6
    assert max(len(f["data"]) for f in Parsed(html).charts) < 100
