"""The landscapes of the benchmarks: what they call their optimum is one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.landscapes.race import BEST, SECONDS, TARGET, race
from search.gains import crossing
from search.history import Description, Purpose
from search.strategies.model.ascent import Moves
from search.strategies.model.lattice import Lattice, Points


@pytest.mark.parametrize("noise", BEST)
def test_no_two_moves_lead_from_the_best_race_to_a_better_one(noise):
    world = race(noise)
    problem = world.problem()
    lattice = Lattice(problem.space, problem.baseline.config, world.describe)
    (best,) = world.describe([BEST[noise]])
    moves = Moves(lattice)

    def loss(point: Points) -> float:
        (answer,) = lattice.described(point[None])
        return math.inf if answer is None else world.loss(answer.config)

    assert isinstance(best, Description)
    here = lattice.encode(best)
    assert loss(here) == world.optimum
    beside = np.unique(np.vstack([moves(there) for there in moves(here)]), axis=0)
    assert len(beside) > 500
    assert min(map(loss, beside)) >= world.optimum


@pytest.mark.parametrize("noise", BEST)
@pytest.mark.parametrize("which", BEST)
def test_the_loss_of_a_race_is_the_mean_of_what_trainings_come_to(noise, which):
    world = race(noise)
    problem = world.problem()
    (found,) = world.describe([BEST[which]])
    assert isinstance(found, Description)
    taken, count = [], 400
    for seed in range(count):
        outcome = world.train(problem.request(found, seed, Purpose(0, "explore")))
        reached = crossing(outcome.curve, TARGET)
        assert reached is not None
        taken.append(math.log(SECONDS if reached.censored else min(reached.seconds, SECONDS)))
    error = float(np.std(taken)) / math.sqrt(count)
    assert world.loss(found.config) == pytest.approx(np.mean(taken), abs=3 * error + 1e-9)
