"""The page in a browser that has no network."""

from pathlib import Path

import pytest

from analysis.page import render
from tests.analysis.browser import Page

CHARTS = "[...document.querySelectorAll('.chart-box')]"
# folds that are closed hold figures that are drawn when they open
OPEN = f"{CHARTS}.filter(box => !box.closest('details:not([open])'))"
UNDRAWN = f"{OPEN}.filter(box => !box.querySelector('.main-svg')).length"
ALL_OPEN = "document.querySelectorAll('details').forEach(fold => { fold.open = true })"


@pytest.fixture(scope="module")
def files(views, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, view in views.items():
        (folder / f"{name}.html").write_text(render(view), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in views}


@pytest.fixture
def tab(page: Page) -> Page:
    page.requests.clear()
    page.complaints.clear()
    return page


@pytest.mark.parametrize("study", ["finished", "hostile", "new", "one", "timed", "crowd"])
def test_it_opens_offline_without_a_complaint_and_draws_every_figure(study, files, tab):
    tab.open(files[study])
    tab.evaluate(ALL_OPEN)
    tab.wait(f"{UNDRAWN} === 0")
    assert tab.evaluate(f"{CHARTS}.length") == tab.evaluate(f"{OPEN}.length")
    assert tab.complaints == []
    assert [url for url in tab.requests if not url.startswith(("data:", "blob:"))] == [
        files[study].as_uri()
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("study", ["finished", "hostile"])
def test_it_fits_the_screen(study, width, dark, files, tab, tmp_path):
    tab.open(files[study], width, dark)
    tab.evaluate(ALL_OPEN)
    tab.wait(f"{UNDRAWN} === 0")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    drawings = "[...document.querySelectorAll('.chart .main-svg')]"
    right = "svg => svg.getBoundingClientRect().right"
    assert tab.evaluate(f"Math.max(0, ...{drawings}.map({right}))") <= width
    tab.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


def test_a_table_wider_than_the_screen_scrolls_by_itself_also_by_keyboard(files, tab):
    tab.open(files["finished"], 390)
    boxes = "[...document.querySelectorAll('.scroll')]"
    wide = f"{boxes}.filter(box => box.scrollWidth > box.clientWidth)"
    tab.wait(f"{wide}.length > 0")
    assert tab.evaluate(f"{wide}.every(box => box.tabIndex === 0 && box.ariaLabel)")
    shade = f"getComputedStyle({wide}[0]).backgroundAttachment"
    assert tab.evaluate(shade) == "local, local, scroll, scroll"


def test_figures_follow_the_theme(files, tab):
    text = "document.querySelector('#chart-growth .xtitle').style.fill"
    tab.open(files["finished"], dark=False)
    light = tab.evaluate(text)
    tab.theme(dark=True)
    tab.wait(f"{text} !== {light!r}")
    assert tab.evaluate(text) == "rgb(230, 234, 239)"


def test_hostile_texts_show_as_they_are_and_do_nothing(files, tab):
    tab.open(files["hostile"])
    assert tab.evaluate("document.querySelectorAll('img, .chart a, .grid script[src]').length") == 0
    assert (
        tab.evaluate("document.querySelectorAll('script').length")
        == tab.evaluate("document.querySelectorAll('script[type]').length") + 2
    )
    shown = "document.querySelector('#chart-timeline').textContent.includes('<script>alert(1)')"
    assert tab.evaluate(shown)


def test_an_injected_script_could_not_run(files, tab):
    tab.open(files["one"])
    tab.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), "
        "{textContent: 'window.harmed = true'}))"
    )
    assert tab.evaluate("window.harmed === undefined")
    assert tab.complaints != []


def test_a_switch_changes_the_axis(files, tab):
    tab.open(files["finished"])
    title = "document.querySelector('#chart-curves .xtitle').textContent"
    assert tab.evaluate(title) == "training tokens"
    tab.evaluate("document.querySelector('#curves [data-variant=seconds]').click()")
    tab.wait(f"{title} === 'train seconds'")


def test_the_trials_are_filtered_and_sorted(files, tab):
    tab.open(files["finished"])
    tab.evaluate(
        "{ const box = document.querySelector('#grid-trials input');"
        "box.value = 'confirm incumbent'; box.dispatchEvent(new Event('input')) }"
    )
    rows = "[...document.querySelectorAll('#grid-trials tbody tr')]"
    cells = f"{rows}.map(row => [...row.cells].map(cell => cell.textContent))"
    assert {row[4] for row in tab.evaluate(cells)} == {"confirm"}
    heads = "[...document.querySelectorAll('#grid-trials th button')]"
    head = f"{heads}.find(head => head.textContent.startsWith('val loss')).click()"
    tab.evaluate(head)
    rising = [row[7] for row in tab.evaluate(cells)]
    tab.evaluate(head)
    assert rising == sorted(rising)
    assert [row[7] for row in tab.evaluate(cells)] == sorted(rising, reverse=True)


def test_a_command_is_copied(files, tab):
    tab.open(files["finished"])
    button = "document.querySelector('#grid-trials tbody [data-copy]')"
    assert "trainer.train --config" in tab.evaluate(f"{button}.dataset.copy")
    tab.evaluate(f"{button}.click()")
    tab.wait(f"{button}.textContent === 'copied'")
