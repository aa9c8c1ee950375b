"""What GPUs consume: read around each trial, added up, limited; and unknown is not zero."""

import os
import signal
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from search.executors import energy
from search.executors.energy import consumed, first_reading, last_reading
from search.history import Trial
from search.ledger import Ledger, Total
from search.study import Study
from search.summary import open_study, summary, summary_lines
from spec import yaml
from spec.records import Eval
from tests.search.test_executors_devices import write_smi
from tests.search.test_run import children_of, run, start, wait_for
from tests.search.toy import exploration

A, B = "GPU-aaaa1111-0000", "GPU-bbbb2222-0000"
FAKE = Path(__file__).parent.parent / "toys" / "nvml"
LOCAL = {"kind": "local", "start": "spawn", "grace": 5}


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """A machine with two GPUs that draw 100 W each, here and for what is started from here."""
    (tmp_path / "bin").mkdir()
    write_smi(tmp_path / "bin", f"printf '0, {A}\\n1, {B}\\n'")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(FAKE), prepend=os.pathsep)
    monkeypatch.setenv("ESPALIER_RUNTIME", str(tmp_path / "locks"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    energy._nvml.cache_clear()
    yield
    energy._nvml.cache_clear()


def on_gpus(folder, **changes):
    return exploration(folder, **{"executor": LOCAL, **changes})


def trial(number=0, curve=True, ended=1.0, **facts):
    point = Eval(step=1, train_seconds=1.0, val_loss=1.0)
    return Trial(number, None, "finished", facts, (point,) if curve else (), ended=ended)


def metered(before, after, **more):
    return trial(energy={"counter": A, "started": before, "ended": after}, **more)


# The counter


def test_without_a_driver_nothing_is_known():
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert consumed(A) is None
    else:
        pynvml.nvmlShutdown()
        pytest.skip("this machine has a driver")


def test_the_counter_tells_joules_and_grows(gpus):
    first, second = consumed(A), consumed(A)
    assert 0 < first <= second
    assert first == pytest.approx(energy._nvml().nvmlDeviceGetTotalEnergyConsumption(A) / 1000)


@pytest.mark.parametrize(
    ("lacks", "uuid"),
    [("driver", A), ("counter", A), ("", "MIG-1234"), ("", "gone")],
)
def test_what_cannot_be_read_is_unknown(gpus, monkeypatch, lacks, uuid):
    monkeypatch.setenv("FAKE_NVML", lacks)
    assert consumed(uuid) is None
    assert first_reading(uuid) == {}


def test_the_end_is_read_only_where_the_start_was(gpus, monkeypatch):
    assert last_reading({"device": "cpu"}) == {}
    facts = first_reading(A)
    ended = last_reading(facts)["energy"]
    assert ended["counter"] == A
    assert ended["started"] == facts["energy"]["started"] <= ended["ended"]
    monkeypatch.setenv("FAKE_NVML", "counter")
    assert last_reading(facts) == {}


# What a trial and a study took


def test_a_trial_took_the_difference_and_a_broken_counter_tells_nothing():
    assert metered(100.0, 350.0).joules == 250.0
    assert metered(350.0, 100.0).joules is None  # the driver was loaded anew
    assert metered(100.0, 100.0).joules is None
    assert metered(100.0, 100.0, curve=False).joules == 0.0  # died before the counter moved
    assert trial(energy={"counter": A, "started": 1.0}).joules is None
    assert trial().joules is None


def test_one_unknown_trial_makes_the_sum_unknown():
    known = [metered(0.0, 30.0), metered(30.0, 42.5)]
    running, unstarted = trial(ended=None), trial(curve=False)
    assert Ledger.of([]).joules == 0.0
    assert Ledger.of([*known, running, unstarted]).joules == 42.5
    assert Ledger.of([*known, trial()]).joules is None
    assert Ledger.of([*known, trial(curve=False, process={"pid": 1})]).joules is None
    assert Ledger.of([trial(), *known]).full()["joules"] is None


def test_a_limit_on_energy_is_kept_or_said_to_be_lost():
    assert Ledger.of([metered(0.0, 99.0)]).exceeded(Total(joules=100)) == ""
    spent = Ledger.of([metered(0.0, 1200.0)]).exceeded(Total(joules=1000))
    assert spent == "the budget is spent: 1,200 of 1,000 joules"
    lost = Ledger.of([trial()]).exceeded(Total(joules=1000))
    assert "the budget of 1,000 joules cannot be kept: a trial ended without a reading" in lost


@pytest.mark.parametrize(
    ("joules", "words"),
    [
        (12.0, "12 J on GPUs"),
        (999.6, "1 kJ on GPUs"),
        (12345.0, "12.3 kJ on GPUs"),
        (3.6e6, "3.6 MJ on GPUs"),
        (0.0, ""),
    ],
)
def test_energy_for_people(joules, words):
    assert Ledger.of([metered(0.0, joules, curve=False)]).energy == words


# Whole searches


def test_a_search_on_gpus_tells_what_every_trial_took(gpus, tmp_path):
    space = {"mode": {"choices": ["fine", "crash"]}, "rate": {"scale": 2, "max": 4}}
    file = on_gpus(tmp_path, space=space, baseline={"seconds": 0.02}, report=True)
    said = run(file, tmp_path).stdout
    opened = open_study(tmp_path / "toy")
    assert {trial.state for trial in opened.history} == {"finished", "failed"}
    assert all(trial.joules > 0 for trial in opened.history)
    assert not overlaps(opened.history)
    spent = Ledger.of(opened.history)
    assert spent.joules == pytest.approx(sum(trial.joules for trial in opened.history))
    told = yaml.read(tmp_path / "toy" / "results.yaml").data["spent"]["joules"]
    assert told == pytest.approx(spent.joules)
    assert f"; {spent.energy}" in said
    assert f"spent {spent.energy}" in summary_lines(summary(tmp_path / "toy"))
    assert spent.energy in (tmp_path / "toy" / "report.html").read_text()


def overlaps(history):
    """Joules that two trials on one GPU would both have counted."""
    readings = [trial.facts["energy"] for trial in history]
    readings.sort(key=lambda reading: (reading["counter"], reading["started"]))
    return [
        (one, two)
        for one, two in pairwise(readings)
        if one["counter"] == two["counter"] and two["started"] < one["ended"]
    ]


def test_a_limit_on_energy_ends_the_study(gpus, tmp_path):
    file = on_gpus(tmp_path, baseline={"seconds": 0.02}, budget={"total": {"joules": 50}})
    assert "the budget is spent" in run(file, tmp_path).stdout
    history = open_study(tmp_path / "toy").history
    dearest = max(trial.joules for trial in history)
    assert 50 - 2 * dearest < Ledger.of(history).joules < 50 + dearest


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_trial_that_outlived_its_search_counts_from_its_own_start(gpus, tmp_path, how):
    file = on_gpus(tmp_path, baseline={"seconds": 1.0})
    process = start(file, tmp_path)
    wait_for(lambda: len(children_of(tmp_path / "toy" / "trials")) >= 2, process)
    begun = {t.number: t.facts["energy"] for t in open_study(tmp_path / "toy").history}
    process.send_signal(how)
    process.communicate(timeout=30)
    now = consumed(A)
    run(file, tmp_path, "--max-trials", "0")
    for ended in open_study(tmp_path / "toy").history:
        assert ended.failure.reason == "interrupted"
        assert ended.facts["energy"]["started"] == begun[ended.number]["started"]
        assert ended.joules > 0
        assert (ended.facts["energy"]["ended"] < now) == (how == signal.SIGINT)


def test_what_ended_out_of_sight_is_unknown_and_ends_a_limited_study(gpus, tmp_path):
    run(on_gpus(tmp_path), tmp_path, "--max-trials", "1")
    study = Study.open(tmp_path / "toy" / "study.db", "toy")
    request = study.history[0].request
    gone = {"pid": 2**22 + 1, "create_time": 1.0, "marker": "gone"}
    number = study.launch(request, {}, {**first_reading(A), "process": gone}).number
    study.close()
    limited = on_gpus(tmp_path, budget={"total": {"joules": 1e9}})
    assert "joules cannot be kept: a trial ended without" in run(limited, tmp_path).stdout
    history = open_study(tmp_path / "toy").history
    assert len(history) == number + 1
    assert history[number].joules is None
    assert Ledger.of(history).joules is None


@pytest.mark.parametrize(
    ("executor", "lacks", "words"),
    [
        ({"device": "cpu", "workers": 1}, "", "takes on cpu:0; only"),
        ({"workers": 3}, "", "takes on cuda:0/0, cuda:0/1; only"),
        ({"workers": 3}, "", "fewer executor.workers"),
        ({}, "counter", "takes on cuda:0, cuda:1; only"),
        ({}, "driver", "limit train_seconds instead"),
    ],
)
def test_a_limit_that_nothing_measures_is_refused(
    gpus, tmp_path, monkeypatch, executor, lacks, words
):
    monkeypatch.setenv("FAKE_NVML", lacks)
    total = {"total": {"joules": 500}}
    file = on_gpus(tmp_path, executor=LOCAL | executor, budget=total)
    said = run(file, tmp_path / "studies", check=2).stderr
    assert "toy.yaml:" in said
    assert "budget.total.joules: 500 joules cannot be kept" in said
    assert words in said
    assert not (tmp_path / "studies").exists()


def test_a_refused_limit_leaves_the_study_as_it_was_asked(gpus, tmp_path):
    cpu = LOCAL | {"device": "cpu", "workers": 1}
    run(exploration(tmp_path, executor=cpu), tmp_path, "--max-trials", "1")
    before = open_study(tmp_path / "toy").exploration
    for _ in range(2):
        run(on_gpus(tmp_path, executor=cpu, budget={"total": {"joules": 5}}), tmp_path, check=2)
    assert open_study(tmp_path / "toy").exploration == before
