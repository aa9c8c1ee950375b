"""Trials as real processes: how they start, what they see, how they end."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from search.executors.base import Exit, Job, executors
from search.executors.local import LocalConfig, LocalExecutor
from search.executors.marker import MARKER, SERVER
from spec.errors import InputError

STARTS = ("fork", "spawn")
Make = Callable[..., LocalExecutor]


@pytest.fixture(autouse=True)
def toys_are_importable(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repository))
    monkeypatch.syspath_prepend(str(repository))


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[LocalExecutor] = []

    def build(**options: object) -> LocalExecutor:
        config = LocalConfig.model_validate({"workers": 2, "device": "cpu", **options})
        made.append(LocalExecutor(config, study="tests", preload="tests.toys.preload"))
        return made[-1]

    yield build
    for executor in made:
        executor.close()


@pytest.fixture(params=STARTS)
def start(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def job(folder: Path, *words: str, number: int = 0, **env: str) -> Job:
    trial = folder / str(number)
    trial.mkdir(exist_ok=True)
    command = (sys.executable, "-m", "tests.toys.trainer", *words)
    return Job(number, command, trial, trial, env)


def ending(executor: LocalExecutor, wanted: Job) -> Exit:
    executor.launch(wanted, executor.free()[0])
    (ended,) = executor.wait(30)
    assert ended.number == wanted.number
    return ended


def output(wanted: Job) -> str:
    return (wanted.folder / "output.log").read_text()


def wait_until(done: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def hanging(*jobs: Job) -> None:
    wait_until(lambda: all("hanging" in output(wanted) for wanted in jobs))


def process_of(file: Path) -> psutil.Process:
    wait_until(lambda: file.exists() and file.read_text())
    return psutil.Process(int(file.read_text()))


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# Starting


def test_a_trial_sees_what_python_dash_m_would_show_it(make, start, tmp_path):
    words = ["a b", "it's", '"quoted"', "--x=1=2", "-v", "", "größe 🌳", "$HOME", "*", "new\nline"]
    wanted = job(tmp_path, "reports", *words, SPACED="a b=c 'd'", LEAF="🌿")
    assert ending(make(start=start), wanted).code == 0
    seen = json.loads(output(wanted).splitlines()[0])
    assert seen["argv"] == ["reports", *words]
    assert (seen["env"]["SPACED"], seen["env"]["LEAF"]) == ("a b=c 'd'", "🌿")
    assert seen["env"][MARKER].startswith("tests/0/")
    assert seen["env"]["CUDA_VISIBLE_DEVICES"] == ""
    assert seen["env"]["OMP_NUM_THREADS"] == "1"
    assert seen["cwd"] == seen["path"] == str(wanted.cwd)
    assert seen["main"] == "tests.toys.trainer"
    assert seen["session"]
    assert seen["stdin"] == ""
    assert "to stderr" in output(wanted)


def test_both_ways_give_the_same_environment_but_for_the_forks_preload(make, tmp_path):
    seen = {}
    for number, way in enumerate(STARTS):
        wanted = job(tmp_path, "reports", number=number)
        ending(make(start=way), wanted)
        seen[way] = json.loads(output(wanted).splitlines()[0])
    differing = {MARKER, "PYTHONUNBUFFERED"}
    fork, spawn = (
        {k: v for k, v in seen[way]["env"].items() if k not in differing} for way in STARTS
    )
    assert fork == spawn
    assert seen["fork"]["preloaded"]
    assert not seen["spawn"]["preloaded"]


def test_a_variable_that_python_reads_at_its_start_is_heeded_under_fork(make, tmp_path):
    wanted = job(tmp_path, "reports", PYTHONHASHSEED="7")
    ending(make(start="fork"), wanted)
    assert not json.loads(output(wanted).splitlines()[0])["preloaded"]


def test_a_preloaded_trainer_runs_without_a_word_of_ours(make, tmp_path):
    wanted = job(tmp_path, "completes")
    ending(make(start="fork"), wanted)
    assert output(wanted) == ""


def test_a_foreign_program_runs_as_it_is(make, tmp_path):
    wanted = Job(
        3, ("/bin/sh", "-c", 'echo "$0 $LEAF"; exit 9', "a b"), tmp_path, tmp_path, {"LEAF": "x"}
    )
    assert ending(make(), wanted).code == 9
    assert output(wanted) == "a b x\n"


def test_a_program_that_is_not_there_is_named(make, tmp_path):
    executor = make()
    wanted = Job(0, ("no-such-trainer",), tmp_path, tmp_path, {})
    with pytest.raises(InputError, match=r"'no-such-trainer'.*No such file"):
        executor.launch(wanted, executor.free()[0])
    assert len(executor.free()) == 2


def test_output_is_appended_and_nothing_reaches_the_terminal(make, start, tmp_path, capfd):
    wanted = job(tmp_path, "crashes")
    ending(make(start=start), wanted)
    ending(make(start=start), wanted)
    assert output(wanted).count("ValueError: the seventh layer is missing") == 2
    assert capfd.readouterr() == ("", "")


def test_slots_are_taken_and_freed(make, tmp_path):
    executor = make(workers=2)
    first, second = executor.slots
    assert (first.name, second.name, first.packed) == ("cpu:0", "cpu:1", True)
    executor.launch(job(tmp_path, "completes"), first)
    assert executor.free() == [second]
    executor.wait(30)
    assert executor.free() == [first, second]


def test_waiting_for_nothing_returns(make):
    assert make().wait(600) == []


def test_waiting_ends_with_its_timeout(make, tmp_path):
    executor = make()
    executor.launch(job(tmp_path, "hangs"), executor.free()[0])
    assert executor.wait(0.05) == []


def test_the_executor_is_found_by_its_name():
    assert executors.parse("local") == LocalConfig()
    assert executors.parse({"kind": "local", "workers": 4}).full()["workers"] == 4


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"workers": "many"}, {"silence": 0}, {"grace": -1.0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"executor|validation error"):
        executors.parse({"kind": "local", **options})


# Ending by themselves


@pytest.mark.parametrize(
    ("words", "code", "number"),
    [
        (("completes",), 0, None),
        (("crashes",), 1, None),
        (("exits", "7"), 7, None),
        (("exits", "255"), 255, None),
        (("exits_with_a_message",), 1, None),
        (("prints_garbage",), 3, None),
        (("prints_a_million_lines",), 1, None),
        (("dies_of", "9"), None, 9),
        (("dies_of", "11"), None, 11),
        (("dies_of", "15"), None, 15),
    ],
)
def test_exits_are_told_as_they_were(make, start, tmp_path, words, code, number):
    ended = ending(make(start=start), job(tmp_path, *words))
    assert (ended.code, ended.signal, ended.cause) == (code, number, "exited")


def test_a_module_that_is_not_there_is_a_crash_with_its_message(make, start, tmp_path):
    wanted = Job(0, (sys.executable, "-m", "no.such.module"), tmp_path, tmp_path, {})
    assert ending(make(start=start), wanted).code == 1
    assert "No module named" in output(wanted) or "ModuleNotFoundError" in output(wanted)


def test_several_ends_are_all_told(make, tmp_path):
    executor = make(workers=4)
    for number, slot in enumerate(executor.slots):
        executor.launch(job(tmp_path, "exits", str(number), number=number), slot)
    ends: dict[int, int | None] = {}
    while len(ends) < 4:
        ends.update({ended.number: ended.code for ended in executor.wait(30)})
    assert ends == {number: number for number in range(4)}


def test_a_trial_killed_from_outside_frees_its_slot(make, start, tmp_path):
    executor = make(workers=1, start=start)
    facts = executor.launch(job(tmp_path, "hangs"), executor.slots[0])
    os.kill(facts.pid, signal.SIGKILL)
    (ended,) = executor.wait(30)
    assert (ended.signal, ended.cause) == (signal.SIGKILL, "exited")
    assert executor.free() == list(executor.slots)


# Ending by us


def test_a_trial_that_takes_too_long_is_ended(make, start, tmp_path):
    ended = ending(make(start=start, timeout=0.3), job(tmp_path, "talks", "60", "0.01"))
    assert (ended.cause, ended.signal) == ("timeout", signal.SIGTERM)


def test_a_silent_trial_is_ended(make, start, tmp_path):
    ended = ending(make(start=start, silence=0.3), job(tmp_path, "hangs"))
    assert (ended.cause, ended.signal) == ("silent", signal.SIGTERM)


def test_a_trial_that_talks_is_not_silent(make, tmp_path):
    ended = ending(make(silence=1.0), job(tmp_path, "talks", "1.6", "0.05"))
    assert (ended.cause, ended.code) == ("exited", 0)


def test_a_stopped_trial_may_end_with_grace(make, start, tmp_path):
    executor, wanted = make(start=start, grace=30.0), job(tmp_path, "ends_with_grace")
    executor.launch(wanted, executor.free()[0])
    hanging(wanted)
    executor.stop(0)
    assert [(e.cause, e.code) for e in executor.wait(30)] == [("stopped", 0)]
    assert '"stopped"' in (wanted.folder / "metrics.jsonl").read_text()


def test_a_trial_deaf_to_sigterm_is_killed_after_the_grace_period(make, start, tmp_path):
    executor, wanted = make(start=start, grace=0.2), job(tmp_path, "ignores_sigterm")
    executor.launch(wanted, executor.free()[0])
    hanging(wanted)
    executor.stop(0)
    assert [(e.cause, e.signal) for e in executor.wait(30)] == [("stopped", signal.SIGKILL)]


def test_a_second_stop_without_grace_kills_at_once(make, tmp_path):
    executor, wanted = make(grace=600.0), job(tmp_path, "ignores_sigterm")
    executor.launch(wanted, executor.free()[0])
    hanging(wanted)
    executor.stop(0)
    assert executor.wait(0.1) == []
    executor.stop(0, grace=0)
    assert [e.signal for e in executor.wait(30)] == [signal.SIGKILL]


def test_a_second_stop_hurries_what_outlived_the_main_process(make, start, tmp_path):
    executor, wanted = make(start=start, grace=600.0), job(tmp_path, "keeps", "stubborn")
    executor.launch(wanted, executor.free()[0])
    hanging(wanted)
    executor.stop(0)
    assert executor.wait(0.2) == []
    executor.stop(0, grace=0)
    assert [e.cause for e in executor.wait(30)] == ["stopped"]
    assert gone_or_reaped(wanted.folder / "stubborn")


def test_stopping_what_does_not_run_does_nothing(make):
    make().stop(12)


def test_a_stopped_process_can_be_killed(make, tmp_path):
    executor, wanted = make(grace=0.1), job(tmp_path, "hangs")
    facts = executor.launch(wanted, executor.free()[0])
    hanging(wanted)
    os.kill(facts.pid, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(facts.pid).status() == psutil.STATUS_STOPPED)
    executor.stop(0)
    assert [e.signal for e in executor.wait(30)] == [signal.SIGKILL]


# The whole tree


@pytest.mark.parametrize("kind", ["worker", "stubborn", "orphan", "stray"])
def test_what_outlives_a_trial_is_killed_with_it(make, start, tmp_path, kind):
    wanted = job(tmp_path, "leaves", kind)
    assert ending(make(start=start, grace=600.0), wanted).code == 0
    assert gone_or_reaped(wanted.folder / kind)


KINDS = ("worker", "stubborn", "orphan", "daemon", "stray")


def test_a_stopped_trial_takes_its_whole_tree_along(make, start, tmp_path):
    executor, wanted = make(start=start, grace=0.3), job(tmp_path, "keeps", *KINDS)
    executor.launch(wanted, executor.free()[0])
    hanging(wanted)
    children = [process_of(wanted.folder / kind) for kind in KINDS]
    assert not any(map(gone, children))
    executor.stop(0)
    executor.wait(30)
    assert all(map(gone, children))


def test_a_trial_killed_from_outside_takes_its_tree_along(make, start, tmp_path):
    executor, wanted = make(start=start), job(tmp_path, "keeps", "worker", "orphan", "stray")
    facts = executor.launch(wanted, executor.free()[0])
    hanging(wanted)
    children = [process_of(wanted.folder / kind) for kind in ("worker", "orphan", "stray")]
    os.kill(facts.pid, signal.SIGKILL)
    executor.wait(30)
    assert all(map(gone, children))


def gone_or_reaped(file: Path) -> bool:
    pid = int(file.read_text())
    return not psutil.pid_exists(pid) or gone(psutil.Process(pid))


def test_the_same_trial_of_a_study_of_the_same_name_is_left_alone(make, tmp_path):
    first, second = make(start="spawn"), make(start="spawn")
    (tmp_path / "other").mkdir()
    kept, ended = job(tmp_path / "other", "hangs"), job(tmp_path, "exits", "0")
    trial = psutil.Process(first.launch(kept, first.slots[0]).pid)
    hanging(kept)
    assert ending(second, ended).code == 0
    assert first.wait(0.05) == []
    assert not gone(trial)


def test_the_fork_server_can_be_lost(make, tmp_path):
    executor = make(start="fork", workers=1)
    first, second = job(tmp_path, "hangs"), job(tmp_path, "completes", number=1)
    trial = psutil.Process(executor.launch(first, executor.slots[0]).pid)
    hanging(first)
    server = trial.parent()
    assert server is not None
    assert server.environ()[MARKER] == SERVER
    assert os.getsid(server.pid) == server.pid  # out of reach of the terminal's signals
    server.kill()
    (ended,) = executor.wait(30)
    assert (ended.cause, ended.code, ended.signal) == ("lost", None, None)
    assert gone(trial)
    assert ending(executor, second).code == 0


def test_closing_leaves_no_process(make, start, tmp_path):
    executor = make(start=start, grace=0.2, workers=3)
    trials = []
    for number, habit in enumerate(("hangs", "ignores_sigterm", "ends_with_grace")):
        wanted = job(tmp_path, habit, number=number)
        trials.append(psutil.Process(executor.launch(wanted, executor.free()[0]).pid))
        hanging(wanted)
    executor.close()
    assert all(map(gone, trials))
    assert executor.free() == list(executor.slots)
