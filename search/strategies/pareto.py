"""The non-dominated front over loss and costs, and the search for it."""

from __future__ import annotations

from collections.abc import Sequence

from search.costs import COSTS
from search.gains import scores
from search.strategies.explored import Explored
from spec.config import Data


def front(explored: Explored, costs: Sequence[str]) -> list[Data]:
    """The configs that no other one beats in loss and all costs at once, best loss first."""
    rows = []
    for name in explored.qualities:
        found = objectives(explored, name, costs)
        if found is not None:
            rows.append((found, name))
    rows.sort()
    kept = [row for row in rows if not any(_beats(other[0], row[0]) for other in rows)]
    return [
        {"config_id": name, "val_loss": found[0], **dict(zip(costs, found[1:], strict=True))}
        for found, name in kept
    ]


def objectives(explored: Explored, name: str, costs: Sequence[str]) -> tuple[float, ...] | None:
    """Mean loss and costs of a config, all to be small; None when one of them is unknown."""
    trials = [trial for trial in explored.rows[name].values() if trial.state == "finished"]
    losses = [scores(trial, explored.problem.objective).val_loss for trial in trials]
    columns = [losses, *([COSTS[cost].of(trial) for trial in trials] for cost in costs)]
    found = []
    for column in columns:
        known = [value for value in column if value is not None]
        if not known:
            return None
        found.append(sum(known) / len(known))
    return tuple(found)


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
