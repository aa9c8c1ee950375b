"""The command as a person uses it: real processes, real SQLite, toy trainers."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import psutil
import pytest
from typer.testing import CliRunner

from search.run import app
from search.show import app as show
from search.study import Study
from search.summary import front_lines, open_study
from search.trainers import PipedDescriber
from spec import yaml
from spec.records import Reader
from tests.search.toy import Toy, ToyConfig, exploration

ROOT = Path(__file__).parent.parent.parent


def command(file, out, *more):
    return [sys.executable, "-m", "tests.search.toy_run", str(file), "--out", str(out), *more]


def run(file, out, *more, check=0):
    """The command in this process, which saves its imports; what it starts is as real as ever."""
    done = CliRunner().invoke(app, [str(file), "--out", str(out), *more])
    assert done.exit_code == check, done.output
    return done


def start(file, out, *more):
    return subprocess.Popen(
        command(file, out, *more),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def decisions(folder):
    """What was decided and why, without the numbers trials happened to get."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items() if key != "trials"}
        return [plain(item) for item in value] if isinstance(value, list) else value

    history = open_study(folder).history
    return [(d.kind, d.words, d.config_id, plain(dict(d.detail))) for d in history.decisions]


def measured(folder):
    history = open_study(folder).history
    done = [(t.config_id, t.seed) for t in history if t.state == "finished"]
    assert len(done) == len(set(done)), "a trial was trained twice"
    return set(done)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted search, for others to be compared with."""
    folder = tmp_path_factory.mktemp("whole")
    done = run(exploration(folder), folder)
    return folder, done


def test_a_search_accepts_steps_and_says_what_was_gained(whole):
    folder, done = whole
    assert "accepted" in done.stdout
    assert "val_loss" in done.stdout
    results = yaml.read(folder / "toy" / "results.yaml").data
    assert len(results["iterations"]) == 3
    assert results["iterations"][0]["iter"] == -1
    assert results["stop_reason"]
    assert "report " not in done.stdout


def test_the_report_is_drawn_at_the_end_also_for_a_trainer_it_does_not_know(tmp_path):
    done = run(exploration(tmp_path, report=True), tmp_path, "--max-trials", "3")
    assert (tmp_path / "toy" / "report.html").is_file(), done.output


def test_a_finished_study_is_left_alone(whole):
    folder, _ = whole
    before = measured(folder / "toy")
    again = run(folder / "toy.yaml", folder)
    assert "nothing left to do" in again.stdout
    assert f"results    {folder / 'toy' / 'results.yaml'}" in again.stdout
    assert f"-m search.show {folder / 'toy'} --config" in again.stdout
    assert measured(folder / "toy") == before


def test_optuna_opens_the_study(whole):
    folder, _ = whole
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{folder}/toy/study.db")
    done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    assert {"width", "rate", "layers"} <= set(done[0].params)
    assert done[0].intermediate_values[4] == pytest.approx(done[0].value)
    assert study.best_trial.user_attrs["config_id"]


def test_the_rerun_command_works_when_pasted_again_and_again(tmp_path):
    builtin = tmp_path / "builtin.yaml"
    baseline = ROOT / "explorations" / "baselines" / "tiny.yaml"
    asked = {
        "baseline": str(baseline),
        "budget": {"max_steps": 2},
        "space": {"optimizer.learning_rate": {"scale": 2}},
        "executor": {"kind": "local", "workers": 1, "device": "cpu"},
        "report": False,
    }
    builtin.write_text(yaml.dump(asked))
    short = ["baseline.evaluation.tokens=4096", "baseline.schedule.warmup_steps=0"]
    run(builtin, tmp_path, "--max-trials", "1", "--set", short[0], "--set", short[1])
    folder = tmp_path / "builtin" / "trials" / "0000"
    (told,) = yaml.read(tmp_path / "builtin" / "results.yaml").data["iterations"][0]["seeds"]
    assert (folder / "rerun.sh").read_text().strip() == told["command"]
    for _ in range(2):
        subprocess.run(["bash", "-c", told["command"]], check=True, timeout=60)
    again = [r for r in Reader(folder / "rerun" / "metrics.jsonl").read() if r.event == "eval"]
    assert [point.val_loss for point in again] == [told["loss"]]


def test_results_are_rebuilt_from_the_study(whole, tmp_path):
    folder, _ = whole  # behaviours 31
    file = folder / "toy" / "results.yaml"
    whole_text = file.read_text()
    file.write_text(whole_text[: len(whole_text) // 2])
    run(folder / "toy.yaml", folder, "--set", "strategy.max_rounds=3", "--max-trials", "0")
    rebuilt = yaml.read(file).data
    assert rebuilt["iterations"] == yaml.parse(whole_text).data["iterations"]


def test_show_tells_the_incumbent_and_its_config(whole):
    folder, _ = whole
    show = [sys.executable, "-m", "search.show", str(folder / "toy")]
    # show itself must not need to know the trainer that made the study
    told = subprocess.run([*show, "--json"], capture_output=True, text=True, cwd=ROOT, check=True)
    summary = json.loads(told.stdout)
    assert summary["incumbent"]["loss"] < 2.0
    assert summary["trials"]["finished"] == len(measured(folder / "toy"))
    config = subprocess.run(
        [*show, "--config"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert yaml.parse(config.stdout).data["width"] >= 4


@pytest.mark.parametrize("after", [0.4, 0.55, 0.8])
def test_interrupted_and_resumed_equals_uninterrupted(whole, tmp_path, after):
    file = exploration(tmp_path)
    process = start(file, tmp_path)  # behaviours 16, 25
    database = tmp_path / "toy" / "study.db"
    wait_for(lambda: trials_in(database) >= 3, process)
    time.sleep(after - 0.4)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode in (130, 0), said
    assert not children_of(tmp_path)
    run(file, tmp_path)
    assert decisions(tmp_path / "toy") == decisions(whole[0] / "toy")
    assert measured(tmp_path / "toy") == measured(whole[0] / "toy")


def test_killed_and_resumed_equals_uninterrupted(whole, tmp_path):
    file = exploration(tmp_path)
    for _ in range(3):  # behaviours 19, 25, 28
        process = start(file, tmp_path)
        seen = trials_in(tmp_path / "toy" / "study.db")
        wait_for(lambda seen=seen: trials_in(tmp_path / "toy" / "study.db") >= seen + 4, process)
        process.kill()
        process.communicate(timeout=30)
    run(file, tmp_path)
    assert decisions(tmp_path / "toy") == decisions(whole[0] / "toy")
    assert measured(tmp_path / "toy") == measured(whole[0] / "toy")
    assert not [t for t in open_study(tmp_path / "toy").history if t.state == "running"]


def test_a_second_orchestrator_is_refused_and_told_who_the_first_is(tmp_path):
    file = exploration(tmp_path, baseline={"seconds": 0.5})  # behaviours 32
    first = start(file, tmp_path)
    wait_for(lambda: trials_in(tmp_path / "toy" / "study.db") >= 1, first)
    refused = run(file, tmp_path, check=3)
    assert str(first.pid) in refused.stderr
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)
    assert first.returncode == 130
    # the lock went with the process
    run(file, tmp_path, "--max-trials", "0")


def test_fresh_keeps_the_old_study_under_another_name(tmp_path):
    file = exploration(tmp_path)
    run(file, tmp_path, "--max-trials", "2")
    run(file, tmp_path, "--fresh", "--max-trials", "3")
    assert trials_in(tmp_path / "toy.1" / "study.db") == 2
    assert trials_in(tmp_path / "toy" / "study.db") == 3


def test_dry_run_lists_candidates_and_trains_nothing(tmp_path):
    file = exploration(tmp_path, objective={"limits": {"parameters": 1500}})
    told = run(file, tmp_path, "--dry-run").stdout
    assert "rate x2" in told
    assert "width +2" in told
    assert "over the limit" in told
    assert "trials" in told
    assert not (tmp_path / "toy").exists()


def test_dry_run_as_json_is_one_line_for_each_change(tmp_path):
    file = exploration(tmp_path)
    told = [
        json.loads(line) for line in run(file, tmp_path, "--dry-run", "--json").stdout.splitlines()
    ]
    assert {line["path"] for line in told} == {"width", "rate", "layers[0]"}
    assert run(file, tmp_path, "--json", check=2)
    grid = {"rate": {"choices": [1.0, 2.0]}, "width": {"choices": [4, 6]}}
    whole = exploration(tmp_path, space=grid, strategy={"kind": "grid"})
    assert len(run(whole, tmp_path, "--dry-run", "--json").stdout.splitlines()) == 4


def test_a_failing_baseline_ends_with_its_own_words(tmp_path):
    file = exploration(tmp_path, baseline={"mode": "crash"})  # behaviours 24
    done = run(file, tmp_path, check=4)
    assert "the baseline failed" in done.stderr
    assert "this config always crashes" in done.stderr
    again = run(file, tmp_path, check=4)  # it may have been mended, so it is tried again
    assert "the baseline failed" in again.stderr


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("nan", "diverged"),
        ("oom", "out_of_memory_gpu"),
        ("kill", "out_of_memory_host"),
        ("garbage", "bad_record"),
        ("silent", "crashed"),
    ],
)
def test_a_failing_candidate_is_recorded_with_its_reason_and_the_search_goes_on(
    tmp_path, mode, reason
):
    space = {
        "mode": {"choices": ["fine", mode]},
        "rate": {"scale": 2, "max": 4},
    }  # behaviours 13, 14, 20
    file = exploration(tmp_path, space=space, strategy={"kind": "greedy", "max_rounds": 1})
    run(file, tmp_path)
    failed = [t for t in open_study(tmp_path / "toy").history if t.state == "failed"]
    assert [t.failure.reason for t in failed] == [reason]
    results = yaml.read(tmp_path / "toy" / "results.yaml").data
    assert results["failures"][0]["reason"] == reason
    assert results["iterations"][1]["chosen"]["param"] == "rate"


def test_a_full_disk_ends_the_search_at_once(tmp_path):
    space = {"mode": {"choices": ["full"]}, "rate": {"scale": 2}}  # behaviours 15
    done = run(exploration(tmp_path, space=space), tmp_path, check=4)
    assert "disk" in done.stderr


def test_five_quick_crashes_in_a_row_end_the_search(tmp_path):
    space = {"rate": {"choices": [2.0, 3.0, 5.0, 6.0, 7.0, 8.0]}}  # behaviours 15
    file = exploration(tmp_path, baseline={"mode": "crash above 1"}, space=space)
    done = run(file, tmp_path, check=4)
    assert "5 trials in a row died" in done.stderr
    assert "this config always crashes" in done.stderr
    assert len(open_study(tmp_path / "toy").history) < 10


def test_a_trial_that_hangs_is_timed_out(tmp_path):
    space = {"seconds": {"choices": [0.0, 30.0]}, "rate": {"scale": 2, "max": 4}}  # behaviours 22
    executor = {"kind": "local", "workers": 2, "start": "spawn", "timeout": 2, "grace": 1}
    file = exploration(
        tmp_path, space=space, executor=executor, strategy={"kind": "greedy", "max_rounds": 1}
    )
    run(file, tmp_path)
    failed = [t for t in open_study(tmp_path / "toy").history if t.state == "failed"]
    assert [t.failure.reason for t in failed] == ["timed_out"]


def test_failed_trials_run_again_only_when_asked(tmp_path):
    space = {
        "mode": {"choices": ["fine", "crash"]},
        "rate": {"scale": 2, "max": 4},
    }  # behaviours 27
    file = exploration(tmp_path, space=space, seeds={"screen": 1, "max": 3, "confirm": 2})
    run(file, tmp_path, "--max-trials", "6")
    crashes = len([t for t in open_study(tmp_path / "toy").history if t.state == "failed"])
    assert crashes == 1
    run(file, tmp_path, "--max-trials", "1")
    assert len([t for t in open_study(tmp_path / "toy").history if t.state == "failed"]) == crashes
    run(file, tmp_path, "--max-trials", "2", "--retry-failed")
    assert (
        len([t for t in open_study(tmp_path / "toy").history if t.state == "failed"]) == crashes + 1
    )


def test_a_choice_added_to_a_running_study_keeps_its_measurements(tmp_path):
    narrow = {
        "rate": {"choices": [1.0, 2.0]},
        "width": {"step": 2, "min": 2, "max": 6},
    }  # behaviours 40
    wide = {"rate": {"choices": [1.0, 2.0, 4.0]}, "width": {"step": 2, "min": 2, "max": 12}}
    run(exploration(tmp_path, space=narrow), tmp_path)
    before = measured(tmp_path / "toy")
    run(exploration(tmp_path, space=wide, strategy={"kind": "greedy", "max_rounds": 4}), tmp_path)
    assert before < measured(tmp_path / "toy")
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path}/toy/study.db")
    assert {str(t.params["rate"]) for t in study.trials} == {"1.0", "2.0", "4.0"}


def test_a_rule_of_another_kind_joins_a_running_study(tmp_path):
    scaled = {"rate": {"scale": 2, "max": 4}, "noise": {"step": 1}}
    stepped = {"rate": {"step": 1, "max": 4}, "noise": {"step": 0.001}}
    base = {"noise": 0}
    run(exploration(tmp_path, baseline=base, space=scaled), tmp_path, "--max-trials", "6")
    before = measured(tmp_path / "toy")
    run(exploration(tmp_path, baseline=base, space=stepped), tmp_path, "--max-trials", "6")
    assert before < measured(tmp_path / "toy")


def test_a_trial_that_had_ended_when_its_orchestrator_died_is_measured(tmp_path):
    file = exploration(tmp_path)
    run(file, tmp_path, "--max-trials", "3")
    study = Study.open(tmp_path / "toy" / "study.db", "toy")
    done = study.history[2]
    again = replace(done.request, seed=4242)
    trial = study.launch(again, {}, {})
    study.close()
    folder = tmp_path / "toy" / "trials" / f"{trial.number:04d}"
    shutil.copytree(tmp_path / "toy" / "trials" / "0002", folder)
    run(file, tmp_path, "--max-trials", "0")
    seen = open_study(tmp_path / "toy").history[trial.number]
    assert (seen.state, seen.curve, seen.end) == ("finished", done.curve, done.end)
    assert seen.ended == pytest.approx((folder / "metrics.jsonl").stat().st_mtime, abs=5)


def test_a_trial_nobody_wrote_down_is_ended_at_the_next_start(tmp_path):
    file = exploration(tmp_path, baseline={"seconds": 1.0})  # behaviours 19
    process = start(file, tmp_path)
    wait_for(lambda: len(children_of(tmp_path / "toy" / "trials")) >= 2, process)
    process.kill()
    process.communicate(timeout=30)
    assert children_of(tmp_path / "toy" / "trials")
    with sqlite3.connect(tmp_path / "toy" / "study.db") as database:
        database.execute("UPDATE trial_user_attributes SET value_json = '{}' WHERE key = 'facts'")
    database.close()
    run(file, tmp_path, "--max-trials", "0")
    assert not children_of(tmp_path / "toy" / "trials")


def test_another_baseline_or_other_data_are_not_mixed_into_a_study(tmp_path):
    run(exploration(tmp_path), tmp_path, "--max-trials", "1")
    done = run(exploration(tmp_path, baseline={"width": 6}), tmp_path, check=2)
    assert "another baseline" in done.stderr
    assert "--fresh" in done.stderr


DESCRIBE = """
import json, sys
for line in sys.stdin:
    config, data = json.loads(line)["config"], open(sys.argv[1]).read()
    told = {"config": config, "id": str(config["width"]), "inventory": {"parameters": 1}}
    print(json.dumps({**told, "data": {"fingerprint": data}}), flush=True)
