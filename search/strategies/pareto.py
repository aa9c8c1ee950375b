"""The non-dominated front over loss and costs, and the search for it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from search.costs import COSTS
from search.gains import mean_loss, scores
from search.history import Trial
from search.strategies.explored import Explored
from spec.config import Data


def front(explored: Explored, costs: Sequence[str]) -> list[Data]:
    """The configs that no other one beats in loss and all costs at once, best loss first.

    Each with its trials, whose folders hold the config in full.
    """
    rows = []
    for name in explored.qualities:
        found = objectives(explored, name, costs)
        if found is not None:
            rows.append((found, name))
    rows.sort()
    kept: list[tuple[tuple[float, ...], str]] = []
    for row in rows:  # what beats one comes before it
        if not any(_beats(other[0], row[0]) for other in kept):
            kept.append(row)
    return [
        {
            "config_id": name,
            "val_loss": found[0],
            **dict(zip(costs, found[1:], strict=True)),
            "trials": [trial.number for trial in _finished(explored, name)],
        }
        for found, name in kept
    ]


def objectives(explored: Explored, name: str, costs: Sequence[str]) -> tuple[float, ...] | None:
    """Mean loss and costs of a config, all to be small; None when one of them is unknown."""
    trials = _finished(explored, name)
    losses = [scores(trial, explored.problem.objective).val_loss for trial in trials]
    columns = [losses, *([COSTS[cost].of(trial) for trial in trials] for cost in costs)]
    told = [[value for value in column if value is not None] for column in columns]
    if not all(told):
        return None
    return mean_loss(told[0]), *(v[0] if len(set(v)) == 1 else fmean(v) for v in told[1:])


def _finished(explored: Explored, name: str) -> list[Trial]:
    return [trial for trial in explored.rows[name].values() if trial.state == "finished"]


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
