"""What strategies draw from: the space as a lattice, its chance, and a config drawn from it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Set
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from search.history import Description, Purpose, Request
from search.moves import Edit
from search.strategies.base import Problem
from search.strategies.model.lattice import Lattice
from search.strategies.neighbourhood import over, over_limit

TRIES = 1000
"""Random points looked at for one that is new and within the limits, before a space is used up."""


@lru_cache(maxsize=4)
def lattice_of(problem: Problem) -> Lattice:
    """The problem's space as a lattice, laid out once."""
    return Lattice(problem.space, problem.baseline.config, problem.describe)


Begun = Mapping[str, Set[int]]
"""Config id -> seeds it was launched on, or is about to be."""


@dataclass(frozen=True)
class Draw:
    """A config to try, and how it differs from the baseline."""

    description: Description
    edit: Edit | None

    def request(self, problem: Problem, purpose: Purpose, seed: int) -> Request:
        """A trial of it on a seed."""
        edit = None if self.edit is None else self.edit.to_dict()
        return problem.request(self.description, seed, replace(purpose, edit=edit))


def chance(problem: Problem, index: int, attempt: int = 0) -> np.random.Generator:
    """The randomness of one draw: the same in every life of a study."""
    return np.random.default_rng([problem.seeds.first, index, attempt])


def anywhere(
    problem: Problem,
    index: int,
    taken: Container[str],
    alike: float = 0.0,
    caps: Mapping[str, float] | None = None,
) -> Draw | None:
    """A random config of the space that is new and keeps limits and caps; None if none was found.

    Args:
        problem: What is searched.
        index: Of the draw.
        taken: Ids of configs that are no longer new.
        alike: Chance of each draw to have all layers alike.
        caps: Cost -> most of it, beside the limits; costs that are known before training.
    """
    lattice, rng = lattice_of(problem), chance(problem, index, attempt=1)
    for _ in range(TRIES):
        drawn = usable(problem, lattice.edit(lattice.scattered(rng, 1, alike)[0]), taken, caps)
        if drawn is not None:
            return drawn
    return None


def usable(
    problem: Problem,
    edit: Edit | None,
    taken: Container[str],
    caps: Mapping[str, float] | None = None,
) -> Draw | None:
    """A change of the baseline as a draw, if it is valid, new, and keeps limits and caps."""
    config = problem.baseline.config if edit is None else edit.apply(problem.baseline.config)
    (answer,) = problem.describe([config])
    if not isinstance(answer, Description) or answer.config_id in taken:
        return None
    out = over_limit(problem, answer) or over(caps or {}, answer)
    return None if out else Draw(answer, edit)
