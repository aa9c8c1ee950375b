import math
import time

import pytest
import yaml as pyyaml  # noqa: TID251  # what the ancestor's viewers read with

from search.exploration import Exploration, load
from search.history import History
from search.results import QUICK, ResultsFile, derive, rerun
from search.simulation import Simulation
from search.strategies.greedy import Greedy
from spec import yaml
from tests.search.toy import exploration
from tests.search.worlds import Bowl, problem


@pytest.fixture
def asked(tmp_path) -> Exploration:
    return load(exploration(tmp_path))[0]


def played(world, **options):
    simulation = Simulation(Greedy(**options), problem(world), world)
    simulation.run()
    return simulation.problem.baseline, simulation.history


def test_the_layout_is_the_one_the_ancestors_viewers_read(asked):
    found = derive(asked, *played(Bowl(failing={"b": 8}), combine=False))
    told = pyyaml.safe_load(yaml.dump(found))
    start, *rounds = told["iterations"]
    assert start["iter"] == -1
    assert {"loss", "score", "params", "best_iter", "peak_gpu_mb", "iter_latency_avg"} <= set(
        start["baseline_metrics"]
    )
    assert start["baseline_config_after"] == told["baseline_config"]
    for number, block in enumerate(rounds):
        assert block["iter"] == number
        for candidate in block["candidates"]:
            numbers = (
                "avg_loss",
                "avg_score",
                "best_val_loss",
                "delta_score",
                "delta_params",
                "efficiency",
            )
            assert all(isinstance(candidate[key], int | float) for key in numbers)
            assert isinstance(candidate["best_iter"], int)
            assert isinstance(candidate["num_params"], int)
            assert {"param", "value", "seeds"} <= set(candidate)
            assert candidate["avg_score"] == pytest.approx(math.exp(-candidate["avg_loss"]))
    assert rounds[0]["chosen"]["param"] in ("a", "c")
    assert rounds[-1]["chosen"] is None
    assert told["stop_reason"] == rounds[-1]["decision"]


def test_an_accepted_step_shows_selected_and_confirmed_values_side_by_side(asked):
    told = derive(asked, *played(Bowl(), max_rounds=1))
    block = told["iterations"][1]
    assert block["baseline_metrics"] == block["chosen"]["confirmed"]
    assert block["chosen"]["confirmed"]["loss"] != block["chosen"]["avg_loss"]
    assert "p = " in block["decision"]
    assert block["attempts"][-1]["confirmed"]


def test_a_step_of_several_changes_names_them_all(asked):
    found = derive(asked, *played(Bowl(slope=0.1, noise=0.003), race=8, max_rounds=1))
    told = pyyaml.safe_load(yaml.dump(found))
    chosen = told["iterations"][1]["chosen"]
    assert chosen["value"] == {"a": 8, "b": 8, "c": 8}
    assert sorted(chosen["param"].split(", ")) == ["a", "b", "c"]
    assert chosen["key"] == ", ".join(f"{path} x2" for path in chosen["param"].split(", "))
    assert chosen["delta_params"] == chosen["delta_cost"]["change"] == 1200
    assert chosen["gain"]["mean"] > 0
    assert told["iterations"][1]["baseline_config_after"] == {"a": 8, "b": 8, "c": 8}


def test_the_incumbent_is_known_by_the_seeds_that_confirmed_it(asked):
    found = derive(asked, *played(Bowl(slope=0.1, noise=0.003)))
    *_, last, end = found["iterations"]
    assert not end["attempts"]
    assert found["incumbent"]["loss"] == last["chosen"]["confirmed"]["loss"]


def test_what_was_not_measured_is_listed_with_its_reason(asked):
    told = derive(asked, *played(Bowl(failing={"b": 8}, impossible={"c": 8}), max_rounds=1))
    reasons = {left["key"]: left["reason"] for left in told["iterations"][1]["not_measured"]}
    assert "diverged" in reasons["b x2"]
    assert "impossible" in reasons["c x2"]
    assert told["failures"][0]["reason"] == "diverged"


@pytest.mark.parametrize("trials", [0, 1, 2])
def test_a_study_of_almost_nothing_has_results(asked, trials):
    baseline, history = played(Bowl(), max_rounds=1)  # behaviours 49
    few = History([trial for trial in history if trial.number < trials])
    told = pyyaml.safe_load(yaml.dump(derive(asked, baseline, few)))
    assert told["iterations"][0]["baseline_metrics"]["params"] == 1200
    assert told["trials"]["finished"] == trials


def test_writing_again_and_again_takes_a_small_share_of_the_time(asked, tmp_path):
    baseline, history = played(Bowl())
    file = ResultsFile(tmp_path / "results.yaml", asked, baseline, history)
    file.changed(0)
    first = (tmp_path / "results.yaml").stat().st_mtime_ns
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        file.changed(0)
    assert (tmp_path / "results.yaml").stat().st_mtime_ns == first
    file.decided(history.decisions[-1])
    second = (tmp_path / "results.yaml").stat().st_mtime_ns
    assert second > first
    file._took = QUICK + 1.0  # as in a study of thousands of trials
    file.decided(history.decisions[-1])
    assert (tmp_path / "results.yaml").stat().st_mtime_ns == second
    file.write()
    assert (tmp_path / "results.yaml").stat().st_mtime_ns > second
    assert [item.name for item in tmp_path.glob(".results*")] == []


def test_the_command_to_rerun_is_quoted_for_a_shell():
    _, history = played(Bowl(), max_rounds=1)
    trial = history[0]
    told = {"command": ["python", "-c", "print('a b')"], "cwd": "/tmp/a b"}
    assert rerun(type(trial)(0, trial.request, "finished", told)).startswith(
        "cd '/tmp/a b' && python -c "
    )
