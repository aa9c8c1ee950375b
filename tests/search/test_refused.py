"""Refused input: said once at its place, with the way out, and nothing is left behind."""

import re
from typing import Any

import pytest

from search.session import kept_aside
from search.summary import open_study
from spec.errors import InputError
from tests.search.test_run import run
from tests.search.toy import exploration

REFUSED: dict[str, dict[str, Any]] = {
    "a limit no candidate meets": {"objective": {"limits": {"parameters": 10}}},
    "a path that leads nowhere": {"space": {"widht": {"step": 1}}},
    "a baseline the trainer refuses": {"baseline": {"width": 7}},
    "a device that is not there": {"executor": {"kind": "local", "device": "cuda"}},
    "a grid too large to walk": {
        "space": {"width": {"step": 1}, "rate": {"step": 1e-6, "min": 0, "max": 8}},
        "strategy": {"kind": "grid", "trials": None},
    },
}


def files(folder):
    return sorted(str(item.relative_to(folder)) for item in folder.rglob("*"))


@pytest.mark.parametrize("refused", REFUSED)
def test_a_refused_run_leaves_nothing_new(tmp_path, refused):
    file = exploration(tmp_path, **REFUSED[refused])
    run(file, tmp_path / "new" / "studies", check=2)
    assert files(tmp_path) == ["toy.yaml"]


def test_a_refused_run_leaves_the_neighbours_of_its_folder_alone(tmp_path):
    (tmp_path / "studies" / "other").mkdir(parents=True)
    run(exploration(tmp_path, baseline={"width": 7}), tmp_path / "studies", check=2)
    assert files(tmp_path / "studies") == ["other"]


def test_a_refused_fresh_start_brings_the_old_study_back(tmp_path):
    run(exploration(tmp_path), tmp_path, "--max-trials", "1")
    before = files(tmp_path / "toy")
    run(exploration(tmp_path, baseline={"width": 7}), tmp_path, "--fresh", check=2)
    assert files(tmp_path / "toy") == before
    assert not (tmp_path / "toy.1").exists()
    assert len(open_study(tmp_path / "toy").history) == 1


def test_a_fresh_start_that_has_trained_keeps_what_it_has(tmp_path):
    (tmp_path / "toy" / "trials").mkdir(parents=True)
    new = tmp_path / "toy" / "trials" / "0000"

    def fresh():
        with kept_aside(tmp_path / "toy"):
            new.mkdir(parents=True)
            raise InputError("later")

    with pytest.raises(InputError, match="later"):
        fresh()
    assert new.exists()
    assert (tmp_path / "toy.1" / "trials").exists()


def test_every_path_that_leads_nowhere_is_told_at_its_line(tmp_path):
    space = {"width": {"step": 2}, "widht": {"step": 2}, "layers[*].head": {"step": 1}}
    file = exploration(tmp_path, space=space)
    lines = file.read_text().splitlines()
    first, second = (1 + lines.index(f"  {key}:") for key in ("widht", "'layers[*].head'"))
    for told in (run(file, tmp_path, check=2), run(file, tmp_path, "--dry-run", check=2)):
        assert f"toy.yaml:{first}:3: space: widht: no key 'widht'" in told.stderr
        assert "did you mean 'width'" in told.stderr
        assert f"toy.yaml:{second}:3: space: layers[*].head: no key 'head'" in told.stderr


def test_a_rule_without_an_end_is_refused_by_the_dry_run_too(tmp_path):
    file = exploration(tmp_path, space={"width": {"step": 2}}, strategy={"kind": "guided"})
    line = 1 + file.read_text().splitlines().index("  width:")
    for told in (run(file, tmp_path, check=2), run(file, tmp_path, "--dry-run", check=2)):
        place = f"toy.yaml:{line}:3: space.width"
        assert f"{place}: no max, so this strategy cannot lay out its values" in told.stderr
        assert not told.stdout


