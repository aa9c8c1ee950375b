"""What strategies that draw see of a growing history is what they would see of it read anew."""

from __future__ import annotations

from dataclasses import fields, replace
from random import Random

import pytest

from search.history import CONFIRM, INTERRUPTED, Description, Failure, History, Purpose, Trial
from search.strategies.base import Problem
from search.strategies.explored import Explored
from tests.search.landscape import Hill

SEEN = [field.name for field in fields(Explored) if field.name not in ("problem", "history")]
SEEN.remove("_known")  # only asked for one trial at a time: its order means nothing


def lives(problem: Problem, rng: Random, count: int) -> list[Trial]:
    """Changes of trials in the order of time: many run at once, some are interrupted and retried.

    Trials of a few configs on a few seeds, none twice; some confirm, or ran under another clock.
    """
    world, changes = Hill(), []
    knobs = [problem.baseline.config | {"width": width} for width in (32, 48, 64)]
    configs = [answer for answer in problem.describe(knobs) if isinstance(answer, Description)]
    assert len(configs) == len(knobs)
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
        asked = replace(asked, purpose=replace(asked.purpose, phase=phase))
        running.append(Trial(number, asked, "running", started=float(number)))
        changes.append(running[-1])
        while len(running) > rng.randrange(4):
            trial = running.pop(rng.randrange(len(running)))
            curve = world.train(trial.request).curve
            changes.append(replace(trial, curve=curve))
            ended = replace(changes[-1], state="finished", ended=float(number))
            if rng.random() < 0.3:
                reason = rng.choice([INTERRUPTED, "diverged"])
                ended = replace(trial, state="failed", failure=Failure(reason, "for a reason"))
                free += [trial.request] * (reason == INTERRUPTED)
            changes.append(ended)
            if rng.random() < 0.1:  # what has ended may change as well: a failure is forgiven, say
                changes.append(replace(ended, state="failed", failure=Failure("oom", "too big")))
    return changes


def in_order(seen: object) -> object:
    """A value with the order of its mappings told."""
    if isinstance(seen, dict):
        return [(key, in_order(value)) for key, value in seen.items()]
    return seen


@pytest.mark.parametrize("first", range(12))
def test_a_history_that_grew_is_seen_as_one_read_anew(first: int):
    rng, history, problem = Random(first), History(), Hill().problem()
    for change in lives(problem, rng, count=30):
        history.put(change)
        if rng.random() < 0.5:
            continue  # several changes at a time
        grown = Explored.of(problem, history)
        anew = Explored.of(problem, History(sorted(history, key=lambda trial: trial.number)))
        for name in SEEN:
            assert in_order(getattr(grown, name)) == in_order(getattr(anew, name)), name


def test_what_was_seen_stays_as_it_was():
    history, problem = History(), Hill().problem()
    changes = lives(problem, Random(1), count=30)
    history.put(changes[0])
    before = Explored.of(problem, history)
    kept = {name: in_order(getattr(before, name)) for name in SEEN}
    for change in changes[1:]:
        history.put(change)
        Explored.of(problem, history)
    assert {name: in_order(getattr(before, name)) for name in SEEN} == kept
