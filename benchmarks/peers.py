"""The rules our users come from, in our own words, for benchmarks only."""

from __future__ import annotations

import math

from benchmarks.landscapes import Landscape
from search.history import Description, Purpose
from search.moves import Edit, neighbours
from search.strategies.base import Problem
from spec.config import Data


def ancestor_loop(world: Landscape, seed: int, trials: int) -> list[tuple[int, Data, float]]:
    """Greedy as ReaLLMASIC's ``hyperparam_search.py`` has it.

    Each round trains every one-step neighbour once, and takes the one of largest gain in
    exp(-loss) per parameter added, as long as that is above zero: a better and smaller neighbour
    is never taken. A change that costs nothing has infinite efficiency. The incumbent keeps the
    loss that its winner was selected by. Candidates over the limit are left out, as here.

    Returns:
        Trainings spent, the config held then, and the score it recorded for it, after each round.
    """
    problem = world.problem(first=1000 * seed + 7)
    here = problem.baseline
    score = _score(world, problem, here)
    spent, path = 1, [(1, here.config, score)]
    while spent < trials:
        best, best_worth, best_score = None, 0.0, 0.0
        for edit in neighbours(problem.space, here.config):
            candidate = _described(problem, edit, here.config)
            if candidate is None or spent >= trials:
                continue
            spent += 1
            gain = _score(world, problem, candidate) - score
            cost = candidate.inventory["parameters"] - here.inventory["parameters"]
            worth = gain / cost if cost else math.copysign(math.inf, gain)
            if worth > best_worth:
                best, best_worth, best_score = candidate, worth, gain + score
        if best is None:
            break
        here, score = best, best_score
        path.append((spent, here.config, score))
    return path


def _score(world: Landscape, problem: Problem, description: Description) -> float:
    request = problem.request(description, problem.seeds.first, Purpose(0, ""))
    return math.exp(-world.train(request).curve[0].val_loss)


def _described(problem: Problem, edit: Edit, full: Data) -> Description | None:
    (answer,) = problem.describe([edit.apply(full)])
    if not isinstance(answer, Description):
        return None
    limits = problem.objective.limits
    return answer if answer.inventory["parameters"] <= limits["parameters"] else None
