"""The ancestor's command line and log go on as a search of ours."""

import sys

import pytest

from search.convert import arguments, convert, exploration, layered, notes, overridden
from search.exploration import load
from search.results import derive, incumbent_of
from search.session import check_baseline
from search.strategies.greedy import Greedy
from search.strategies.greedy.raising import budgets
from search.summary import open_study
from search.trainers import Foreign, describe_baseline
from spec import yaml
from spec.errors import InputError
from tests.search.foreign import TOYS
from tests.search.test_run import run

EXECUTOR = "executor={kind: local, workers: 2, device: cpu, start: spawn}"
START = {"n_layer": 2, "mlp_size_layerlist": [16, 32], "learning_rate": 0.001, "seed": 7}
AFTER = {**START, "mlp_size_layerlist": [16, 48], "_last_dup_idx": 0}


def candidate(param, value, loss, size, score):
    seed = {"seed": 7, "loss": loss, "best_iter": 10, "peak_gpu_mb": 5.0, "iter_latency_ms": 3.0}
    return {"param": param, "value": value, "avg_loss": loss, "num_params": size,
            "delta_score": score, "seeds": [seed]}  # fmt: skip


LOG = {
    "baseline_config": AFTER,
    "iterations": [
        {
            "iter": -1,
            "baseline_metrics": {"loss": 3.0, "params": 48, "best_iter": 10, "peak_gpu_mb": 5.0},
            "baseline_config_after": START,
        },
        {
            "iter": 0,
            "baseline_metrics": {"loss": 2.9, "params": 64, "best_iter": 10},
            "candidates": [
                candidate("n_layer", {"dup": 0, "new_layers": 3}, 2.95, 64, 0.002),
                candidate("mlp_size_layerlist[1]", 48, 2.9, 64, 0.005),
                candidate("learning_rate", 0.002, 3.1, 48, -0.005),
            ],
            "baseline_config_after": AFTER,
        },
        {
            "iter": 1,
            "baseline_metrics": {"loss": 2.9, "params": 64, "best_iter": 10},
            "candidates": [],
            "chosen": None,
            "action": "max_iters_increased_to_20",
            "baseline_config_after": {**AFTER, "bias": True},
        },
    ],
}


@pytest.fixture
def line(tmp_path):
    """The ancestor's command line, with its settings; ``more`` goes behind it."""
    (tmp_path / "start.yaml").write_text(yaml.dump(START))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text((TOYS / "ancestor.py").read_text())

    def words(*more):
        names = ["n_layer", "mlp_size_layerlist", "learning_rate"]
        return arguments(
            ["--to", str(tmp_path / "new.yaml"), "--cwd", str(tmp_path / "code"),
             "--python", sys.executable, "--out", str(tmp_path / "out"),
             "--orig_settings", str(tmp_path / "start.yaml"), "--param_names", *names,
             "--increments", "1", "16", "0.001", "--iterations", "2",
             "--results_file", str(tmp_path / "sweep_log.yaml"), *more]
        )  # fmt: skip

    return words


def test_layer_lists_become_layers_and_are_written_as_lists_again(line, tmp_path):
    convert(line())
    found, _ = load(tmp_path / "new.yaml")
    assert found.baseline == {
        "learning_rate": 0.001,
        "layers": [{"mlp_size": 16}, {"mlp_size": 32}],
    }
    assert isinstance(found.trainer, Foreign)
    args = found.trainer.args
    assert args.write(args.spread(found.baseline)) == [
        "--learning_rate", "0.001", "--n_layer", "2", "--mlp_size_layerlist", "16", "32"
    ]  # fmt: skip


def test_every_option_has_its_meaning_or_a_remark(line):
    options = line("--num_iterations", "9", "--random_iterations", "2", "--efficiency_target",
                   "vram", "--max_iters_increase", "500")  # fmt: skip
    made = exploration(options, START)
    assert made["space"] == {
        "layers": {"duplicate": "each"},
        "layers[*].mlp_size": {"step": 16, "min": 16},
        "learning_rate": {"step": 0.001, "min": 0.001},
    }
    assert made["strategy"]["max_rounds"] == 9
    assert made["seeds"] == {"first": 7, "screen": 2, "max": 3, "confirm": 2}
    assert made["objective"]["cost"] == "peak_memory"
    remarks = "\n".join(convert(options))
    for option in ("--iterations 2", "dup_middle", "--max_iters_increase 500: not converted"):
        assert option in remarks


