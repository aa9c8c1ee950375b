"""Grids: the product of a space, and sweep files of the ancestor."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from search.simulation import Simulation
from search.strategies.base import Run
from search.strategies.draws import lattice_of
from search.strategies.grid import Grid
from search.strategies.optuna_samplers import Optuna
from search.strategies.random import Random
from search.strategies.sampling import Sampling
from search.strategies.sweeps import combinations, sweeps
from spec.errors import InputError
from spec.yaml import Document
from tests.search.landscape import SPACE, Hill


def expanded(sweep: Any) -> list[dict[str, Any]]:
    return list(itertools.chain.from_iterable(sweeps(Document(sweep))))


def test_lists_are_swept_and_the_rest_is_fixed():
    sweep = {"a": [1, 2], "b": "x", "c": [True, False]}
    assert expanded(sweep) == [
        {"a": 1, "b": "x", "c": True},
        {"a": 1, "b": "x", "c": False},
        {"a": 2, "b": "x", "c": True},
        {"a": 2, "b": "x", "c": False},
    ]


@pytest.mark.parametrize(
    ("span", "values"),
    [
        ({"start": 0.0, "end": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"start": 0, "end": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"start": 2, "end": 6, "step": 2}, [2, 4, 6]),
        ({"start": 2, "end": 4}, [2, 3, 4]),
        ({"start": 0.1, "end": 0.35}, [0.1, 0.2, 0.3]),
        ({"start": 6, "end": 2, "step": -2}, [6, 4, 2]),
        ({"start": 0.3, "end": 0.0, "step": -0.1}, [0.3, 0.2, 0.1, 0.0]),
        ({"start": 1e-7, "end": 3e-7, "step": 1e-7}, [1e-7, 2e-7, 3e-7]),
        ({"start": 5, "end": 10, "step": 2}, [5, 7, 9]),
    ],
)
def test_a_range_keeps_its_end(span: dict[str, float], values: list[float]):  # behaviours 33
    assert [found["x"] for found in expanded({"x": {"range": span}})] == values


def test_groups_add_their_keys_in_turn():
    sweep = {"parameter_groups": [{"a": [1]}, {"a": [2], "b": [3, 4]}], "a": [0], "c": 5}
    assert expanded(sweep) == [
        {"a": 1, "c": 5},
        {"a": 2, "c": 5, "b": 3},
        {"a": 2, "c": 5, "b": 4},
    ]


def test_a_condition_may_wait_for_a_key_of_some_groups_or_for_none():
    tied = {"conditions": [["a", 1]], "options": [5, 6]}
    sweep = {"b": tied, "parameter_groups": [{"a": [1, 2]}, {"c": 3}]}
    assert expanded(sweep) == [{"a": 1, "b": 5}, {"a": 1, "b": 6}, {"a": 2}, {"c": 3}]
    absent = {"a": 1, "b": {"conditions": [["z", None]], "options": [5]}}
    assert expanded(absent) == [{"a": 1, "b": 5}]


def test_groups_may_have_groups_ranges_and_conditions():
    inner = [{"b": [1, 2]}, {"b": 3, "c": {"range": {"start": 0, "end": 1}}}]
    tied = {"conditions": [["a", "y"]], "options": [7, 8]}
    groups = [{"a": "x", "parameter_groups": inner}, {"a": "y", "d": tied}]
    assert expanded({"a": "z", "parameter_groups": groups}) == [
        {"a": "x", "b": 1},
        {"a": "x", "b": 2},
        {"a": "x", "b": 3, "c": 0},
        {"a": "x", "b": 3, "c": 1},
        {"a": "y", "d": 7},
        {"a": "y", "d": 8},
    ]
    assert expanded({"a": 1, "parameter_groups": []}) == [{"a": 1}]


def test_conditions_sweep_where_they_hold():  # behaviours 37
    sweep = {"a": [1, 2], "b": {"conditions": [["a", 2]], "options": [7, 8]}}
    assert expanded(sweep) == [{"a": 1}, {"a": 2, "b": 7}, {"a": 2, "b": 8}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("many.yaml", "a: [1, 2]\n---\na: 3\n"),
        ("list.yaml", "- a: [1, 2]\n- a: 3\n"),
        ("list.json", '[{"a": [1, 2]}, {"a": 3}]'),
    ],
)
def test_files_of_every_form_are_read(tmp_path: Path, name: str, text: str):
    file = tmp_path / name
    file.write_text(text)
    assert list(combinations(file)) == [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- 3\n", r"bad.yaml:1:3: \[0\]: 3 is no sweep"),
        ("b: 1\na: {range: {start: 1}}", "bad.yaml:2:1: a: .* is no range"),
        ("a: {range: {start: 0, end: 1, step: 0}}", "is no range"),
        ("a: {conditions: 3, options: 4}", "write {conditions"),
        ("a: 1\nb: []", r"bad.yaml:2:1: b: \[\] leads to no value"),
        ("a: {range: {start: 3, end: 1}}", "leads to no value"),
        ("a: {range: {start: 0.3, end: 0.1, step: 0.1}}", "leads to no value"),
        ("a: {range: {start: 0, end: .inf}}", "is no range"),
        ("a: {range: {start: 0, end: 1, stp: 0.1}}", "is no range"),
        ("a: {range: {start: 0.1, end: 0.0, step: 0.1}}", "leads to no value"),
        ("a: {range: {start: 0.0, end: 1.0, step: 1e-9}}", "has 1,000,000,000 values"),
        ("a: 1\nb: {conditions: [[aa, 1]], options: [1]}", "bad.yaml:2:1: b: .* did you mean 'a'"),
        ("b: {condition: [[a, 1]], options: [1]}", "write {conditions"),
        ("1: [2, 3]", "1 is no key; write a word"),
        ("b: {conditions: [[[a], 1]], options: [2]}", "which is not in the sweep"),
        ("parameter_group: [{a: 1}]", "did you mean 'parameter_groups'"),
        ("a: 1\nb: {conditions: [[a, 1]], options: []}", "bad.yaml:2:1: b: .* has no options"),
        ("parameter_groups: {a: 1}", "are no groups; write a list of mappings"),
        ("parameter_groups:\n- a: 1\n- b: []", r"bad.yaml:3:3: parameter_groups\[1\].b"),
        ("a: 1\n---\na: 2\nb: {range: 3}\n", "bad.yaml:4:1: b: 3 is no range"),
        ("", "bad.yaml: holds no sweep"),
    ],
)
def test_what_is_no_sweep_is_named_before_anything_is_tried(tmp_path: Path, text: str, said: str):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        next(combinations(file))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="give the path"):
        list(combinations(tmp_path / "none.yaml"))


ANCESTOR = os.environ.get("ESPALIER_ANCESTOR", "")
MOST = 2000
"""Combinations of one file that are compared; only two files of the ancestor have more."""


@pytest.mark.skipif(
    not ANCESTOR, reason="ESPALIER_ANCESTOR names no checkout of ReaLLMASIC/nanoGPT"
)
def test_the_ancestors_own_files_expand_as_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = Path(ANCESTOR, "optimization_and_search", "run_experiments.py")
    spec = importlib.util.spec_from_file_location("run_experiments", script)
    assert spec is not None
    assert spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    monkeypatch.chdir(tmp_path)  # it makes a folder where it is imported
    spec.loader.exec_module(theirs)
    files = [f for f in Path(ANCESTOR, "explorations").rglob("*") if f.suffix in (".json", ".yaml")]
    assert len(files) > 70
    for file in files:
        sweeps = theirs.load_configurations(str(file), file.suffix[1:])
        wanted = itertools.chain.from_iterable(map(theirs.generate_combinations, sweeps))
        told = [itertools.islice(each, MOST) for each in (wanted, combinations(file))]
        for want, found in itertools.zip_longest(*told, fillvalue={}):
            assert _plain(want) == _plain(found), file.name


def _plain(combination: dict[str, Any]) -> list[tuple[str, str]]:
    """Numbers as PyYAML misreads them, ``1e-4`` for one, are words: compare by value."""
    return [(key, _number(value)) for key, value in combination.items()]


def _number(value: Any) -> str:
    try:
        return f"{float(value):.10g}"
    except (TypeError, ValueError):
        return json.dumps(value)


def test_a_grid_is_every_combination_once():
    world = Hill(space={key: SPACE[key] for key in ("width", "layers", "layers[*].heads")})
    search = Simulation(Grid(), world.problem(confirm=0), world)
    search.run()
    assert len({trial.config_id for trial in search.history}) == len(search.history)
    layers = sum(3**count for count in range(1, 5))
    listed = list(Grid().listing(search.problem))
    assert len(listed) == 6 * layers
    assert listed.count({}) == 1
    assert lattice_of(search.problem).size == 6 * layers


def test_a_grid_tells_how_far_it_has_to_go(tmp_path: Path):
    file = tmp_path / "sweep.yaml"
    file.write_text("width: [48, 64, 80]\nrate: [0.01, 0.02]\n")
    world = Hill(limit=1e9, space={"width": SPACE["width"]})
    for grid in (Grid(), Grid(file=str(file))):
        search = Simulation(grid, world.problem(confirm=0), world)
        asked = grid.propose(search.problem, search.history)
        assert isinstance(asked, Run)
        assert asked.expected in (6, 7)  # a file's grid may leave the baseline out
        search.run(max_trials=4)
        asked = grid.propose(search.problem, search.history)
        assert isinstance(asked, Run)
        assert 2 <= asked.expected <= 3


def test_a_grid_goes_on_to_its_end_when_space_or_seeds_were_changed():
    """What was trained before counts for nothing but itself."""
    world = Hill(limit=1e9, space={"rate": {"choices": [0.01, 0.02, 0.03]}})
    before = Simulation(Grid(), world.problem(confirm=0), world)
    before.run()
    world = Hill(limit=1e9, space={"rate": {"choices": [0.01, 0.04, 0.05, 0.06]}})
    after = Simulation(Grid(), world.problem(confirm=0), world)
    for trial in before.history:
        after.history.put(trial)
    after.run()
    tried = {trial.request.description.config["rate"] for trial in after.history}
    assert {0.01, 0.02, 0.03, 0.04, 0.05, 0.06} <= tried


def test_a_sweep_file_ends_when_it_is_used_up(tmp_path: Path):
    file = tmp_path / "sweep.yaml"
    file.write_text("width: [48, 64, 80]\n")
    world = Hill(limit=1e9)
    search = Simulation(Grid(file=str(file)), world.problem(confirm=0), world)
    search.run()
    assert "the space is used up" in " ".join(d.words for d in search.history.decisions)


@pytest.mark.parametrize("kind", [Grid, Random, Optuna])
def test_no_more_is_expected_than_there_is(kind: type[Sampling]):
    world = Hill(limit=1e9, space={"width": SPACE["width"]})
    for trials in (None, 1000):
        search = Simulation(kind(trials=trials), world.problem(confirm=0), world)
        assert search.strategy.expected(search.problem).most == 6
        asked = search.strategy.propose(search.problem, search.history)
        assert isinstance(asked, Run)
        assert asked.expected == 6
        search.run()
        assert len(search.history) == 6
    assert kind(trials=4).expected(world.problem(confirm=0)).most == 4


def test_a_grid_too_large_to_walk_is_refused():
    world = Hill(space={**SPACE, "layers": {"duplicate": "each", "max": 12}})
    with pytest.raises(InputError, match="cap it with trials"):
        Simulation(Grid(), world.problem(), world).run(max_trials=3)


def test_a_sweep_file_is_searched_in_its_order(tmp_path: Path):
    file = tmp_path / "sweep.yaml"
    file.write_text("width: [48, 64, 80]\nrate: [0.01, 0.02]\nnowhere_known: 1\n")
    world = Hill(limit=1e9)
    grid = Grid(file=str(file))
    assert [row["width"] for row in grid.listing(world.problem())] == [48, 48, 64, 64, 80, 80]
    search = Simulation(grid, world.problem(confirm=0), world)
    search.run()
    tried = [t.request.description.config for t in search.history][1:]
    assert [(c["width"], c["rate"]) for c in tried] == [
        (width, rate) for width in (48, 64, 80) for rate in (0.01, 0.02)
    ]
