"""What strategies that draw see of a growing history is what a plain reading of it tells."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, replace
from random import Random
from typing import Any

import pytest

from search.gains import expected_quality
from search.history import (
    CONFIRM,
    INTERRUPTED,
    Description,
    Failure,
    History,
    Purpose,
    Stopped,
    Trial,
)
from search.strategies import explored as module
from search.strategies.base import Problem
from search.strategies.explored import Explored
from tests.search.landscape import Hill

SEEN = [field.name for field in fields(Explored) if field.name not in ("problem", "history")]
GONE = Failure(INTERRUPTED, "the machine went down")


def lives(problem: Problem, rng: Random, count: int) -> Iterator[Trial]:
    """Changes of trials in the order of time: several run at once and end in any order.

    Trials of a few configs on a few seeds, none twice but those that were interrupted or forgiven;
    some confirm, or run under another clock.
    """
    world = Hill()
    wanted = [problem.baseline.config | {"width": width} for width in (32, 48, 64)]
    configs = [answer for answer in problem.describe(wanted) if isinstance(answer, Description)]
    free = [
        replace(problem.request(config, seed, Purpose(0, "explore")), clock=clock)
        for config in configs
        for seed in range(6)
        for clock in ("", "elsewhere")
    ]
    running: list[Trial] = []
    for number in range(count):
        asked = free.pop(rng.randrange(len(free)))
        phase = CONFIRM if rng.random() < 0.1 else "explore"
        asked = replace(asked, purpose=Purpose(0, phase, {"number": number}))
        running.append(Trial(number, asked, "running", started=float(number)))
        yield running[-1]
        while len(running) > rng.randrange(4):
            trial = running.pop(rng.randrange(len(running)))
            yield (told := replace(trial, curve=world.train(trial.request).curve))
            ended = replace(told, state="finished", ended=float(number))
            way = rng.random()
            if way < 0.15:
                ended = replace(ended, state="failed", failure=Failure("diverged", "no number"))
            elif way < 0.3:
                stop = Stopped("curve", "it could not win", "val_loss", rng.uniform(3.0, 4.0))
                ended = replace(ended, state="stopped", stopped=stop)
            if way > 0.2:
                yield ended
            if 0.1 < way < 0.3 or way > 0.9:  # of these some had ended, and are forgiven
                yield replace(ended, state="failed", failure=GONE, stopped=None)
                free.append(trial.request)


def read(problem: Problem, history: History) -> dict[str, Any]:
    """The same from all trials at once."""
    trials = [
        trial
        for trial in sorted(history, key=lambda trial: trial.number)
        if trial.request.purpose.phase != CONFIRM and trial.request.clock == problem.clock
    ]
    kept = [trial for trial in trials if trial.failure != GONE]
    tried = {(trial.config_id, trial.seed) for trial in kept}
    lost = {(t.config_id, t.seed): t for t in trials if t.failure == GONE}
    wanted = [trial for key, trial in lost.items() if key not in tried]
    asked, ended = [*kept, *wanted], [trial for trial in kept if trial.state != "running"]
    names = list(dict.fromkeys(trial.config_id for trial in asked))
    firsts = {name: next(t for t in asked if t.config_id == name) for name in names}
    rows = {name: {t.seed: t for t in ended if t.config_id == name} for name in names}
    known = {trial.number: expected_quality(trial, problem.objective) for trial in ended}
    found = {
        name: [q for trial in row.values() if (q := known[trial.number]) is not None]
        for name, row in rows.items()
    }
    return {
        "trials": kept,
        "lost": wanted,
        "configs": {name: trial.request.description for name, trial in firsts.items()},
        "edits": {name: trial.request.purpose.edit for name, trial in firsts.items()},
        "begun": {n: {t.seed for t in asked if t.config_id == n} for n in names},
        "rows": {name: row for name, row in rows.items() if row},
        "qualities": {n: pytest.approx(sum(own) / len(own)) for n, own in found.items() if own},
        "known": known,
        "running": len(kept) - len(ended),
    }


def seen(explored: Explored) -> dict[str, Any]:
    return {name: copy.deepcopy(getattr(explored, name)) for name in SEEN}


@pytest.mark.parametrize("first", range(12))
def test_of_a_growing_history_all_is_seen(first: int):
    rng, history, problem = Random(first), History(), Hill(limit=1e9).problem()
    for change in lives(problem, rng, count=30):
        history.put(change)
        if rng.random() < 0.5:
            continue  # several changes at a time
        assert_all_is_seen(problem, history)


def test_of_one_history_every_problem_sees_its_own():
    history, problem = History(), Hill(limit=1e9).problem()
    for change in lives(problem, Random(1), count=30):
        history.put(change)
        assert_all_is_seen(problem, history)
        assert_all_is_seen(replace(problem, clock="elsewhere"), history)


def assert_all_is_seen(problem: Problem, history: History) -> None:
    found, wanted = Explored.of(problem, history), read(problem, history)
    for name in SEEN:
        assert getattr(found, name) == wanted[name], name
    for name in ("configs", "rows", "qualities"):
        assert list(getattr(found, name)) == list(wanted[name])
    for name, row in found.rows.items():
        assert list(row) == list(wanted["rows"][name])


def test_what_was_seen_stays_as_it_was():
    history, problem = History(), Hill(limit=1e9).problem()
    kept = []
    for change in lives(problem, Random(1), count=30):
        history.put(change)
        found = Explored.of(problem, history)
        kept.append((found, seen(found)))
    for found, before in kept:
        assert seen(found) == before


def test_what_a_trial_came_to_is_worked_out_once(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []

    def counted(trial: Trial, *rest: Any) -> float | None:
        asked.append(trial.number)
        return expected_quality(trial, *rest)

    monkeypatch.setattr(module, "expected_quality", counted)
    history, problem = History(), Hill(limit=1e9).problem()
    for change in lives(problem, Random(2), count=30):
        if change.failure == GONE:
            continue
        history.put(change)
        Explored.of(problem, history)
    assert len(asked) == len(set(asked)) > 5


def test_a_history_tells_what_was_put_since():
    changes = list(lives(Hill().problem(), Random(3), count=10))
    history = History(changes[:8])
    version = history.version
    assert not history.since(version)
    later = changes[8:]
    for change in later:
        history.put(change)
    numbers = sorted({change.number for change in later})
    assert [trial.number for trial in history.since(version)] == numbers
    assert history.since(version) == [history[number] for number in numbers]
    assert history.since(0) == sorted(history, key=lambda trial: trial.number)