def test_a_max_iters_that_grows_becomes_a_budget_that_is_raised(line, tmp_path):
    start = {**START, "max_iters": 2000}
    (tmp_path / "start.yaml").write_text(yaml.dump(start))
    told = convert(line("--max_iters_increase", "500"))
    assert any("raised once to 2500 when no neighbour" in words for words in told)
    found, document = load(tmp_path / "new.yaml")
    assert "max_iters" not in found.baseline
    assert isinstance(found.trainer, Foreign)
    assert isinstance(found.strategy, Greedy)
    assert found.strategy.raise_budget is not None
    (longer,) = budgets(found.trial_budget, found.strategy.raise_budget)
    with found.trainer.describer() as describer:
        baseline = describe_baseline(describer, found.baseline)
    check_baseline(found, baseline, document)
    for budget, steps in ((found.trial_budget, 2000), (longer, 2500)):
        assert budget.max_steps == steps
        assert found.trainer.overlaid(baseline.config, 7, budget)["max_iters"] == steps


@pytest.mark.parametrize(
    ("start", "more", "why"),
    [
        ({}, (), "a whole max_iters in the settings"),
        ({"max_iters": 2000}, ("--max_iters_increase", "0"), "an increase above 0"),
        ({"max_iters": 2000}, ("--param_names", "max_iters"), "max_iters is searched itself"),
        ({"max_iters": 2000}, ("--results_file", "start.yaml"), "trials of a log keep their"),
    ],
)
def test_a_max_iters_that_cannot_be_a_budget_is_left_with_the_reason(
    line, tmp_path, monkeypatch, start, more, why
):
    monkeypatch.chdir(tmp_path)
    options = line("--increments", "1", "--max_iters_increase", "500", *more)
    made = exploration(options, {**START, **start})
    assert made["baseline"].get("max_iters") == start.get("max_iters")
    assert "raise_budget" not in made["strategy"]
    assert any(why in words for words in notes(options, {**START, **start}))


def test_overrides_are_literals_or_text():
    changed = overridden({"a": 1}, ["a=2.5", "b=True", "c=words here", "d=[1, 2]"])
    assert changed == {"a": 2.5, "b": True, "c": "words here", "d": [1, 2]}
    with pytest.raises(InputError, match="write KEY=VALUE"):
        overridden({}, ["a"])


def test_what_cannot_be_converted_is_named(line, tmp_path):
    with pytest.raises(InputError, match="3 values for 2 layers"):
        layered({"n_layer": 2, "mlp_size_layerlist": [1, 2, 3]})
    with pytest.raises(InputError, match="only numbers can be searched"):
        exploration(line(), {"n_layer": 2, "mlp_size_layerlist": [1, 2], "learning_rate": "x"})
    (tmp_path / "sweep_log.yaml").write_text("iterations: []")
    with pytest.raises(InputError, match="should begin with an iteration -1"):
        convert(line())


def test_a_log_is_imported_as_a_study_that_goes_on(line, tmp_path):
    (tmp_path / "sweep_log.yaml").write_text(yaml.dump(LOG))
    told = convert(line("--num_iterations", "3"))
    assert "imported 4 single-seed measurements" in "\n".join(told)
    before = open_study(tmp_path / "out" / "new").history
    assert all(trial.facts["imported"] for trial in before)
    first, second = (step.words for step in before.accepted)
    assert "mlp_size +16: imported from sweep_log.yaml, single-seed" in first
    assert "max_iters_increased_to_20: imported" in second
    done = run(tmp_path / "new.yaml", tmp_path / "out", "--set", EXECUTOR)
    assert "round 2" in done.stdout
    assert (tmp_path / "out" / "new" / "report.html").is_file(), done.stdout
    study = open_study(tmp_path / "out" / "new")
    assert len(study.history) > 4
    assert [t.state for t in study.history if "imported" not in t.facts].count("failed") == 0
    asked, _ = load(tmp_path / "new.yaml")
    results = derive(asked, before[0].request.description, study.history)
    assert [block["iter"] for block in results["iterations"]][:3] == [-1, 0, 2]
    assert results["iterations"][1]["chosen"]["key"] == "layers[1].mlp_size +16"
    assert incumbent_of(before[0].request.description, before)[1]["layers"][1] == {"mlp_size": 48}


def test_a_log_is_not_imported_over_a_study(line, tmp_path):
    (tmp_path / "sweep_log.yaml").write_text(yaml.dump(LOG))
    convert(line())
    with pytest.raises(InputError, match="holds a study already"):
        convert(line())
