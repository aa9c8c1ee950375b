"""The budget of one trial as it grows: each raise is a decision, the next follows from these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from search.history import Decision
from search.objective import CAPS, Budget
from search.strategies.greedy.options import RaiseBudget
from spec.config import Data, Fault


def current(budget: Budget, asked: RaiseBudget | None, decisions: Iterable[Decision]) -> Budget:
    """The budget of trials now: the exploration's, after the raises recorded since it holds.

    A budget changed by hand begins anew: only raises that began from the same one count.
    """
    if asked is None:
        return budget
    raises = (decision for decision in decisions if decision.kind == "raise")
    own = [d.budgets[1] for d in raises if d.detail["budget"]["first"] == told(budget)]
    return own[-1] if own else budget


def following(first: Budget, now: Budget, asked: RaiseBudget | None) -> Budget | None:
    """The next budget; None when all raises are done.

    Args:
        first: The exploration's budget.
        now: The budget of trials now.
        asked: How it may grow.
    """
    ladder = [] if asked is None else list(budgets(first, asked))
    longer = (budget for budget in ladder if _above(budget, now))
    return next(longer, None)


def budgets(first: Budget, asked: RaiseBudget) -> Iterator[Budget]:
    """Every budget there may be after the first."""
    for power in range(1, asked.times + 1):
        yield raised(first, asked.factor**power)


def raised(budget: Budget, factor: float) -> Budget:
    """A budget with every cap multiplied."""
    caps = {name: value for name in CAPS if (value := getattr(budget, name)) is not None}
    longer = {
        name: round(value * factor) if isinstance(value, int) else value * factor
        for name, value in caps.items()
    }
    return budget.model_copy(update=longer)


def faults(budget: Budget, asked: RaiseBudget, longest: Mapping[str, float]) -> Iterator[Fault]:
    """Why raising would lengthen nothing; see ``Strategy.faults``."""
    place = ("strategy", "raise_budget")
    if all(getattr(budget, name) is None for name in CAPS):
        yield place, asked.full(), f"the budget has no cap to raise; set one of {', '.join(CAPS)}"
        return
    *_, last = budgets(budget, asked)
    for name in CAPS:
        cap, own = getattr(last, name), longest.get(name)
        if cap is not None and own is not None and own < cap:
            yield (
                place,
                asked.full(),
                f"budget.{name} would grow to {cap:,.6g}, but the baseline itself trains no longer "
                f"than {own:,.6g}; set its own length as high, or raise less",
            )


def told(budget: Budget) -> Data:
    """A budget as plain data."""
    return budget.model_dump(exclude_none=True)


def _above(budget: Budget, other: Budget) -> bool:
    return any((getattr(budget, name) or 0.0) > (getattr(other, name) or 0.0) for name in CAPS)