"""


def test_other_data_are_noticed_also_when_the_study_knows_the_baseline(tmp_path, monkeypatch):
    data = tmp_path / "data"
    ask = (sys.executable, "-S", "-E", "-c", DESCRIBE, str(data))
    monkeypatch.setattr(Toy, "describer", lambda self: PipedDescriber(ask))
    full = ToyConfig().full()
    for content in ("one", "one"):
        data.write_text(content)
        run(exploration(tmp_path, baseline=full), tmp_path, "--max-trials", "1")
    data.write_text("two")
    done = run(exploration(tmp_path, baseline=full), tmp_path, check=2)
    assert "was measured on other data (fingerprint one, now two)" in done.stderr


def trials_in(database):
    if not database.exists():
        return 0
    connection = sqlite3.connect(database, timeout=30)
    try:
        return connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0
    finally:
        connection.close()


def wait_for(condition, process, timeout=30.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children_of(folder):
    """Processes of trials below a folder that are still there."""
    found = []
    for process in psutil.process_iter(["cmdline", "pid"]):
        words = process.info["cmdline"] or []
        if any(str(folder) in word for word in words) and process.pid != os.getpid():
            found.append(words)
    return found


def test_a_front_is_in_the_results(tmp_path):
    file = exploration(tmp_path, strategy={"kind": "pareto", "trials": 6})
    run(file, tmp_path)
    front = yaml.read(tmp_path / "toy" / "results.yaml").data["front"]
    columns = {"config_id", "val_loss", "parameters", "trials"}
    assert [set(row) for row in front] == [columns] * len(front)
    assert len(front) >= 1


def test_a_front_is_shown_with_the_trials_that_hold_its_configs(tmp_path):
    file = exploration(tmp_path, strategy={"kind": "pareto", "trials": 6})
    done = run(file, tmp_path)
    front = yaml.read(tmp_path / "toy" / "results.yaml").data["front"]
    shown = CliRunner().invoke(show, [str(tmp_path / "toy")])
    best = front[0]
    for told in (done.stdout, shown.stdout):
        assert "that no other beats, best val_loss first" in told
        assert f"  val_loss {best['val_loss']:.4f}, parameters {best['parameters']:,}" in told
        assert f"(trial {best['trials'][0]})" in told
    history = open_study(tmp_path / "toy").history
    assert [history[row["trials"][0]].config_id for row in front] == [r["config_id"] for r in front]
    told = CliRunner().invoke(show, [str(tmp_path / "toy"), "--json"])
    assert json.loads(told.stdout)["front"] == front
    told = CliRunner().invoke(show, [str(tmp_path / "toy"), "--config", "--trial", "2"])
    assert yaml.parse(told.stdout).data == history[2].request.description.config
    told = CliRunner().invoke(show, [str(tmp_path / "toy"), "--config", "--trial", "99"])
    assert told.exit_code == 2
    assert "has no trial 99; give a number below 6" in told.stderr
    assert f"--config --trial {best['trials'][0]}" in done.stdout
    older = front_lines([{k: v for k, v in row.items() if k != "trials"} for row in front])
    assert len(older) == 1 + len(front)


def test_a_dry_run_tells_what_the_study_holds_already(tmp_path):
    file = exploration(tmp_path, strategy={"kind": "random", "trials": 3}, seeds={"confirm": 0})
    assert "already" not in run(file, tmp_path, "--dry-run").stdout
    run(file, tmp_path, "--max-trials", "2")
    assert "toy holds 2 trials already" in run(file, tmp_path, "--dry-run").stdout
    assert "already" not in run(file, tmp_path, "--dry-run", "--fresh").stdout
    run(file, tmp_path)
    assert "would have nothing left to do: " in run(file, tmp_path, "--dry-run").stdout
    other = exploration(tmp_path, baseline={"width": 8})
    for how in ((), ("--dry-run",)):
        assert "began from another baseline" in run(other, tmp_path, *how, check=2).stderr
    assert run(other, tmp_path, "--dry-run", "--fresh").exit_code == 0


@pytest.mark.parametrize(("name", "each"), [("max_steps", 1), ("max_tokens", 1024)])
def test_a_budget_within_the_warm_up_is_refused_at_its_line(tmp_path, name, each):
    baseline = ROOT / "explorations" / "baselines" / "tiny.yaml"  # 20 steps of warm-up
    space = {"optimizer.learning_rate": {"choices": [1e-3, 2e-3]}}
    asked = {"baseline": str(baseline), "budget": {name: 20 * each}, "space": space}
    file = tmp_path / "short.yaml"
    file.write_text(yaml.dump(asked))
    line = 1 + file.read_text().splitlines().index(f"  {name}: {20 * each}")
    for how in ((), ("--dry-run",)):
        said = run(file, tmp_path, *how, check=2).stderr
        assert f"short.yaml:{line}:3: budget.{name}: {20 * each:,} is too little" in said
        assert f"allow {21 * each:,} or more" in said
    assert run(file, tmp_path, "--dry-run", "--set", f"budget.{name}={21 * each}").stdout
