from dataclasses import replace

import pytest

from search.ledger import Ledger, Total
from search.simulation import Simulation
from search.strategies.greedy import Greedy
from search.strategies.random import Random
from search.summary import open_study
from spec import yaml
from tests.search.landscape import Hill
from tests.search.test_run import run
from tests.search.toy import exploration


def test_a_total_ends_the_study_and_raising_it_goes_on(tmp_path):
    capped = exploration(tmp_path, budget={"total": {"trials": 7}})  # behaviours 30
    assert "the budget is spent: 7 of 7 trials" in run(capped, tmp_path).stdout
    assert len(open_study(tmp_path / "toy").history) == 7
    assert "nothing left to do" in run(capped, tmp_path).stdout
    more = exploration(tmp_path, budget={"total": {"trials": 11}})
    run(more, tmp_path)
    assert len(open_study(tmp_path / "toy").history) == 11


def test_the_total_does_not_make_another_trial_of_a_trial(tmp_path):
    run(exploration(tmp_path, budget={"total": {"trials": 9}}), tmp_path)
    run(exploration(tmp_path), tmp_path)
    done = [(t.config_id, t.seed) for t in open_study(tmp_path / "toy").history]
    assert len(done) == len(set(done))


def test_failed_trials_are_paid_for_and_seconds_add_up(tmp_path):
    space = {"mode": {"choices": ["fine", "crash"]}, "rate": {"scale": 2, "max": 4}}
    file = exploration(tmp_path, space=space, budget={"total": {"train_seconds": 8}})
    done = run(file, tmp_path)
    history = open_study(tmp_path / "toy").history
    failed = next(trial for trial in history if trial.state == "failed")
    assert f"failed (the first, trial {failed.number}: {failed.failure})" in done.stdout
    spent = Ledger.of(history)
    assert spent.trials == len(history)
    assert spent.train_seconds == pytest.approx(
        sum(t.curve[-1].train_seconds for t in history if t.curve)
    )
    assert 5 < spent.train_seconds <= 8  # a trial takes one to four
    assert spent.joules is None  # behaviours 46
    told = yaml.read(tmp_path / "toy" / "results.yaml").data["spent"]
    assert told["trials"] == spent.trials


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("strategy", [Greedy(), Random()])
@pytest.mark.parametrize("total", [Total(trials=10), Total(train_seconds=20.0)])
def test_a_total_is_a_cap_for_every_strategy(workers, strategy, total):
    world = Hill(noise=0.002)  # a trial takes 1 to 7 seconds
    asked = replace(world.problem(workers), total=total)
    search = Simulation(strategy, asked, world, workers)
    stop = search.run()
    ledger = Ledger.of(search.history)
    assert stop is not None
    assert "budget is spent" in stop.words
    if total.trials:
        assert ledger.trials == total.trials
    else:
        assert 8 < ledger.train_seconds < 20 + 7  # what the next trial takes, nobody knows
    assert search.run() is not None  # and again nothing is launched
    assert Ledger.of(search.history).trials == ledger.trials


def test_a_dry_run_says_how_far_the_total_goes(tmp_path):
    for trials, ends in ((6, ", too few for that decision"), (99, "")):
        file = exploration(tmp_path, budget={"total": {"trials": trials}})
        told = run(file, tmp_path, "--dry-run").stdout.splitlines()
        assert f"budget.total.trials pays for {trials} trials{ends}" in told
    drawn = {"kind": "random", "trials": None}
    file = exploration(tmp_path, budget={"total": {"trials": 12}}, strategy=drawn)
    told = run(file, tmp_path, "--dry-run").stdout.splitlines()
    assert any(line.startswith("budget.total.trials pays for 12 trials") for line in told)


def test_nothing_is_spent_by_nothing():
    assert Ledger.of([]).exceeded(Total(trials=1, train_seconds=1.0)) == ""
