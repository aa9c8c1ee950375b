"""Searches over a script that knows nothing of us: real processes, killed, resumed, stopped."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from search.exploration import Exploration, load
from search.history import Trial
from search.summary import open_study
from search.trainers.arguments import Args
from search.trainers.environment import changes, environment
from spec import yaml
from spec.config import identity
from spec.errors import ConfigError
from tests.search.foreign import PLAIN, PYTHON, TOYS, exploration
from tests.search.test_run import decisions, measured, run, start, trials_in, wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted search, for others to be compared with."""
    folder = tmp_path_factory.mktemp("foreign")
    return folder, run(exploration(folder), folder)


def history(folder):
    return open_study(folder / "toy").history


def test_a_script_is_searched_unchanged_and_the_numbers_are_those_it_printed(whole):
    folder, done = whole
    assert "accepted" in done.stdout
    for trial in history(folder):
        said = (folder / f"toy/trials/{trial.number:04d}/output.log").read_text()
        printed = re.findall(r"step (\d+): train loss (\S+), val loss (\S+)", said)
        assert [(p.step, p.val_loss) for p in trial.curve] == [
            (int(step), float(loss)) for step, _, loss in printed
        ]
        assert trial.end.best_val_loss == min(float(loss) for *_, loss in printed)


def test_budget_and_seed_reach_the_script_in_its_own_keys(whole):
    for trial in history(whole[0]):
        assert f"--seed={trial.seed}" in trial.facts["command"]
        assert "--steps=3" in trial.facts["command"]
        assert trial.curve[-1].step == 3


def test_a_cost_that_describe_does_not_know_is_measured(whole):
    folder, _ = whole
    told = yaml.read(folder / "toy" / "results.yaml").data["iterations"]
    assert told[0]["baseline_metrics"]["params"] == 4000
    single = [c for c in told[1]["candidates"] if c["param"] in ("width", "rate")]
    deltas = {c["param"]: c["delta_params"] for c in single}
    assert deltas == {"width": 2000, "rate": 0} or deltas == {"width": -2000, "rate": 0}
    wider = next(c for c in told[1]["candidates"] if c["key"] == "width +2")
    assert wider["delta_cost"] == {"change": 2000.0, "error": 0.0}


def test_a_loss_that_is_no_mean_over_tokens_is_refused_with_the_way_out(tmp_path):
    summed = {"metrics": [{"regex": [PLAIN], "scale": {"val_loss": 1000}}]}
    space = {"rate": {"scale": 2, "min": 0.25, "max": 16}}
    changes = {"space": space, "objective": {"cost": "train_seconds"}}
    said = run(exploration(tmp_path, summed, **changes), tmp_path, check=4).stderr
    assert "is too far from zero" in said
    assert "scale: {val_loss: 0.001}" in said
    assert len(history(tmp_path)) <= 2


def test_the_dry_run_says_what_is_measured(whole, tmp_path):
    told = run(exploration(tmp_path), tmp_path, "--dry-run").stdout
    assert "unmeasured" in told
    assert re.search(r"width \+2\s+unmeasured\s+measured", told)


def test_killed_and_resumed_equals_uninterrupted(whole, tmp_path):
    file = exploration(tmp_path)
    process = start(file, tmp_path)
    wait_for(lambda: trials_in(tmp_path / "toy" / "study.db") >= 3, process)
    process.kill()
    process.communicate(timeout=30)
    run(file, tmp_path)

    def words(folder):  # arrival times differ between runs, losses do not
        return [(kind, said, config_id) for kind, said, config_id, _ in decisions(folder / "toy")]

    assert words(tmp_path) == words(whole[0])
    assert measured(tmp_path / "toy") == measured(whole[0] / "toy")


def test_the_rerun_command_works_when_pasted_with_its_variables(tmp_path):
    echo = {
        "command": [*PYTHON, "-c", "import os; print('val', os.environ['FACTOR'])"],
        "metrics": {"regex": r"val (?P<val_loss>\S+)"},
        "env": {"FACTOR": "2.5"},
        "seed": None,
        "budget": {},
    }
    file = exploration(
        tmp_path, echo | {"command": [*echo["command"], "{seed}", "{args}"]}, budget={}
    )
    run(file, tmp_path, "--max-trials", "1")
    seed = yaml.read(tmp_path / "toy" / "results.yaml").data["iterations"][0]["seeds"][0]
    assert subprocess.check_output(["bash", "-c", seed["command"]]) == b"val 2.5\n"


