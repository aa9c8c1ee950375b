import math
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import optuna
import pytest

from search.dimensions import point
from search.history import Decision, Description, Failure, Purpose, Request
from search.objective import Budget
from search.study import Study
from spec.config import identity
from spec.records import End, Eval
from tests.search.worlds import Bowl, problem

CONFIG = {"a": 4, "b": 4, "c": 4}


def request(seed=1, clock="", **changes):
    config = {**CONFIG, **changes}
    description = Description(config, identity(config), {"parameters": 12})
    return Request(
        description, seed, Budget(max_steps=5), Purpose(0, "screen", {"path": "a"}), clock
    )


def parameters(asked):
    return point(problem(Bowl()).space, asked.description.config)


CURVE = (
    Eval(step=1, tokens=10, train_seconds=0.5, val_loss=3.0),
    Eval(step=2, tokens=20, train_seconds=1.0, val_loss=2.0, val_bpb=2.5),
)


@pytest.fixture
def study(tmp_path):
    opened = Study.open(tmp_path / "study.db", "s")
    yield opened
    opened.close()


def fill(study):
    """One trial of every state, and a decision of each kind."""
    for seed, outcome in enumerate(("finished", "failed", "running", "infinite")):
        trial = study.launch(
            request(seed), parameters(request(seed)), {"command": ["x", str(seed)]}
        )
        study.add_facts(trial.number, {"slot": "cpu:0"})
        study.report(trial.number, CURVE[:1])
        study.report(trial.number, CURVE[1:])
        if outcome == "finished":
            study.finish(trial.number, End(status="completed"), 2.0)
        if outcome == "infinite":
            study.finish(trial.number, End(status="completed"), math.inf)
        if outcome == "failed":
            study.fail(trial.number, Failure("diverged", "no finite number", "nan"))
    study.decide(Decision("accept", 0, "yes", CONFIG, "id", {"candidates": [], "x": math.inf}))
    study.decide(Decision("stop", 1, "no"))
    study.note("baseline", {"config_id": "id"})


def test_what_is_opened_again_equals_what_was_held(study, tmp_path):
    fill(study)
    again = Study.read(tmp_path / "study.db")
    whole = [trial for trial in study.history if trial.state != "running"]
    seen = [trial for trial in again.history if trial.state != "running"]
    assert list(map(untimed, seen)) == list(map(untimed, whole))
    assert again.history.decisions == study.history.decisions
    assert again.notes == study.notes
    again.close()


def untimed(trial):
    assert trial.started > 0
    return replace(trial, started=0.0, ended=None)


def test_the_curve_of_a_running_trial_is_on_disk_its_newest_points_as_losses(study, tmp_path):
    fill(study)
    again = Study.read(tmp_path / "study.db")
    assert again.history[2].state == "running"
    assert again.history[2].curve == CURVE[:1]
    assert again._storage.get_trial(3).intermediate_values == {1: 3.0, 2: 2.0}
    again.close()


def test_optunas_own_tools_read_it(study, tmp_path):
    fill(study)
    seen = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/study.db")
    states = [trial.state.name for trial in seen.get_trials()]
    assert states == ["COMPLETE", "FAIL", "RUNNING", "COMPLETE"]
    assert seen.best_value == 2.0
    assert seen.trials[0].params == CONFIG
    assert seen.trials[0].intermediate_values == {1: 3.0, 2: 2.0}
    assert seen.trials_dataframe()["params_a"].tolist() == [4, 4, 4, 4]
    optuna.visualization.plot_optimization_history(seen)


def test_a_launched_trial_is_stored_just_as_optuna_itself_would_store_it(study, tmp_path):
    kind = optuna.distributions.CategoricalDistribution(["x", "y"])
    asked, wanted = {**parameters(request()), "norm": ("y", kind)}, request()
    trial = study.launch(wanted, asked, {"slot": "ä"})
    peer = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/peer.db")
    name = peer.create_new_study([optuna.study.StudyDirection.MINIMIZE], "s")
    peer.create_new_trial(name, as_optuna_has_it(trial.started, wanted, asked))
    for table in ("trials", "trial_params", "trial_user_attributes", "trial_system_attributes"):
        assert rows(tmp_path / "study.db", table) == rows(tmp_path / "peer.db", table)
    again = Study.read(tmp_path / "study.db")
    assert again.history[0].started == pytest.approx(time.time(), abs=60)
    assert again.history[0].started == pytest.approx(trial.started, abs=1e-5)
    again.close()


def as_optuna_has_it(started, wanted, asked):
    return optuna.trial.FrozenTrial(
        number=-1,
        trial_id=-1,
        state=optuna.trial.TrialState.RUNNING,
        value=None,
        datetime_start=datetime.fromtimestamp(started),
        datetime_complete=None,
        params={name: value for name, (value, _) in asked.items()},
        distributions={name: kind for name, (_, kind) in asked.items()},
        user_attrs={
            "config_id": wanted.description.config_id,
            "seed": 1,
            "round": 0,
            "phase": "screen",
            "edit": {"path": "a"},
            "budget": {"max_steps": 5},
            "clock": "",
            "inventory": {"parameters": 12},
            "config": CONFIG,
            "facts": {"slot": "ä"},
        },
        system_attrs={},
        intermediate_values={},
    )


