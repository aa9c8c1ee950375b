"""What the terminal tells of a search that is under way."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from search.gains import scores
from search.history import History
from search.objective import Objective
from search.progress import Progress
from search.simulation import Simulation
from search.strategies.random import Random
from spec.records import Eval
from tests.search.landscape import Hill


def searched(trials: int = 9) -> tuple[Simulation, History]:
    world = Hill(noise=0.01)
    search = Simulation(Random(trials=20), world.problem(), world)
    search.run(max_trials=trials)
    return search, search.history


def line(search: Simulation, history: History, objective: Objective) -> str:
    said = io.StringIO()
    console = Console(file=said, width=400)
    Progress(console, search.problem.baseline, history, objective).changed(3)
    return said.getvalue()


def test_the_lowest_loss_so_far_is_told_and_whose_it_is():
    search, history = searched()
    losses = {t.number: t.curve[-1].val_loss for t in history if t.state == "finished"}
    number = min(losses, key=lambda n: losses[n])
    told = line(search, history, search.problem.objective)
    assert told.endswith(f"best trial so far: val_loss {losses[number]:.4f} (trial {number})\n")
    assert f"{len(losses)} trials done" in told


def test_nothing_is_told_before_the_first_trial_ends():
    search, _ = searched()
    told = line(search, History(), search.problem.objective)
    assert "best" not in told
    assert "0 trials done" in told


@pytest.mark.parametrize("target", [0.5, 100.0])
def test_with_a_target_it_is_the_shortest_time_to_it(target: float):
    search, history = searched()
    for trial in list(history):  # fewer seconds for later trials
        seconds, loss = 10.0 + 100.0 / (1 + trial.number), trial.curve[-1].val_loss
        point = Eval(step=1, train_seconds=seconds, val_loss=loss)
        history.put(replace(trial, curve=(point,)))
    objective = Objective(gain="time_to_target", target=target)
    told = line(search, history, objective)
    times = [scores(t, objective).to_target for t in history if t.state == "finished"]
    shortest = min(t.seconds if t and not t.censored else math.inf for t in times)
    expected = f"best trial so far: {shortest:.3g} s to {target:g}"
    assert (expected in told) == (target == 100.0)
    assert ("best" in told) == (target == 100.0)