UGLY = "a b 'c' \"d\" $HOME `e` \\f ü→ *; -g=h #!\ti"


def test_the_rerun_command_carries_every_word_through_a_bare_shell(tmp_path, monkeypatch):
    folder = tmp_path / 'it\'s a "folder" & ü'
    folder.mkdir()
    (folder / "own").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    tell = "import json, os, sys; told = [sys.argv[1:], os.environ['WORD'], os.getcwd()]; "
    tell += "print(json.dumps(told)); print('val 1')"
    trainer = {
        "command": ["own", "-S", "-c", tell, "--", "{word}", "{args}"],
        "args": "--{key} {value}",
        "metrics": {"regex": r"val (?P<val_loss>\S+)"},
        "env": {"WORD": UGLY},
        "seed": None,
        "budget": {},
        "cwd": folder.name,
    }
    baseline = {"width": -4, "rate": 1e-05, "word": UGLY, "list": [UGLY.replace(",", ""), "-x"]}
    file = exploration(
        tmp_path,
        trainer,
        baseline=baseline,
        budget={},
        space={"width": {"step": 1}},
        seeds={"screen": 1, "max": 1, "confirm": 0},
    )
    run(file, tmp_path, "--max-trials", "1")
    command = (tmp_path / "toy/trials/0000/rerun.sh").read_text()
    results = yaml.read(tmp_path / "toy" / "results.yaml").data
    assert results["iterations"][0]["seeds"][0]["command"] == command.rstrip("\n")
    bare = ["env", "-i", "bash", "--noprofile", "--norc", "-c", command]
    said = subprocess.check_output(bare, cwd="/", text=True, encoding="utf-8").splitlines()
    words = ["--", UGLY, "--width", "-4", "--rate", "1e-05", "--list", f"{UGLY},-x"]
    assert json.loads(said[0]) == [words, UGLY, str(folder)]


@pytest.mark.parametrize(
    ("talk", "metrics"),
    [
        (
            "timed",
            {
                "regex": [
                    PLAIN.replace(":.* val", ": val"),
                    r"iter \d+: time (?P<train_seconds>\S+)ms",
                ],
                "scale": {"train_seconds": 0.001},
            },
        ),
        ("colours", {"regex": PLAIN}),
        ("broken", {"regex": PLAIN}),
        ("flood", {"regex": PLAIN}),
        ("halves", {"regex": PLAIN}),
        ("jsonl", {"jsonl": "log.jsonl", "keys": {"step": "iter", "val_loss": "eval.loss"}}),
        (
            "csv",
            {
                "csv": "log.csv",
                "separator": ";",
                "scale": {"train_seconds": 60},
                "columns": {"step": "iter", "val_loss": "loss", "train_seconds": "minutes"},
            },
        ),
        ("final", {"file": "best.txt", "columns": ["val_loss", "step", "parameters"]}),
    ],
)
def test_every_way_of_talking_is_understood(tmp_path, talk, metrics):
    command = [*PYTHON, "script.py", "{args}", "--out={out}"]
    file = exploration(
        tmp_path,
        {"command": command, "metrics": metrics},
        baseline={"rate": 4.0, "talk": talk, "width": 4},
    )
    run(file, tmp_path, "--max-trials", "1")
    (trial,) = history(tmp_path)
    assert trial.state == "finished", trial.failure
    assert [p.step for p in trial.curve] == ([3] if talk == "final" else [0, 1, 2, 3])
    for point in trial.curve:  # the script's own formula
        above = 1 / (1 + point.step) - 1 / 4
        assert point.val_loss - trial.end.best_val_loss == pytest.approx(above, abs=2e-4)
    assert (trial.facts.get("clock") == "arrival") is ("train_seconds" not in str(metrics))
    if talk in ("timed", "csv"):
        assert trial.curve[-1].train_seconds == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("baseline", "told"),
    [
        ({"mode": "crash"}, "this config always crashes"),
        ({"mode": "nan"}, "its loss is no finite number"),
        ({"mode": "silent"}, "no line matches"),
        ({"oops": 1}, "Unknown config key: oops"),
    ],
)
def test_a_baseline_that_fails_ends_with_the_scripts_own_words(tmp_path, baseline, told):
    baseline = {"width": 4, "rate": 1.0, **baseline}  # behaviours 24
    done = run(exploration(tmp_path, baseline=baseline), tmp_path, check=4)
    assert told in done.stderr


