"""The non-dominated front over loss and costs, and the search for it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from search.costs import COSTS
from search.gains import mean_loss, scores
from search.history import CONFIRM, Trial
from search.strategies.explored import Explored
from spec.config import Data


def front(explored: Explored, costs: Sequence[str]) -> list[Data]:
    """The configs that no other one beats in loss and all costs at once, best loss first.

    Each with the trials that tell it, those that confirmed it too; their folders hold the config in
    full.
    """
    fresh = _confirming(explored)
    told = {n: [*_finished(explored, n), *fresh.get(n, ())] for n in explored.qualities}
    rows = sorted(
        (found, name)
        for name, trials in told.items()
        if (found := _measured(explored, trials, costs)) is not None
    )
    kept: list[tuple[tuple[float, ...], str]] = []
    for row in rows:  # what beats one comes before it
        if not any(_beats(other[0], row[0]) for other in kept):
            kept.append(row)
    return [
        {
            "config_id": name,
            "val_loss": found[0],
            **dict(zip(costs, found[1:], strict=True)),
            "trials": [trial.number for trial in told[name]],
        }
        for found, name in kept
    ]


def objectives(explored: Explored, name: str, costs: Sequence[str]) -> tuple[float, ...] | None:
    """Mean loss and costs of a config, all to be small; None when one of them is unknown."""
    return _measured(explored, _finished(explored, name), costs)


def untold(explored: Explored, costs: Sequence[str]) -> list[str]:
    """Costs that no trial has told."""
    trials = [trial for name in explored.qualities for trial in _finished(explored, name)]
    return [cost for cost in costs if all(COSTS[cost].of(trial) is None for trial in trials)]


def _measured(
    explored: Explored, trials: Sequence[Trial], costs: Sequence[str]
) -> tuple[float, ...] | None:
    losses = [scores(trial, explored.problem.objective).val_loss for trial in trials]
    columns = [losses, *([COSTS[cost].of(trial) for trial in trials] for cost in costs)]
    told = [[value for value in column if value is not None] for column in columns]
    if not all(told):
        return None
    return mean_loss(told[0]), *(v[0] if len(set(v)) == 1 else fmean(v) for v in told[1:])


def _finished(explored: Explored, name: str) -> list[Trial]:
    return [trial for trial in explored.rows[name].values() if trial.state == "finished"]


def _confirming(explored: Explored) -> dict[str, list[Trial]]:
    """Config id -> its finished trials on fresh seeds in the problem's setting."""
    problem = explored.problem
    setting = problem.budget, problem.clock
    found: dict[str, list[Trial]] = {}
    for trial in explored.history:
        request = trial.request
        fresh = request.purpose.phase == CONFIRM and (request.budget, request.clock) == setting
        if fresh and trial.state == "finished":
            found.setdefault(trial.config_id, []).append(trial)
    return found


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
