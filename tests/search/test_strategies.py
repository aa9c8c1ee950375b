"""What every strategy keeps, whatever it does inside."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from search.history import CONFIRM, INTERRUPTED, Failure, History, Purpose, Request, Trial
from search.ledger import Total, affordable
from search.objective import Budget
from search.simulation import Outcome, Simulation, single
from search.strategies import strategies
from search.strategies.base import Run, Strategy
from search.strategies.optuna_samplers import Optuna
from search.strategies.random import Random
from search.strategies.sampling import Sampling
from tests.search.landscape import SPACE, Hill
from tests.search.worlds import Bowl, problem

TRIALS = 24
OPTIONS: dict[str, dict[str, Any]] = {"grid": {"trials": TRIALS}, "greedy": {"max_rounds": 2}}
KINDS = sorted(strategies)


def made(kind: str) -> Strategy:
    options = OPTIONS.get(kind, {"trials": TRIALS})
    return strategies[kind](**options)


def searched(kind: str, world: Hill, workers: int = 1, **seeds: Any) -> Simulation:
    simulation = Simulation(made(kind), world.problem(workers, **seeds), world, workers)
    simulation.run(max_trials=200)
    return simulation


def asked(proposal: object) -> list[tuple[str, int]]:
    assert isinstance(proposal, Run)
    return [(r.description.config_id, r.seed) for r in proposal.requests]


def told(proposal: object) -> object:
    return asked(proposal) if isinstance(proposal, Run) else proposal


def beginning(history: History, count: int) -> History:
    """A history as it was when its first trials had ended, without its decisions."""
    return History(sorted(history, key=lambda trial: trial.number)[:count])


@pytest.fixture(scope="module", params=KINDS)
def search(request: pytest.FixtureRequest) -> Simulation:
    return searched(request.param, Hill(noise=0.002))


def test_the_first_trial_is_the_baseline(search: Simulation):
    assert search.history[0].config_id == search.problem.baseline.config_id


def in_advance(strategy: Strategy, workers: int = 1, **seeds: Any) -> int:
    """How many configs are told in advance; they have to be those that are tried first."""
    world = Hill(noise=0.002)
    search = Simulation(strategy, world.problem(workers, **seeds), world, workers)
    search.run(max_trials=200)
    outset = strategy.outset(search.problem)
    wanted = [c.description.config_id for c in outset if c.description and not c.rejected]
    tried = dict.fromkeys(
        trial.config_id for trial in search.history if trial.request.purpose.phase != CONFIRM
    )
    del tried[search.problem.baseline.config_id]
    assert list(tried)[: len(wanted)] == wanted
    return len(wanted)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_told_in_advance_is_tried_first(kind: str, workers: int):
    assert in_advance(made(kind), workers) >= 4
    assert in_advance(made(kind), workers, screen=2) >= 4


@pytest.mark.parametrize(
    ("sampler", "options", "told"),
    [
        ("tpe", {}, 8),
        ("tpe", {"n_startup_trials": 4}, 3),
        ("tpe", {"n_startup_trials": 1}, 0),
        ("gp", {"n_startup_trials": 4}, 3),
        ("cmaes", {}, 0),
        ("cmaes", {"n_startup_trials": 3}, 2),
        ("nsgaii", {}, 8),
        ("nsgaii", {"population_size": 4}, 3),
        ("random", {}, 8),
        ("qmc", {}, 0),
    ],
)
def test_only_draws_that_depend_on_no_result_are_told_in_advance(
    sampler: str, options: dict[str, int], told: int
):
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    strategy = Optuna(trials=20, sampler=sampler, options=options)
    assert in_advance(strategy) == told
    words = strategy.outset_words(Hill().problem(), told)
    assert words.startswith("what is drawn first depends on" if not told else f"{told} configs")


@pytest.mark.parametrize("screen", [1, 2])
@pytest.mark.parametrize(
    ("kind", "trials"), [("random", 12), ("guided", 11), ("random", 10), ("grid", 10)]
)
def test_no_more_is_told_in_advance_than_is_tried(kind: str, trials: int, screen: int):
    world = Hill(noise=0.002)
    asked: dict[str, Any] = {"trials": trials}
    strategy = strategies[kind](**asked)
    search = Simulation(strategy, world.problem(confirm=2, screen=screen), world)
    search.run(max_trials=200)
    told = [candidate for candidate in strategy.outset(search.problem) if not candidate.rejected]
    assert len(told) == len({t.config_id for t in search.history}) - 1


@pytest.mark.parametrize("kind", ["random", "guided"])
def test_trials_in_all_are_in_all_also_when_they_are_raised(kind: str):
    world = Hill(noise=0.002)
    history, problem = History(), world.problem(confirm=2)
    for trials, cut in ((16, 13), (20, None), (30, None)):  # raised amid the first confirmation
        asked: dict[str, Any] = {"trials": trials}
        search = Simulation(strategies[kind](**asked), problem, world, history=history)
        assert (search.run(max_trials=cut) is None) == (cut is not None)
        assert len(history) <= trials
    assert len(history) > 20
    assert sum(trial.request.purpose.phase == "confirm" for trial in history) > 6


def test_a_config_is_told_with_why_it_was_taken_or_not():
    world = Hill(noise=0.002)
    search = Simulation(Random(trials=40), world.problem(confirm=2), world)
    search.run()
    (step,) = search.history.accepted
    told = {c["config_id"]: c["why"] for c in step.detail["candidates"]}
    assert told.pop(step.config_id) == "taken"
    (other,) = {v["config_id"] for v in step.detail["attempts"]} - {step.config_id}
    assert told.pop(other).startswith(("confirmed as well, but", "not confirmed"))
    assert set(told.values()) == {"not among the best 2, which are confirmed"}
    assert "gain in score +" in step.words
    assert "parameters" in step.words


def test_proposing_twice_gives_the_same(search: Simulation):
    history = beginning(search.history, 5)
    ways = [search.strategy.propose(search.problem, history) for _ in range(2)]
    assert told(ways[0]) == told(ways[1])


@pytest.mark.parametrize("count", [1, 7, 15, 23])
def test_resumed_anywhere_it_ends_the_same(search: Simulation, count: int):  # behaviours 25, 29
    world = search.world
    assert isinstance(world, Hill)
    before = beginning(search.history, count)
    now = max(trial.ended or 0.0 for trial in before)
    again = Simulation(search.strategy, world.problem(), world, history=before, now=now)
    again.run(max_trials=200)
    assert [t.request for t in again.history] == [t.request for t in search.history]
    assert [d.words for d in again.history.decisions] == [d.words for d in search.history.decisions]


def test_nothing_is_trained_twice(search: Simulation):
    counts = Counter((trial.config_id, trial.seed) for trial in search.history)
    assert max(counts.values()) == 1


def test_limits_are_kept(search: Simulation):
    limit = search.problem.objective.limits["parameters"]
    assert all(t.request.description.inventory["parameters"] <= limit for t in search.history)


def test_it_stops_with_a_reason(search: Simulation):
    last = search.history.decisions[-1]
    assert last.kind == "stop"
    assert len(last.words) > 10


def test_an_accepted_config_is_better_and_was_confirmed_on_fresh_seeds(search: Simulation):
    for step in search.history.accepted:
        verdict = step.detail["attempts"][-1]
        assert verdict["confirmed"]
        purposes = [(t.seed, t.request.purpose) for t in search.history]
        explored = {s for s, p in purposes if p.phase != "confirm" and p.round <= step.round}
        assert not explored & set(verdict["seeds"])
        assert step.config is not None
        world = search.world
        assert isinstance(world, Hill)
        assert world.loss(step.config) < world.loss(search.problem.baseline.config)


def test_decisions_are_plain_data(search: Simulation):
    for decision in search.history.decisions:
        json.dumps(dict(decision.detail))


@pytest.mark.parametrize("kind", KINDS)
def test_costs_in_another_unit_change_nothing(kind: str):
    one, other = (searched(kind, Hill(noise=0.002, unit=unit)) for unit in (1.0, 1024.0))
    assert [t.config_id for t in one.history] == [t.config_id for t in other.history]


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_in_which_trials_are_listed_changes_nothing(kind: str):
    search = searched(kind, Hill(noise=0.002))
    trials = list(search.history)[:9]
    problem = search.problem
    ways = [search.strategy.propose(problem, History(way)) for way in (trials, trials[::-1])]
    assert told(ways[0]) == told(ways[1])


@pytest.mark.parametrize("kind", KINDS)
def test_failures_are_survived(kind: str):  # behaviours 14
    search = searched(kind, Hill(noise=0.002, broken="none"))
    assert search.history.decisions[-1].kind == "stop"
    taken = [step.config for step in search.history.accepted]
    assert all(c is not None and c["layers"][0]["mlp"]["kind"] != "none" for c in taken)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_trial_is_asked_for_again(kind: str):
    search = searched(kind, Hill(noise=0.002))
    trials = sorted(search.history, key=lambda trial: trial.number)[:6]
    gone = replace(trials[-1], state="failed", failure=Failure(INTERRUPTED, "ended"), curve=())
    proposal = search.strategy.propose(search.problem, History([*trials[:-1], gone]))
    assert (gone.config_id, gone.seed) in asked(proposal)


@pytest.mark.parametrize("kind", ["grid", "guided", "optuna", "random"])
def test_what_was_interrupted_amid_others_runs_again_and_nothing_else_changes(kind: str):
    world = Hill(noise=0.002)
    search = searched(kind, world)
    trials = sorted(search.history, key=lambda trial: trial.number)
    gone = replace(trials[6], state="failed", failure=Failure(INTERRUPTED, "ended"), curve=())
    history = History([*trials[:6], gone, *trials[7:12]])
    again = Simulation(search.strategy, search.problem, world, history=history, now=1e3)
    again.run(max_trials=13)
    assert again.history[12].request == gone.request
    if kind == "optuna":
        return  # samplers learn in the order of time
    again.run(max_trials=200)
    ended = (trial.request for trial in again.history if trial.failure is None)
    assert sorted(map(repr, ended)) == sorted(repr(trial.request) for trial in trials)
    assert again.history.decisions[-1].words == search.history.decisions[-1].words


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("kind", ["guided", "random"])
def test_a_total_for_the_study_leaves_enough_to_confirm_the_best(kind: str, workers: int):
    world, strategy = Hill(noise=0.002), strategies.parse({"kind": kind, "trials": 100})
    for total in (Total(trials=26), Total(train_seconds=150.0)):
        asked = replace(world.problem(workers), total=total)
        search = Simulation(strategy, asked, world, workers)
        search.run(max_trials=200)
        assert affordable(search.history, total, reserve=0) > -1
        phases = [trial.request.purpose.phase for trial in search.history]
        assert phases[-6:] == ["confirm"] * 6
        assert len(phases) > 15
        assert "the budget is spent but for" in search.history.decisions[-1].words


def test_cheap_confirmations_are_not_broken_off_to_explore():
    class Uneven(Hill):
        def train(self, request: Request) -> Outcome:
            seconds = 0.1 if request.purpose.phase == "confirm" else 10.0
            return single(self.loss(request.description.config), seconds)

    world = Uneven()
    asked = replace(world.problem(), total=Total(train_seconds=209.9))
    search = Simulation(Random(trials=100), asked, world)
    search.run(max_trials=200)
    phases = [trial.request.purpose.phase for trial in search.history]
    assert phases[:20] == ["explore"] * 14 + ["confirm"] * 6


@pytest.mark.parametrize("kind", ["guided", "random"])
def test_a_small_total_still_tries_something(kind: str):
    asked = replace(Hill().problem(), total=Total(trials=8))
    search = Simulation(strategies.parse({"kind": kind}), asked, Hill())
    search.run(max_trials=20)
    assert len({trial.config_id for trial in search.history}) > 1


@pytest.mark.parametrize("kind", ["grid", "guided", "optuna", "random"])
@pytest.mark.parametrize("screen", [1, 2])
def test_trials_on_other_seeds_are_learnt_from_and_not_made_up_for(kind: str, screen: int):
    world = Hill(noise=0.002)
    search = searched(kind, world, screen=screen)
    beginning = History(list(search.history)[:12])
    other = world.problem(first=5000, screen=screen)
    again = Simulation(search.strategy, other, world, history=beginning, now=1e3)
    again.run(max_trials=100)
    assert len(again.history) <= TRIALS + 4
    assert again.history.decisions[-1].kind == "stop"


@pytest.mark.parametrize("kind", ["guided", "random"])
def test_what_greedy_measured_is_no_debt_of_others(kind: str):
    search = searched("greedy", Hill(noise=0.002))
    known = len(search.history)
    assert search.history.accepted
    strategy = strategies.parse({"kind": kind, "trials": known + 20})
    again = Simulation(strategy, search.problem, search.world, history=search.history, now=1e4)
    again.run(max_trials=known + 60)
    assert len(again.history) < known + 40
    assert again.history.decisions[-1].kind == "stop"


@pytest.mark.parametrize("kind", ["guided", "random"])
def test_a_baseline_over_the_limit_runs_again_when_it_was_interrupted(kind: str):
    world = Hill(noise=0.002, limit=1000.0)
    asked = world.problem()
    gone = Trial(
        0,
        asked.request(asked.baseline, 1337, Purpose(0, "explore")),
        "failed",
        failure=Failure(INTERRUPTED, "ended"),
    )
    proposal = made(kind).propose(asked, History([gone]))
    assert isinstance(proposal, Run)
    assert proposal.requests[0] == gone.request


def test_another_budget_is_confirmed_anew_though_it_took_as_many_trials():
    world, history = Bowl(optimum={"a": 4, "b": 4, "c": 4}), History()  # nothing is better
    for cap in (None, 5):
        asked = replace(problem(world), budget=Budget(max_steps=cap))
        search = Simulation(
            Random(trials=20), asked, world, history=history, now=1e3 * len(history)
        )
        search.run(max_trials=200)
    assert not history.accepted
    confirming = [trial.request for trial in history if trial.request.purpose.phase == "confirm"]
    assert len({request.setting for request in confirming}) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_workers_get_different_trials(kind: str):
    search = searched(kind, Hill(noise=0.002), workers=4)
    proposal = search.strategy.propose(search.problem, History(list(search.history)[:3]))
    wanted = asked(proposal)
    assert len(wanted) >= 3
    assert len(set(wanted)) == len(wanted)
    counts = Counter((trial.config_id, trial.seed) for trial in search.history)
    assert max(counts.values()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_that_is_used_up_ends_the_search(kind: str):  # behaviours 41
    world = Hill(noise=0.002, space={"width": SPACE["width"]})
    search = searched(kind, world)
    assert search.history.decisions[-1].kind == "stop"
    assert len({t.config_id for t in search.history}) <= 6


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(strategies[kind], Sampling)])
def test_more_trials_go_on_where_the_search_ended(kind: str):  # behaviours 30
    world = Hill(noise=0.002)
    search = searched(kind, world)
    longer = strategies.parse({"kind": kind, "trials": TRIALS + 10})
    again = Simulation(longer, search.problem, world, history=search.history)
    again.run(max_trials=200)
    assert len(again.history) > TRIALS
    assert again.history.decisions[-1].kind == "stop"
    counts = Counter((trial.config_id, trial.seed) for trial in again.history)
    assert max(counts.values()) == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(strategies[kind], Sampling)])
def test_every_config_gets_its_seeds(kind: str):
    search = searched(kind, Hill(noise=0.002), screen=2)
    rows = Counter(t.config_id for t in search.history if t.request.purpose.phase == "explore")
    baseline = rows.pop(search.problem.baseline.config_id)
    assert baseline >= 2
    assert set(rows.values()) == {2}


@pytest.mark.parametrize("workers", [1, 16])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(strategies[kind], Sampling)])
def test_the_trials_asked_for_are_not_exceeded(kind: str, workers: int):
    assert len(searched(kind, Hill(noise=0.002), workers).history) <= TRIALS


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("kind", ["guided", "optuna", "random"])
def test_time_ends_exploring_and_tells_how_many_trials_are_left(kind: str, workers: int):
    world = Hill(noise=0.002)
    problem = world.problem(workers)

    def timed(seconds: float, history: History | None = None, most: int | None = None):
        options: dict[str, Any] = {"trials": None, "worker_seconds": seconds}
        strategy = strategies[kind](**options)
        search = Simulation(strategy, problem, world, workers, history=history or History())
        return search, search.run(max_trials=most)

    search, end = timed(60.0)
    assert end is not None
    assert "the time is over, as asked" in end.words
    drawn = [t for t in search.history if t.request.purpose.phase != CONFIRM]
    for trial in drawn:
        before = [t.ended - t.started for t in drawn if t.ended < trial.started]
        assert sum(before) < 60.0
    assert sum(t.ended - t.started for t in drawn) >= 60.0

    half, _ = timed(60.0, most=len(drawn) // 2)
    proposal = half.strategy.propose(problem, half.history)
    assert isinstance(proposal, Run)
    running = sum(trial.state == "running" for trial in half.history)
    left = len(drawn) - len(half.history) + running
    assert abs(proposal.expected - left) <= left / 2 + workers

    longer, _ = timed(90.0, History(search.history))
    assert len([t for t in longer.history if t.request.purpose.phase != CONFIRM]) > len(drawn)
    assert asked_for(longer.history)[: len(drawn)] == asked_for(History(drawn))


def asked_for(history: History) -> list[tuple[str, int]]:
    """What was drawn, in order."""
    drawn = [t for t in history if t.request.purpose.phase != CONFIRM]
    return [(t.config_id, t.seed) for t in sorted(drawn, key=lambda trial: trial.number)]


def test_without_confirming_the_best_is_taken_unconfirmed():
    search = searched("random", Hill(), confirm=0)
    (step,) = search.history.accepted
    assert all(trial.request.purpose.phase == "explore" for trial in search.history)
    assert step.config_id != search.problem.baseline.config_id