def test_without_any_output_the_reason_is_no_measurement(tmp_path):
    run(
        exploration(tmp_path, baseline={"mode": "silent", "width": 4, "rate": 1.0}),
        tmp_path,
        check=4,
    )
    assert "no_measurement" in {t.failure.reason for t in history(tmp_path)}


def test_describe_tells_costs_and_rejects_before_anything_is_trained(tmp_path):
    describe = "import sys, json; w = int(sys.argv[1]); assert w % 6, 'width 6 is impossible'; "
    describe += "print('words'); print(json.dumps(dict(parameters=w * 1000)))"
    trainer = {"describe": [*PYTHON, "-c", describe, "{width}"]}
    file = exploration(tmp_path, trainer, objective={"limits": {"parameters": 3500}})
    told = run(file, tmp_path, "--dry-run").stdout  # behaviours 42
    assert "width 6 is impossible" in told
    assert "4,000" in told
    assert re.search(r"rate x2\s+4,000\s+\+0\s+parameters 4,000 is over the limit 3,500", told)
    assert re.search(r"width -2\s+2,000\s+-2,000", told)


def test_a_measured_cost_over_a_limit_is_rejected_after_the_measurement(tmp_path):
    file = exploration(
        tmp_path, objective={"limits": {"parameters": 4500}}, space={"width": {"step": 2, "min": 4}}
    )
    run(file, tmp_path)
    told = history(tmp_path).decisions[-1]
    assert told.kind == "stop"
    assert "parameters 6,000 is over the limit 4,500" in str(told.detail["candidates"])


def test_a_file_asks_a_trial_to_end_where_the_script_looks_for_one(tmp_path):
    trainer = {
        "command": [*PYTHON, "script.py", "{args}", "--out={out}", "--stop_file={out}/stop"],
        "stop_file": "stop",
    }
    file = exploration(
        tmp_path,
        trainer,
        baseline={"pause": 0.02, "width": 4, "rate": 1.0},
        budget={"max_steps": 10_000},
    )
    process = start(file, tmp_path)
    wait_for(lambda: trials_in(tmp_path / "toy" / "study.db") >= 1, process)
    wait_for(lambda: any(tmp_path.glob("toy/trials/*/metrics.jsonl")), process)
    process.terminate()
    process.communicate(timeout=30)
    assert any(tmp_path.glob("toy/trials/*/stopped"))
    assert {t.failure.reason for t in history(tmp_path)} == {"interrupted"}


def test_a_target_the_script_does_not_know_ends_its_trials(tmp_path):
    file = exploration(
        tmp_path,
        baseline={"pause": 0.02, "width": 4, "rate": 4.0},
        budget={"max_steps": 100_000},
        objective={"gain": "time_to_target", "target": 2.0, "stop_at_target": True},
    )
    run(file, tmp_path, "--max-trials", "1")
    (trial,) = history(tmp_path)
    assert trial.end.status == "target_reached"
    assert trial.curve[-1].val_loss <= 2.0 < trial.curve[-2].val_loss


def refused(folder, trainer=None, **changes):
    with pytest.raises(ConfigError) as error:
        load(exploration(folder, trainer, **changes))
    return str(error.value)


def test_seeds_are_refused_where_no_seed_reaches_the_script(tmp_path):
    told = refused(tmp_path, {"seed": None})
    assert re.search(r"toy\.yaml:\d+:\d+: seeds\.max: max 2 would train the same trial", told)
    assert "trainer.seed" in told
    load(exploration(tmp_path, {"seed": None}, seeds={"screen": 1, "max": 1, "confirm": 0}))


def test_a_budget_no_key_takes_is_refused_but_seconds_are_kept_from_here(tmp_path):
    told = refused(tmp_path, {"budget": {}})
    assert "budget.max_steps: the script does not know max_steps" in told
    assert "trainer.budget: {max_steps: max_steps}" in told
    load(exploration(tmp_path, {"budget": {}}, budget={"max_seconds": 5}))