def rows(file, table):
    with sqlite3.connect(file) as connection:
        found = connection.execute(f"SELECT * FROM {table}").fetchall()
    return sorted(row[1:] for row in found)  # without its own number


def test_a_choice_added_later_joins_the_old_ones(study):
    # behaviours 40
    for number, choices in enumerate((["x", "y"], ["y", "z"], ["w", "x", "y", "z"])):
        kind = optuna.distributions.CategoricalDistribution(choices)
        trial = study.launch(request(number), {"norm": (choices[0], kind)}, {})
        study.finish(trial.number, End(status="completed"), 1.0)
    seen = study._storage.get_all_trials(study._id)
    assert [trial.params["norm"] for trial in seen] == ["x", "y", "w"]
    assert {trial.distributions["norm"].choices for trial in seen} == {("x", "y", "z", "w")}


def test_a_widened_range_keeps_the_old_trials(study):
    for number, high in enumerate((8, 64)):
        kind = optuna.distributions.IntDistribution(1, high)
        trial = study.launch(request(number), {"a": (high, kind)}, {})
        study.finish(trial.number, End(status="completed"), 1.0)
    assert [t.params["a"] for t in study._storage.get_all_trials(study._id)] == [8, 64]


def test_names_longer_than_255_bytes_work(study, tmp_path):
    name = "model." + "ä" * 200  # behaviours 39
    kind = optuna.distributions.FloatDistribution(0, 1)
    trial = study.launch(request(), {name: (0.5, kind)}, {"command": ["x" * 5000]})
    study.finish(trial.number, End(status="completed"), 1.0)
    again = Study.read(tmp_path / "study.db")
    assert again.history[0].facts["command"] == ["x" * 5000]
    again.close()


def test_readers_never_make_a_writer_fail(study, tmp_path):
    # behaviours 47, 48: a dashboard that polls while the search writes
    def look(_):
        reader = Study.read(tmp_path / "study.db")
        seen = len(reader.history)
        reader.close()
        return seen

    with ThreadPoolExecutor(2) as pool:
        looks = pool.map(look, range(12))
        for seed in range(30):
            trial = study.launch(request(seed), parameters(request(seed)), {})
            study.report(trial.number, CURVE)
            study.finish(trial.number, End(status="completed"), 2.0)
        assert max(looks) <= 30
    assert len(study.history) == 30


def test_the_log_is_written_ahead(tmp_path, study):
    fill(study)
    assert (tmp_path / "study.db-wal").exists()


def test_optuna_dashboard_opens_it(study, tmp_path):
    fill(study)
    code = (
        "import sys, json, warnings; warnings.simplefilter('ignore')\n"
        "from optuna_dashboard._app import create_app\n"
        "from optuna.storages import RDBStorage\n"
        "app = create_app(RDBStorage(sys.argv[1]))\n"
        "said = []\n"
        "env = dict(REQUEST_METHOD='GET', PATH_INFO=sys.argv[2], QUERY_STRING='after=0',\n"
        "  SERVER_NAME='x', SERVER_PORT='1')\n"
        "env['wsgi.url_scheme'] = 'http'\n"
        "body = b''.join(app(env, lambda status, headers, *_: said.append(status)))\n"
        "print(json.dumps([said[0], json.loads(body)]))\n"
    )
    address = f"sqlite:///{tmp_path}/study.db"
    told = subprocess.run(
        [sys.executable, "-c", code, address, "/api/studies/1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert "200 OK" in told.stdout
    assert "diverged" in told.stdout


def test_losses_and_attributes_are_what_optuna_itself_would_have_written(study, tmp_path):
    trial = study.launch(request(), parameters(request()), {})
    losses = {1: 3.0, 2: math.inf, 3: math.nan, 4: -math.inf, 5: 2.5}
    points = [Eval(step=s, train_seconds=s, val_loss=loss) for s, loss in losses.items()]
    study.report(trial.number, points[:4])
    study.report(trial.number, [points[4].model_copy(update={"val_loss": 9.0})])
    study.report(trial.number, [points[4]])  # a second word on a step takes the first one's place
    study.add_facts(trial.number, {"word": "\N{SNOWMAN}"})
    (frozen,) = optuna.load_study(
        study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}"
    ).trials
    assert frozen.intermediate_values == pytest.approx(losses, nan_ok=True)
    assert frozen.user_attrs["facts"] == {"word": "\N{SNOWMAN}"}
    with sqlite3.connect(tmp_path / "study.db") as connection:
        count = "SELECT COUNT(*) FROM trial_user_attributes WHERE key = 'facts'"
        assert connection.execute(count).fetchone() == (1,)
    connection.close()
