"""The one-step neighbours of a config: described, told apart, checked against limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from weakref import WeakKeyDictionary

from search.costs import COSTS
from search.history import Description, Trial
from search.moves import Edit, neighbours
from search.strategies.base import Candidate, Problem, Rejected

Described = Sequence[tuple[Edit, Description | Rejected]]
"""Changes, each with what describe says of the config it makes."""


def neighbourhood(
    problem: Problem, center: Description, taken: Mapping[str, str]
) -> list[Candidate]:
    """Every one-step neighbour of a config, in the order of the space.

    Args:
        problem: Its space, limits and describe.
        center: The config to start from.
        taken: Config id -> why that config is no candidate.

    Raises:
        InputError: When a path of the space leads nowhere.
    """
    taken = {**taken, center.config_id: "it is the incumbent"}
    return candidates(problem, _described(problem, center), taken)


def candidates(problem: Problem, described: Described, taken: Mapping[str, str]) -> list[Candidate]:
    """Changes told apart and checked against the limits known before training.

    Args:
        problem: Its limits.
        described: Changes, each with what describe says of what it makes.
        taken: Config id -> why that config is no candidate.
    """
    seen, found = dict(taken), []
    for edit, answer in described:
        if isinstance(answer, Rejected):
            found.append(Candidate(edit, None, answer.message))
            continue
        found.append(
            Candidate(edit, answer, seen.get(answer.config_id) or over_limit(problem, answer))
        )
        seen.setdefault(answer.config_id, f"the same model as {edit.key}")
    return found


_KNOWN: WeakKeyDictionary[Problem, dict[str, Described]] = WeakKeyDictionary()
"""Of each problem the neighbours of the config that was asked for last: the incumbent, mostly."""


def _described(problem: Problem, center: Description) -> Described:
    """Every neighbour of a config with what describe says, worked out once."""
    kept = _KNOWN.setdefault(problem, {})
    if center.config_id not in kept:
        kept.clear()
        edits = neighbours(problem.space, center.config)
        answers = problem.describe([edit.apply(center.config) for edit in edits])
        kept[center.config_id] = list(zip(edits, answers, strict=True))
    return kept[center.config_id]


def over_limit(problem: Problem, description: Description) -> str:
    """Why a config may not be trained under the limits known before training; empty when it may."""
    return over(problem.objective.limits, description)


def over(limits: Mapping[str, float], description: Description) -> str:
    """The first limit that a config breaks, of those on costs known before training, in words."""
    for name, limit in limits.items():
        value = COSTS[name].known(description.inventory)
        if value is not None and value > limit:
            return f"{name} {value:,.6g} is over the limit {limit:,.6g}"
    return ""


def over_measured_limit(problem: Problem, trials: Iterable[Trial]) -> str:
    """Why a config that was trained breaks the limits; empty when it keeps them."""
    finished = [trial for trial in trials if trial.state == "finished"]
    for name, limit in problem.objective.limits.items():
        for value in (COSTS[name].of(trial) for trial in finished):
            if value is None:
                return f"{name} was never told, so nobody knows whether it keeps the limit"
            if value > limit:
                return f"{name} {value:,.6g} is over the limit {limit:,.6g}"
    return ""