def test_an_unknown_placeholder_is_refused_when_the_exploration_is_read(tmp_path):
    told = refused(tmp_path, {"command": [*PYTHON, "script.py", "{args}", "{widht}"]})
    assert re.search(r"toy\.yaml:\d+:\d+: trainer\.command\[5\]: unknown placeholder", told)
    assert "did you mean 'width'" in told


def test_a_dimension_that_does_not_reach_the_script_is_refused(tmp_path):
    told = refused(tmp_path, {"command": [*PYTHON, "script.py", "--width={width}"], "seed": None})
    assert "space.rate: does not reach the script" in told


def test_readers_without_a_loss_are_refused(tmp_path):
    assert "no reader tells val_loss" in refused(
        tmp_path, {"metrics": [{"regex": r"(?P<step>\d)"}]}
    )


def test_the_folder_of_the_script_is_beside_the_exploration_and_must_be_there(tmp_path):
    done = run(exploration(tmp_path, {"cwd": "missing"}), tmp_path, "--dry-run", check=2)
    assert str(tmp_path / "missing") in done.stderr.replace("\n", "")
    assert "--set trainer.cwd=PATH" in done.stderr.replace("\n", " ")


def test_null_is_neither_in_the_id_nor_in_the_command(tmp_path):
    exploration_, _ = load(exploration(tmp_path, baseline={"width": 4, "rate": 1.0, "mode": None}))
    plain = {"width": 4, "rate": 1.0}
    with exploration_.trainer.describer() as describer:  # behaviours 37
        found = describer([plain, {**plain, "mode": None}])
    assert {getattr(one, "config_id", one) for one in found} == {identity(plain)}
    assert Args().write({"mode": None}) == []


@pytest.mark.parametrize("config_file", ["yaml", "json"])
def test_a_config_file_holds_seed_and_budget_too(tmp_path, config_file):
    copy = "import sys, shutil; shutil.copy(sys.argv[1], sys.argv[2]); print('val 1')"
    trainer = {
        "command": [*PYTHON, "-c", copy, "{config}", "{out}/seen"],
        "config_file": config_file,
        "metrics": {"regex": r"val (?P<val_loss>\S+)"},
    }
    baseline = {"width": 4, "rate": 1e-05, "name": "a: 'b' {c}", "off": None}
    run(exploration(tmp_path, trainer, baseline=baseline), tmp_path, "--max-trials", "1")
    text = (tmp_path / "toy/trials/0000/seen").read_text()
    seen = json.loads(text) if config_file == "json" else yaml.parse(text).data
    assert seen == {"width": 4, "rate": 1e-05, "name": "a: 'b' {c}", "seed": 1337, "steps": 3}


def test_the_environment_of_a_trial_is_recorded(whole):
    (trial, *_) = history(whole[0])
    known = trial.facts["environment"]
    assert known["script"]["file"] == "script.py"
    assert known["python"] == ".".join(map(str, sys.version_info[:3]))
    kept = yaml.read(whole[0] / "toy/trials/0000/environment.yaml").data
    assert "pydantic" in kept["packages"]
    assert trial.facts["cwd"] == str(TOYS)


def test_commit_and_changes_of_the_scripts_folder_are_recorded(tmp_path):
    def git(*words):
        names = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        subprocess.run(["git", *names, *words], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "train.py").write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "x")
    clean, _ = environment(("python", "train.py"), tmp_path)
    assert not clean["git"]["dirty"]
    (tmp_path / "train.py").write_text("2")
    dirty, _ = environment(("python", "train.py"), tmp_path)
    assert dirty["git"]["dirty"]
    assert dirty["script"] != clean["script"]