def test_too_large_a_grid_is_refused_before_anything_is_trained(tmp_path):
    space = {"width": {"step": 2, "max": 2000}, "rate": {"scale": 1.001, "min": 1.0, "max": 4.0}}
    file = exploration(tmp_path, space=space, strategy={"kind": "grid"})
    line = 1 + file.read_text().splitlines().index("strategy:")
    for told in (run(file, tmp_path, check=2), run(file, tmp_path, "--dry-run", check=2)):
        assert f"toy.yaml:{line}:1: strategy: the space has" in told.stderr
        assert not told.stdout


@pytest.mark.parametrize("how", [(), ("--dry-run",)])
def test_trials_that_are_all_kept_for_confirming_are_refused(tmp_path, how):
    file = exploration(tmp_path, strategy={"kind": "random", "trials": 7, "finalists": 2})
    line = 1 + file.read_text().splitlines().index("  trials: 7")
    said = run(file, tmp_path, *how, check=2).stderr
    assert f"toy.yaml:{line}:3: strategy.trials: 7 trials leave too few to explore with: 6" in said
    assert "ask for 8 or more" in said


def test_a_config_needs_trials_for_all_seeds_of_its_screen(tmp_path):
    few, enough = (
        exploration(
            tmp_path,
            name=f"{trials}.yaml",
            strategy={"kind": "random", "trials": trials},
            seeds={"screen": 3, "confirm": 1},
        )
        for trials in (8, 9)
    )
    assert "ask for 9 or more" in run(few, tmp_path, "--dry-run", check=2).stderr
    run(enough, tmp_path, "--dry-run")


def test_an_impossible_limit_says_that_the_baseline_is_over_it_too(tmp_path):
    file = exploration(tmp_path, objective={"limits": {"parameters": 10}})
    said = run(file, tmp_path, check=2).stderr
    assert "and the baseline itself is out: parameters 1,400 is over the limit 10" in said
    narrow = exploration(tmp_path, space={"width": {"choices": [7, 14]}})
    said = run(narrow, tmp_path, check=2).stderr
    assert "toy.yaml:3:1: space: no neighbour of the baseline can be trained; widen" in said


@pytest.mark.parametrize("kind", ["greedy", "guided", "random", "grid"])
@pytest.mark.parametrize("how", [(), ("--dry-run",), ("--dry-run", "--json")])
def test_a_limit_that_nothing_keeps_is_refused_by_every_strategy(tmp_path, kind, how):
    space = {"width": {"step": 2, "min": 4, "max": 20}}
    strategy = {"kind": kind}
    file = exploration(
        tmp_path, objective={"limits": {"parameters": 10}}, space=space, strategy=strategy
    )
    told = run(file, tmp_path, *how, check=2)
    line = 1 + file.read_text().splitlines().index("  limits:")
    said = f"toy.yaml:{line}:3: objective.limits: no neighbour of the baseline can be trained"
    assert said in told.stderr
    assert "width +2: parameters 1,600 is over the limit 10" in told.stderr
    assert not told.stdout


def test_a_strategy_that_leaps_passes_over_neighbours_that_are_out(tmp_path):
    space = {"width": {"step": 3, "min": 4, "max": 10}}  # 7 is impossible, 10 is two steps away
    random, greedy = (
        exploration(tmp_path, name=f"{kind}.yaml", space=space, strategy={"kind": kind})
        for kind in ("random", "greedy")
    )
    assert "width 10" in run(random, tmp_path, "--dry-run").stdout
    assert "1 config drawn first" in run(random, tmp_path, "--dry-run").stdout
    said = run(greedy, tmp_path, "--dry-run", check=2).stderr
    assert "no neighbour of the baseline can be trained" in said
    assert "width +3: width 7 is a multiple of 7" in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("seeds.max=five", "--set seeds.max: 'five' (str) should be an integer"),
        ("executor.workers=lots", "--set executor.workers: 'lots' (str) should be 'auto' or an"),
        ("space.width.min=x", "--set space.width.min: 'x' (str) should be an integer or a number"),
        ("space.width={stp: 1}", "--set space.width: keys stp: no such rule; did you mean 'step'"),
        ("space.layers.max=[1", "--set space.layers.max: line:1:3: not YAML"),
        ("seeds={max: x}", "--set seeds: seeds.max: 'x' (str) should be an integer"),
        ("baseline.widht=7", "--set baseline.widht: the trainer refuses it: unknown key 'widht'"),
        ("baseline=none.yaml", "--set baseline: no such file"),
    ],
)
def test_what_is_wrong_with_a_change_is_told_at_the_change(tmp_path, change, told):
    file = exploration(tmp_path, baseline={"width": 4})
    said = run(file, tmp_path, "--set", change, check=2).stderr
    assert told in said
    assert len(said.strip().splitlines()) == 1


