"""Costs that a script's describe does not tell: measured by every strategy, limits judged after."""

import json
import re

import pytest

from search.exploration import load
from search.strategies import strategies
from search.summary import open_study
from spec import yaml
from spec.errors import ConfigError
from tests.search.foreign import PYTHON, exploration
from tests.search.test_run import run

PRINTED = r"step (?P<step>\d+):.* val loss (?P<val_loss>\S+)"
SMALL = {"trials": 9, "finalists": 1}
ASKED = {"greedy": {"max_rounds": 1}, "guided": SMALL | {"scatter": 2}}


def told(folder):
    return open_study(folder / "toy").history


def asked(kind):
    return {"kind": kind, **ASKED.get(kind, SMALL)}


def best_is_wide(kind, **objective):
    """Wider is better here, and a limit lies between the baseline and the next width."""
    return {
        "strategy": asked(kind),
        "space": {"width": {"scale": 2, "min": 2, "max": 8}},
        "objective": {"limits": {"parameters": 4500}, **objective},
        "seeds": {"screen": 1, "max": 2, "confirm": 1},
    }


@pytest.mark.parametrize("kind", sorted(strategies))
def test_every_strategy_measures_a_cost_it_cannot_ask_for_and_keeps_its_limit(tmp_path, kind):
    done = run(exploration(tmp_path, **best_is_wide(kind)), tmp_path)
    history = told(tmp_path)
    assert {t.inventory["parameters"] for t in history if t.end} == {2000, 4000, 8000}
    assert not history.accepted, done.output


def test_describe_that_tells_one_cost_leaves_the_other_to_be_measured(tmp_path):
    size = "import json, sys; print(json.dumps(dict(flops_per_token=int(sys.argv[1]))))"
    trainer = {"describe": [*PYTHON, "-c", size, "{width}"]}
    options = best_is_wide("guided", cost="flops")
    run(exploration(tmp_path, trainer, **options), tmp_path)
    assert not told(tmp_path).accepted


def test_describe_that_falls_silent_is_named(tmp_path):
    size = "import json, sys; w = int(sys.argv[1]); "
    size += "print(json.dumps(dict(parameters=w * 1000) if w == 4 else {{}}))"
    trainer = {"describe": [*PYTHON, "-c", size, "{width}"]}
    done = run(exploration(tmp_path, trainer, strategy=asked("guided")), tmp_path, check=2)
    assert "describe tells parameters of the baseline, but not of config" in done.stderr


def test_caps_on_a_cost_that_must_be_measured_are_refused(tmp_path):
    strategy = {"kind": "guided", "trials": 9, "caps": [3000, 5000], "scatter": 0}
    done = run(exploration(tmp_path, strategy=strategy), tmp_path, check=2)
    assert re.search("strategy.caps: parameters is not known before training", done.stderr)
    assert "leave caps out" in done.stderr
    assert not (tmp_path / "toy").exists(), "refused before anything was trained"


@pytest.mark.parametrize(
    ("limit", "refused"),
    [("parameters", True), ("flops", True), ("peak_memory", True), ("train_seconds", False)],
)
def test_a_limit_on_what_nobody_tells_is_refused(tmp_path, limit, refused):
    trainer = {"metrics": {"regex": PRINTED}}
    file = exploration(tmp_path, trainer, objective={"limits": {limit: 10}})
    if not refused:
        load(file)
        return
    with pytest.raises(ConfigError) as error:
        load(file)
    assert f"objective.limits.{limit}: nothing tells {limit}; let a reader" in str(error.value)


@pytest.mark.parametrize(
    ("limit", "refused"), [("parameters", False), ("memory", False), ("step_ms", True)]
)
def test_a_describe_command_counts_only_for_limits_it_could_tell(tmp_path, limit, refused):
    trainer = {"metrics": {"regex": PRINTED}, "describe": [*PYTHON, "-c", "print('{{}}')"]}
    file = exploration(tmp_path, trainer, objective={"limits": {limit: 10}})
    if not refused:
        load(file)
        return
    with pytest.raises(ConfigError) as error:
        load(file)
    assert f"nothing tells {limit}; let a reader of trainer.metrics tell it" in str(error.value)
    assert "or a describe command" not in str(error.value)


def test_a_limit_is_refused_when_describe_turns_out_not_to_tell_its_cost(tmp_path):
    trainer = {"metrics": {"regex": PRINTED}, "describe": [*PYTHON, "-c", "print('{{}}')"]}
    file = exploration(tmp_path, trainer, objective={"limits": {"memory": 10}})
    done = run(file, tmp_path, check=2)
    assert "objective.limits.memory: nothing tells memory" in done.stderr
    assert not (tmp_path / "toy").exists(), "refused before anything was trained"


def test_a_limit_that_no_trial_could_be_held_against_rejects_it(tmp_path):
    optional = {"regex": r"params (?P<parameters>\d+)", "optional": True}
    trainer = {"metrics": [{"regex": PRINTED}, optional]}
    run(exploration(tmp_path, trainer, objective={"limits": {"parameters": 10}}), tmp_path)
    (*_, decision) = told(tmp_path).decisions
    assert decision.kind == "stop"
    assert "parameters was never told" in json.dumps(decision.detail["candidates"])


def test_a_report_shows_what_trials_told_of_themselves(tmp_path):
    run(exploration(tmp_path, report=True), tmp_path, "--max-trials", "1")
    assert '"4,000"' in (tmp_path / "toy/report.html").read_text()


def test_the_start_record_holds_the_device_and_threads_of_the_slot(tmp_path):
    run(exploration(tmp_path), tmp_path, "--max-trials", "1")
    (trial,) = told(tmp_path)
    start = json.loads((tmp_path / "toy/trials/0000/metrics.jsonl").read_text().splitlines()[0])
    assert (start["device"], start["threads"]) == ("cpu", trial.facts["threads"])
    assert yaml.read(tmp_path / "toy/trials/0000/environment.yaml").data["script"]