def test_a_script_that_changes_during_a_study_is_reported(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    shutil.copy(TOYS / "script.py", folder)
    file = exploration(tmp_path, {"cwd": "scripts"})
    run(file, tmp_path, "--max-trials", "1")
    with (folder / "script.py").open("a") as stream:
        stream.write("# changed\n")
    done = run(file, tmp_path, "--max-trials", "1")
    assert "script changed with trial 1" in done.stdout.replace("\n", " ")


def test_a_script_that_changes_while_it_is_searched_is_reported_and_the_study_goes_on(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    code = (TOYS / "script.py").read_text() + "    open(__file__, 'a').write('#')\n"
    (folder / "script.py").write_text(code)
    done = run(exploration(tmp_path, {"cwd": "scripts"}), tmp_path, "--workers", "1")
    said = done.stdout.replace("\n", " ")
    sums = [trial.facts["environment"]["script"]["sha256"] for trial in history(tmp_path)]
    assert len(set(sums)) == len(sums) > 2
    for number in range(1, len(sums)):
        assert f"script changed with trial {number}: script.py, {sums[number - 1]}" in said
    assert "what was measured before and after may not be comparable" in said


def test_the_environment_is_that_of_the_program_that_the_trainers_own_path_finds(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "python").write_text(
        "#!/bin/sh\n"
        """[ "$1" = -I ] && echo '{"python": "9.9", "packages": {"a": "1"}}' || echo val 1\n"""
    )
    (own / "python").chmod(0o755)
    trainer = {
        "command": ["python", "{width}", "{rate}"],
        "env": {"PATH": f"{own}:/usr/bin:/bin"},
        "metrics": {"regex": r"val (?P<val_loss>\S+)"},
        "seed": None,
        "budget": {},
    }
    seeds = {"screen": 1, "max": 1, "confirm": 0}
    run(exploration(tmp_path, trainer, seeds=seeds, budget={}), tmp_path, "--max-trials", "1")
    (trial,) = history(tmp_path)
    assert trial.facts["environment"]["python"] == "9.9"
    assert trial.facts["rerun"][0] == str(own / "python")


SLOW = """
import sys, time
for step in range(11):
    print("at", step, "trained", float(step), "step", 10.0, flush=True)
    time.sleep(0.1)
print("step", 10, "val", 1.0, flush=True)
"""


@pytest.mark.parametrize("timed", [True, False])
def test_a_script_that_evaluates_late_is_probed_where_it_tells_its_training_time(tmp_path, timed):
    (tmp_path / "slow.py").write_text(SLOW)
    told = r"at (?P<step>\d+) trained (?P<train_seconds>\S+) step (?P<step_ms>\S+)"
    told = told if timed else told.replace("?P<train_seconds>", "")
    trainer = {
        "command": [*PYTHON, "slow.py", "{args}"],
        "cwd": str(tmp_path),
        "metrics": [{"regex": told}, {"regex": r"step (?P<step>\d+) val (?P<val_loss>\S+)"}],
        "seed": None,
        "budget": {},
    }
    file = exploration(
        tmp_path,
        trainer,
        budget={},
        objective={"gain": "time_to_target", "target": 2.0},
        space={"width": {"choices": [8]}},
        seeds={"screen": 1, "max": 1, "confirm": 0},
        strategy={"kind": "random", "trials": 2},
    )
    done = run(file, tmp_path)
    clock = "train seconds" if timed else "seconds since launch with start-up and evaluation"
    assert re.search(rf"times are {clock}, cpu \(.+\), 1 threads, 2 at a time", done.stdout)
    probes = [trial for trial in history(tmp_path) if trial.probe]
    assert {(p.state, len(p.curve), p.end.step_ms) for p in probes} == (
        {("finished", 0, 10.0)} if timed else set()
    )
    told = yaml.read(tmp_path / "toy" / "results.yaml").data["time_to_target"]
    assert told["baseline"]["exclusive_step_ms"] == (10.0 if timed else None)


def test_another_device_or_number_of_threads_is_reported_as_another_environment_is():
    facts = {"environment": {"python": "3"}, "device": "cpu", "threads": 1}
    places = [facts, facts | {"threads": 2}, facts | {"threads": 2, "device": "cuda"}]
    told = changes(Trial(n, None, "finished", place) for n, place in enumerate(places))
    assert [words.partition(";")[0] for words in told] == [
        "threads changed with trial 1: 1 -> 2",
        "device changed with trial 2: cpu -> cuda",
    ]


def test_environments_that_are_alike_are_not_reported(whole):
    assert changes(history(whole[0])) == []
    assert changes([Trial(0, None, "running"), Trial(1, None, "running")]) == []


def test_the_schema_shows_a_trainer_without_a_kind():
    text = json.dumps(Exploration.model_json_schema())
    for word in ("command", "regex", "tensorboard", "stop_file", "max_steps"):
        assert f'"{word}"' in text
    trainer = Exploration.model_json_schema()["properties"]["trainer"]
    foreign = next(v for v in trainer["anyOf"] if "command" in v.get("properties", {}))
    assert foreign["required"] == ["command", "metrics"]
