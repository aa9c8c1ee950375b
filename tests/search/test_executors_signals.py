"""An orchestrator in a terminal of its own: interrupted, killed, and what becomes of its trials."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from search.executors.base import ProcessFacts
from search.executors.tree import Tree, end_orphans
from tests.search.test_executors import gone, process_of, wait_until

HABITS = ("ends_with_grace", "keeps worker orphan stray")


class Orchestrator:
    """``tests/toys/orchestrator.py`` in its own session, as a terminal would hold it."""

    def __init__(self, repository: Path, folder: Path, start: str, *habits: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, repository / "tests/toys/orchestrator.py", folder, start, *habits],
            env={**os.environ, "PYTHONPATH": str(repository), "MAIN_RUNS": str(folder / "mains")},
            cwd=repository,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_until((folder / "facts.json").exists)
        self.facts = [ProcessFacts(**f) for f in json.loads((folder / "facts.json").read_text())]
        self.trials = [psutil.Process(facts.pid) for facts in self.facts]
        logs = [folder / str(number) / "output.log" for number, _ in enumerate(habits)]
        wait_until(lambda: all("hanging" in log.read_text() for log in logs))

    def terminal_signal(self, number: signal.Signals) -> None:
        """To the foreground process group, as Ctrl-C does it."""
        os.killpg(self.process.pid, number)


@pytest.fixture(params=["fork", "spawn"])
def orchestrator(request, repository, tmp_path):
    made = Orchestrator(repository, tmp_path, request.param, *HABITS)
    yield made
    if made.process.poll() is None:
        made.process.kill()
    end_orphans(made.facts, grace=0)  # first: they hold the pipe of its output
    made.process.communicate()


def test_ctrl_c_ends_trials_with_grace_and_leaves_nobody(orchestrator):
    workers = [
        process_of(orchestrator.folder / "1" / kind) for kind in ("worker", "orphan", "stray")
    ]
    orchestrator.terminal_signal(signal.SIGINT)
    printed, _ = orchestrator.process.communicate(timeout=30)
    assert orchestrator.process.returncode == 130
    assert printed == b""
    assert '"stopped"' in (orchestrator.folder / "0" / "metrics.jsonl").read_text()
    assert all(map(gone, [*orchestrator.trials, *workers]))


def test_the_main_module_runs_once(orchestrator):
    assert (orchestrator.folder / "mains").read_text() == "__main__\n"


def test_orphans_of_a_killed_orchestrator_are_ended_at_the_next_start(orchestrator):
    workers = [
        process_of(orchestrator.folder / "1" / kind) for kind in ("worker", "orphan", "stray")
    ]
    orchestrator.process.kill()
    orchestrator.process.wait()
    assert not any(map(gone, [*orchestrator.trials, *workers]))
    end_orphans(orchestrator.facts, grace=10)
    assert all(map(gone, [*orchestrator.trials, *workers]))
    assert '"stopped"' in (orchestrator.folder / "0" / "metrics.jsonl").read_text()


def test_a_second_ctrl_c_kills(repository, tmp_path):
    orchestrator = Orchestrator(repository, tmp_path, "fork", "ignores_sigterm")
    orchestrator.terminal_signal(signal.SIGINT)
    time.sleep(0.3)
    assert orchestrator.process.poll() is None
    orchestrator.terminal_signal(signal.SIGINT)
    orchestrator.process.communicate(timeout=8)  # the grace period is 10 s
    assert all(map(gone, orchestrator.trials))


@pytest.fixture
def stranger():
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    yield psutil.Process(process.pid)
    process.communicate()


def test_a_stranger_with_a_reused_pid_is_never_signalled(stranger):
    facts = ProcessFacts(stranger.pid, stranger.create_time() - 60, "study/1")
    assert Tree(facts).main() is None
    assert Tree(facts).members() == []
    end_orphans([facts], grace=0)
    assert stranger.is_running()


def test_a_strangers_session_under_our_old_number_is_left_alone(tmp_path):
    """The leader has died; its number says nothing any more."""
    script = "import os, time; child = os.fork(); child or time.sleep(60); print(child)"
    with (tmp_path / "pid").open("w") as out:
        leader = subprocess.Popen(
            [sys.executable, "-c", script], stdout=out, start_new_session=True
        )
    leader.wait()
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    assert os.getsid(child.pid) == leader.pid
    try:
        end_orphans([ProcessFacts(leader.pid, child.create_time() - 60, "study/1")], grace=0)
        assert not gone(child)
    finally:
        child.kill()


def test_another_study_with_the_same_trial_number_is_left_alone(stranger):
    facts = ProcessFacts(2**22 - 1, stranger.create_time() - 60, "study/1")
    sibling = subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE,
        env={**os.environ, "ESPALIER_TRIAL": "study/11"},
    )
    end_orphans([facts], grace=0)
    assert sibling.poll() is None
    sibling.communicate()


def test_no_records_no_work():
    end_orphans([])
