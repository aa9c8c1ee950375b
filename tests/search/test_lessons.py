"""What trials teach guided search, and what it believes after them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.landscapes.race import race
from search.history import (
    Description,
    Failure,
    History,
    Purpose,
    Request,
    Stopped,
    Trial,
)
from search.objective import Budget, Objective
from search.simulation import Simulation
from search.strategies.belief import belief_of
from search.strategies.explored import Explored
from search.strategies.guided import Guided
from search.strategies.lessons import BEND, JUST, Lessons, lessons
from search.strategies.model.features import Features
from search.strategies.model.surrogate import Surrogate
from search.strategies.sampling import lattice_of
from spec.records import End, Eval
from tests.search.landscape import Hill


def test_values_that_were_made_up_tell_nothing_of_noise():
    world = Hill(noise=0.01, broken="gated")
    problem = world.problem()
    search = Simulation(Guided(trials=40), problem, world)
    search.run(max_trials=30)
    explored = Explored.of(problem, search.history)
    taught, belief = lessons(explored).quality, belief_of(explored)
    assert belief is not None
    failed = {t.config_id for t in search.history if t.state == "failed"}
    assert failed
    for name, count in taught.counts.items():
        measured = [t for t in explored.rows[name].values() if t.state == "finished"]
        assert count == len(measured)
    assert all(taught.counts[name] == 0 for name in failed)
    names = list(belief.expected)
    values, counts = (
        np.array([column[name] for name in names], dtype=float)
        for column in (taught.values, taught.counts)
    )
    real, features = counts > 0, Features(lattice_of(problem))
    own, alone = (
        Surrogate(features, belief.points[part], values[part], counts[part], taught.seeds).own
        for part in (slice(None), real)
    )
    assert own.odds == pytest.approx(alone.odds)


TIMED = Objective(gain="time_to_target", target=2.0)


def _timed(
    number: int, losses: list[float], seconds: float, planned: int | None = None, **more: Any
) -> Trial:
    """A trial of one config whose losses come at equal distances up to some seconds."""
    points = [
        Eval(step=100 * k, train_seconds=seconds * k / len(losses), val_loss=loss)
        for k, loss in enumerate(losses, 1)
    ]
    inventory = {} if planned is None else {"planned_steps": planned}
    described = Description({"n": number}, str(number), inventory)
    budget = Budget(max_seconds=more.pop("max_seconds", None))
    request = Request(described, 1, budget, Purpose(0, "explore", {"path": "n"}))
    end = End(status="completed")
    return Trial(number, request, **{"state": "finished", **more}, curve=tuple(points), end=end)


def _taught(*trials: Trial, **budget: Any) -> Lessons:
    asked = replace(Hill().problem(), objective=TIMED, budget=Budget(**budget))
    return lessons(Explored.of(asked, History(list(trials))))


HITS = _timed(0, [3.0, 2.4, 2.0], 40.0, 300), _timed(1, [3.0, 2.5, 2.0], 60.0, 600)


def test_how_long_a_training_takes_and_how_far_it_gets_are_two_lessons():
    near, far = _timed(2, [3.0, 2.5, 2.02], 70.0, 300), _timed(3, [3.0, 2.6, 2.4], 70.0, 300)
    hasty = _timed(4, [3.0, 2.6, 2.4], 3.0, 300)
    taught = _taught(*HITS, near, far, hasty)
    assert taught.margin is not None
    quick, margin = taught.quality.values, taught.margin.values
    assert quick["0"] == pytest.approx(-math.log(40.0))
    assert quick["4"] > quick["0"] > quick["1"] > quick["2"] == quick["3"]
    assert margin["1"] > margin["0"] == 0.0 > margin["2"] > margin["3"] == margin["4"]
    assert taught.quality.counts == {"0": 1, "1": 1, "2": 0, "3": 0, "4": 0}
    assert set(taught.margin.counts.values()) == {1}


def test_a_hit_is_as_far_past_the_target_as_its_plan_or_its_loss_is():
    planned = _timed(2, [3.0, 2.5, 2.0], 30.0, 600)
    margins = _taught(*HITS, planned).margin
    assert margins is not None
    assert margins.values["2"] == pytest.approx(math.log1p(math.log(2.0) / BEND))
    capped = _timed(2, [3.0, 2.5, 2.0], 30.0, 600, max_seconds=45.0)
    rest = [_timed(n, [3.0, 2.4, 2.0], 40.0, 300, max_seconds=45.0) for n in range(2)]
    margins = _taught(*rest, capped, max_seconds=45.0).margin
    assert margins is not None
    assert margins.values["2"] == pytest.approx(math.log1p(math.log(1.5) / BEND))
    past = _timed(2, [3.0, 2.0, 1.5], 30.0)
    margins = _taught(*HITS, past).margin
    assert margins is not None
    assert margins.values["2"] > math.log1p(JUST / BEND)


def test_a_hit_of_unknown_plan_is_no_miss():
    margins = _taught(_timed(0, [3.0, 2.4, 2.0], 40.0), _timed(1, [3.0, 2.6, 2.4], 40.0)).margin
    assert margins is not None
    assert margins.values["0"] == pytest.approx(math.log1p(JUST / BEND))
    assert margins.values["1"] < 0.0


def test_a_trial_that_a_cap_has_ended_counts_as_if_it_had_gone_on():
    stopped = Stopped("cap", "too late", "time_to_target")
    ended = _timed(2, [3.0, 2.5, 2.1], 200.0, 1200, state="stopped", stopped=stopped)
    whole = _timed(3, [3.0, 2.5, 2.1], 200.0, 300)
    margins = _taught(*HITS, ended, whole).margin
    assert margins is not None
    assert margins.values["2"] > margins.values["3"]


def test_while_nothing_has_reached_the_target_the_loss_leads():
    taught = _taught(_timed(0, [3.0, 2.4, 2.1], 40.0, 300), _timed(1, [3.0, 2.5, 2.4], 4.0, 300))
    assert taught.margin is None
    assert taught.quality.values == {"0": -math.log(2.1), "1": -math.log(2.4)}


def test_trials_without_a_number_are_the_worst_of_all():
    broken = _timed(2, [], 1.0, 300, state="failed", failure=Failure("diverged", "no number"))
    taught = _taught(*HITS, broken, _timed(3, [3.0, 2.9, math.inf], 90.0, 300))
    assert taught.margin is not None
    assert taught.quality.values["2"] == min(taught.quality.values.values())
    assert taught.margin.values["2"] == min(taught.margin.values.values())
    assert all(map(math.isfinite, taught.margin.values.values()))


def test_what_may_miss_the_target_is_worth_less_than_what_is_sure_to_reach_it():
    world = race(0.01)
    problem = world.problem()
    search = Simulation(Guided(trials=80), problem, world)
    search.run(max_trials=70)
    explored = Explored.of(problem, search.history)
    taught, belief = lessons(explored), belief_of(explored)
    assert belief is not None
    assert taught.margin is not None
    margin = taught.margin.values
    assert belief.floor > 0.0
    gaps: dict[bool, list[float]] = {True: [], False: []}
    for name, value in belief.expected.items():
        gaps[margin[name] > 4 * belief.floor].append(taught.quality.values[name] - value)
    missed = [name for name in margin if margin[name] < -4 * belief.floor]
    assert max(gaps[True]) < 0.5
    worst = min(taught.quality.values.values())
    assert all(belief.expected[name] == pytest.approx(worst, abs=0.3) for name in missed)


def test_a_wish_asks_for_a_margin_where_there_is_a_target():
    world = race(0.005)
    problem = world.problem()
    search = Simulation(Guided(trials=60), problem, world)
    search.run(max_trials=50)
    explored = Explored.of(problem, search.history)
    belief = belief_of(explored)
    assert belief is not None
    lattice = lattice_of(problem)
    loads = belief.mean().shortfall(lattice.marks(belief.points))
    hits = np.array([explored.hit(name) for name in belief.expected])
    assert np.mean(loads[hits] <= 1.0) > 0.8
    assert np.mean(loads[~hits] <= 1.0) < 0.2