def test_the_rest_of_the_file_keeps_its_places(tmp_path):
    file = exploration(tmp_path, seeds={"screen": "x", "max": 3})
    said = run(file, tmp_path, "--set", "seeds.max=y", check=2).stderr
    assert re.search(r"toy\.yaml:\d+:\d+: seeds\.screen: 'x'", said)
    assert "--set seeds.max: 'y'" in said


def test_combinations_of_a_sweep_that_cannot_be_trained_are_told_with_their_reasons(tmp_path):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("width: [6, 8]\nwidht: 1\nlayers: [[], [{heads: 2}]]\n")
    file = exploration(tmp_path, space={}, strategy={"kind": "grid", "file": str(sweep)})
    told = run(file, tmp_path, "--dry-run").stdout
    assert "the first 4 combinations of 4, 4 rejected" in told
    assert told.count("unknown key 'widht'") == 4
    told = run(file, tmp_path).stdout
    assert "no new config within the limits was found; 4 combinations cannot be trained" in told
    assert "unknown key 'widht'" in told


def test_a_space_of_nothing_but_the_baseline_is_refused(tmp_path):
    for kind in ("random", "guided", "grid"):
        space = {"width": {"choices": [4, 7, 14]}}
        file = exploration(tmp_path, space=space, strategy={"kind": kind})
        assert "no neighbour of the baseline can be trained" in run(file, tmp_path, check=2).stderr


def test_what_is_rare_is_not_called_impossible(tmp_path):
    space = {"width": {"step": 1, "min": 2, "max": 900}}  # only 2 is within the limit
    limits = {"limits": {"parameters": 1250}}
    asked: dict[str, Any] = {"baseline": {"width": 8}, "objective": limits, "space": space}
    for kind in ("guided", "grid"):
        file = exploration(tmp_path, strategy={"kind": kind, "trials": 20}, **asked)
        run(file, tmp_path, "--dry-run")
    assert run(file, tmp_path, "--dry-run", "--set", "strategy={kind: greedy}", check=2).stderr


def test_a_sweep_file_is_not_judged_by_the_space(tmp_path):
    (tmp_path / "sweep.yaml").write_text("width: [6, 8]\n")
    file = exploration(
        tmp_path,
        objective={"limits": {"parameters": 1800}},
        space={"width": {"choices": [80, 90]}},
        strategy={"kind": "grid", "file": str(tmp_path / "sweep.yaml")},
    )
    assert "the first 2 combinations of 2" in run(file, tmp_path, "--dry-run").stdout


@pytest.mark.parametrize(
    ("sampler", "options"), [("grid", {}), ("nsgaii", {"population_size": 1}), ("tpe", {"seed": 1})]
)
def test_options_that_a_sampler_refuses_are_told_at_their_line(tmp_path, sampler, options):
    asked = {"kind": "optuna", "sampler": sampler, "options": options}
    file = exploration(tmp_path, strategy=asked)
    for how in ((), ("--dry-run",)):
        said = run(file, tmp_path, *how, check=2).stderr
        assert "toy.yaml" in said
        assert "options" in said
