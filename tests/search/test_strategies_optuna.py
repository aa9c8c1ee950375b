"""Optuna's samplers, rebuilt from a history."""

from __future__ import annotations

import operator
from importlib.util import find_spec
from typing import Any

import pytest
from pydantic import ValidationError

from search.history import History
from search.simulation import Simulation
from search.strategies import strategies
from search.strategies.base import Run
from search.strategies.explored import Explored
from search.strategies.optuna_samplers import SAMPLERS, Optuna, Pareto
from search.strategies.pareto import objectives
from tests.search.landscape import Hill

OPTIONS: dict[str, dict[str, Any]] = {
    "tpe": {"n_startup_trials": 5},
    "nsgaii": {"population_size": 6},
    "nsgaiii": {"population_size": 6},
    "cmaes": {},
    "qmc": {},
    "random": {},
}
TRIED = [name for name in OPTIONS if name != "cmaes" or find_spec("cmaes")]


def searched(sampler: str, workers: int = 1, trials: int = 24) -> Simulation:
    world = Hill(noise=0.002)
    strategy = Optuna(sampler=sampler, trials=trials, options=OPTIONS[sampler])
    search = Simulation(strategy, world.problem(workers), world, workers)
    search.run(max_trials=200)
    return search


def next_trial(search: Simulation, history: History) -> list[str]:
    proposal = search.strategy.propose(search.problem, history)
    assert isinstance(proposal, Run)
    return [request.description.config_id for request in proposal.requests]


@pytest.mark.parametrize("sampler", TRIED)
def test_a_rebuilt_sampler_goes_on_as_the_living_one(sampler: str):  # behaviours 29
    search = searched(sampler)
    trials = list(search.history)
    for count in (3, 9, 16):
        rebuilt = next_trial(search, History(trials[:count]))
        assert rebuilt == [trials[count].config_id]


@pytest.mark.parametrize("sampler", TRIED)
def test_with_workers_it_goes_on_as_well(sampler: str):
    search = searched(sampler, workers=3)
    copy = History(list(search.history)[:10])
    assert next_trial(search, copy) == next_trial(search, History(list(copy)))


def test_samplers_learn_from_the_history():
    by_chance, by_model = (searched(name, trials=50) for name in ("random", "tpe"))
    assert [t.config_id for t in by_chance.history] != [t.config_id for t in by_model.history]
    worlds = [Hill(), Hill()]
    late = [
        sum(world.loss(t.request.description.config) for t in list(search.history)[20:44])
        for world, search in zip(worlds, (by_chance, by_model), strict=True)
    ]
    assert late[1] < late[0]


def test_every_sampler_of_optuna_has_a_word():
    assert {"tpe", "gp", "cmaes", "nsgaii", "nsgaiii", "qmc", "random"} <= SAMPLERS.keys()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"options": {"startup": 3}}, "unknown option 'startup'"),
        ({"options": {"seed": 3}}, "unknown option 'seed'"),
    ],
)
def test_what_a_sampler_does_not_know_is_refused(options: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        strategies.parse({"kind": "optuna", **options})


def test_a_front_over_several_costs_is_exactly_what_nothing_beats():
    world = Hill(noise=0.002)
    strategy = Pareto(sampler="random", trials=40, costs=("parameters", "train_seconds"))
    search = Simulation(strategy, world.problem(), world)
    decision = search.run()
    assert decision is not None
    explored = Explored.of(search.problem, search.history)
    found = {name: objectives(explored, name, strategy.costs) for name in explored.qualities}
    beaten = {
        name
        for name, own in found.items()
        if any(o != own and all(map(operator.le, o, own)) for o in found.values())
    }
    kept = [row["config_id"] for row in decision.front or ()]
    assert sorted(kept) == sorted(found.keys() - beaten)
    assert 2 < len(kept) < len(found)


def test_a_cost_that_no_trial_tells_is_named():
    world = Hill(noise=0.002)
    search = Simulation(Pareto(trials=10, costs=("step_ms",)), world.problem(), world)
    stop = search.run()
    assert stop is not None
    assert "there is no front, since no trial told step_ms" in stop.words
    stop = Simulation(Pareto(trials=10), world.problem(), world).run()
    assert stop is not None
    assert f"the front holds {len(stop.front or ())} configs" in stop.words


@pytest.mark.parametrize("sampler", ["bruteforce", "GridSampler"])
def test_a_sampler_that_walks_a_grid_of_its_own_is_refused(sampler: str):
    with pytest.raises(ValidationError, match=r"does what strategy: \{kind: grid\} does"):
        Optuna(sampler=sampler)


@pytest.mark.parametrize("sampler", ["nsgaii", "random"])
def test_a_front_holds_what_nothing_beats(sampler: str):
    world = Hill(noise=0.002)
    search = Simulation(Pareto(sampler=sampler, trials=30), world.problem(), world)
    decision = search.run()
    assert decision is not None
    front = decision.detail["front"]
    losses, costs = ([row[key] for row in front] for key in ("val_loss", "parameters"))
    assert losses == sorted(losses)
    assert costs == sorted(costs, reverse=True)
    assert not search.history.accepted
    best = min(min(p.val_loss for p in t.curve) for t in search.history)
    assert losses[0] == pytest.approx(best)
