"""The landscapes of the benchmarks: what they call their optimum is one."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.landscapes.race import BEST, race
from search.history import Description
from search.strategies.model.ascent import Moves
from search.strategies.model.lattice import Lattice, Points


def test_no_two_moves_lead_from_the_best_race_to_a_faster_one():
    world = race()
    problem = world.problem()
    lattice = Lattice(problem.space, problem.baseline.config, world.describe)
    (best,) = world.describe([BEST])
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
