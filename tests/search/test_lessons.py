"""What trials teach guided search, and what it believes after them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

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
from search.strategies.belief import _chance, belief_of
from search.strategies.draws import lattice_of
from search.strategies.explored import Explored
from search.strategies.guided import Guided
from search.strategies.lessons import BEND, JUST, LEARNT, Lessons, lessons
from search.strategies.model.features import Features
from search.strategies.model.surrogate import Surrogate
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


def test_a_miss_stays_a_miss_beside_many_hits_that_are_alike():
    hits = [_timed(n, [3.0, 2.4, 2.0], 40.0, 580 + 10 * n) for n in range(6)]
    margins = _taught(*hits, _timed(6, [3.0, 2.6, 2.4], 70.0, 300)).margin
    assert margins is not None
    assert margins.values["6"] < 0.0 < min(margins.values[str(n)] for n in range(6))


def test_a_dip_below_the_target_is_a_miss_where_it_has_to_stay_there():  # behaviours 11
    dips, stays = _timed(2, [3.0, 1.9, 2.1], 40.0, 300), _timed(3, [3.0, 2.1, 1.9], 40.0, 300)
    asked = Objective(gain="time_to_target", target=2.0, crossing="sustained")
    problem = replace(Hill().problem(), objective=asked, budget=Budget())
    margins = lessons(Explored.of(problem, History([*HITS, dips, stays]))).margin
    assert margins is not None
    assert margins.values["2"] < 0.0 < margins.values["3"]


@pytest.mark.parametrize(
    "points",
    [
        [(0, 0.1, 1.9)],
        [(0, 0.0, 1.9)],
        [(0, 0.1, 2.5)],
        [(0, 0.0, 4.2), (100, 20.0, 2.5), (200, 40.0, 2.0)],
        [(100, 10.0, math.inf), (200, 20.0, 2.4), (300, 30.0, 2.0)],
        [(100, 10.0, math.nan), (200, 20.0, 2.4), (300, 30.0, 2.0)],
        [(100, 10.0, 2.0), (200, 20.0, 2.0), (300, 30.0, 2.0)],
        [(100, 10.0, 800.0)],
    ],
)
def test_odd_curves_leave_every_lesson_a_number(points: list[tuple[int, float, float]]):
    curve = tuple(Eval(step=s, train_seconds=t, val_loss=v) for s, t, v in points)
    odd = replace(_timed(2, [3.0], 1.0, 300), curve=curve)
    taught = _taught(*HITS, odd, _timed(3, [3.0, 2.6, 2.4], 70.0, 300))
    assert taught.margin is not None
    told = [*taught.quality.values.values(), *taught.margin.values.values()]
    assert all(map(math.isfinite, told))
    assert taught.margin.values["3"] < 0.0
    assert taught.margin.values["1"] > 0.0
    plain = replace(Hill().problem(), objective=Objective(), budget=Budget())
    losses = lessons(Explored.of(plain, History([*HITS, odd]))).quality.values
    assert all(map(math.isfinite, losses.values()))


def test_an_evaluation_before_the_first_step_does_not_change_the_pace():
    start = (Eval(step=0, train_seconds=0.0, val_loss=4.2),)
    late = [_timed(n, [2.6, 2.3, 2.0], 30.0, 300) for n in range(2)]
    miss = _timed(2, [2.6, 2.3, 2.1], 30.0, 300)
    told = [
        _taught(*(replace(trial, curve=first + trial.curve) for trial in (*late, miss))).margin
        for first in ((), start)
    ]
    assert told[0] is not None
    assert told[1] is not None
    assert told[1].values == pytest.approx(told[0].values)
    pace = (2.6 - 2.0) / math.log(3.0)  # from a third of its time on
    assert told[0].values["2"] == pytest.approx(-math.log1p(0.1 / pace / BEND))


def test_of_many_configs_those_that_reached_the_target_are_kept():
    hits = [_timed(n, [3.0, 2.4, 2.0], 40.0 + n, 300) for n in range(40)]
    misses = [_timed(n, [3.0, 2.6, 2.1 + n / 1e3], 5.0, 300) for n in range(40, 900)]
    taught = _taught(*hits, *misses)
    names = set(taught.quality.values)
    assert names >= {trial.config_id for trial in hits}
    assert names >= {str(n) for n in range(40, LEARNT // 2)}
    assert len(names) <= LEARNT + 1


def test_of_many_configs_the_best_are_kept_and_some_of_the_rest():
    trials = [_timed(n, [3.0 + n / 1e3], 40.0) for n in range(900)]
    plain = replace(Hill().problem(), objective=Objective(), budget=Budget())
    names = lessons(Explored.of(plain, History(trials))).quality.values
    assert len(names) <= LEARNT
    assert set(names) >= {str(n) for n in range(LEARNT // 2)}
    assert max(map(int, names)) > 800


def test_the_chance_of_a_miss_is_that_of_its_distribution():
    rng = np.random.default_rng(3)
    for margin, doubt, noise in ((0.5, 0.3, 0.4), (-0.2, 0.5, 0.1), (1.0, 0.01, 2.0)):
        real = margin + doubt * rng.standard_normal(200_000)
        (chance,), (swing,) = _chance(np.array([margin]), np.array([doubt]), noise)
        assert chance == pytest.approx(
            np.mean(real + noise * rng.standard_normal(200_000) > 0), abs=0.01
        )
        assert swing == pytest.approx(np.std(ndtr(real / noise)), rel=0.3)


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
    world = race(0.003)
    problem = world.problem(first=7)
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
        gaps[margin[name] > 3 * belief.floor].append(taught.quality.values[name] - value)
    missed = [name for name in margin if margin[name] < -4 * belief.floor]
    assert min(len(gaps[True]), len(missed)) > 3
    assert max(gaps[True]) < 0.5
    worst = min(taught.quality.values.values())
    assert all(belief.expected[name] == pytest.approx(worst, abs=0.3) for name in missed)


def test_a_wish_asks_for_a_margin_where_there_is_a_target():
    inside: dict[bool, list[bool]] = {True: [], False: []}
    for first in (7, 1337, 2007):
        world = race(0.005)
        problem = world.problem(first=first)
        search = Simulation(Guided(trials=60), problem, world)
        search.run(max_trials=50)
        explored = Explored.of(problem, search.history)
        belief = belief_of(explored)
        assert belief is not None
        loads = belief.mean().shortfall(lattice_of(problem).marks(belief.points))
        for name, load in zip(belief.expected, loads, strict=True):
            inside[explored.hit(name)].append(load <= 1.0)
    assert np.mean(inside[True]) > 0.8
    assert np.mean(inside[False]) < 0.2
