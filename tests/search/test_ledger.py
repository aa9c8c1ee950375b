import pytest

from search.ledger import Ledger, Total
from search.summary import open_study
from spec import yaml
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
    run(file, tmp_path)
    history = open_study(tmp_path / "toy").history
    spent = Ledger.of(history)
    assert spent.trials == len(history)
    assert spent.train_seconds == pytest.approx(
        sum(t.curve[-1].train_seconds for t in history if t.curve)
    )
    assert spent.train_seconds >= 8
    assert spent.joules is None  # behaviours 46
    told = yaml.read(tmp_path / "toy" / "results.yaml").data["spent"]
    assert told["trials"] == spent.trials


def test_nothing_is_spent_by_nothing():
    assert Ledger.of([]).exceeded(Total(trials=1, train_seconds=1.0)) == ""
