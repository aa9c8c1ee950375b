"""Grid search: every combination, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice, product
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from search.moves import Edit
from search.strategies.base import Candidate, Problem, strategies
from search.strategies.draws import Begun, Draw, lattice_of
from search.strategies.explored import Explored
from search.strategies.model.lattice import Lattice, said
from search.strategies.neighbourhood import candidates
from search.strategies.sampling import COUNTED, FIRST, Sampling
from search.strategies.sweeps import combinations
from spec import errors
from spec.config import Data
from spec.words import counted


@strategies.variant("grid")
class Grid(Sampling):
    """Every combination of the values that the rules lead to; or those of a sweep file.

    Combinations that are refused, over a limit, or the same model as an earlier one are passed
    over.
    """

    trials: Annotated[int, Field(ge=2)] | None = None
    """Trials in all; null: every combination."""
    file: str | None = None
    """A sweep file in the form of ReaLLMASIC's explorations; replaces the space."""

    @property
    def needs_space(self) -> bool:
        """See ``Strategy.needs_space``."""
        return self.file is None

    def check(self, problem: Problem) -> None:
        """See ``Strategy.check``.

        Raises:
            InputError: For a file that is no sweep.
            ConfigError: For a rule without an end, or too large a space.
        """
        super().check(problem)
        if self.file is not None:
            next(self._edits(problem), None)
        elif self.trials is None and self.size(problem) is None:
            words = (
                f"the space has {lattice_of(problem).size:,} combinations; cap it with trials, "
                "take larger steps, or write [:] instead of [*] to move all layers at once"
            )
            raise errors.ConfigError([errors.Problem("strategy", words, loc=("strategy",))])

    def outset(self, problem: Problem) -> Sequence[Candidate]:
        """See ``Strategy.outset``: the first combinations, also those that cannot be trained."""
        edits = [edit for edit in islice(self._edits(problem), FIRST) if edit is not None]
        answers = problem.describe([edit.apply(problem.baseline.config) for edit in edits])
        described = list(zip(edits, answers, strict=True))
        own = {problem.baseline.config_id: "it is the baseline"}
        found, left = [], self.begins(problem)
        for candidate in candidates(problem, described, own):
            left -= not candidate.rejected
            if left < 0:
                break
            found.append(candidate)
        return found

    def outset_words(self, problem: Problem, number: int) -> str:
        """See ``Strategy.outset_words``."""
        size = self.size(problem)
        whole = "" if size is None else f" of {size - 1:,}"
        return f"the first {counted(number, 'combination')}{whole}"

    def used_up(self, problem: Problem) -> str:
        """See ``Sampling.used_up``."""
        plan = _plan_of(problem, self)
        if not plan.out:
            return super().used_up(problem)
        there = f"{counted(plan.out, 'combination')} cannot be trained, the first {plan.why}"
        return f"{super().used_up(problem)}; {there}"

    def size(self, problem: Problem) -> int | None:
        """See ``Sampling.size``: all combinations, also those that cannot be trained."""
        return super().size(problem) if self.file is None else _listed(self.file)

    def draw(self, explored: Explored, index: int, begun: Begun) -> Draw | None:
        """See ``Sampling.draw``."""
        plan = _plan_of(explored.problem, self)
        return next((drawn for drawn in plan if drawn.description.config_id not in begun), None)

    def listing(self, problem: Problem) -> Iterator[Data]:
        """See ``Strategy.listing``: every combination, before any is described."""
        if self.file is not None:
            yield from combinations(Path(self.file))
            return
        for edit in self._edits(problem):
            yield {} if edit is None else edit.value

    def _edits(self, problem: Problem) -> Iterator[Edit | None]:
        """Every combination as a change of the baseline."""
        if self.file is None:
            yield from _walk(lattice_of(problem))
            return
        for combination in combinations(Path(self.file)):
            words = ", ".join(f"{path} {said(value)}" for path, value in combination.items())
            yield Edit(", ".join(combination), "several", combination, words)


class _Plan:
    """The combinations that can be trained, described as far as anybody has asked.

    Attributes:
        out: How many others were met.
        why: The first of these with its reason.
    """

    def __init__(self, problem: Problem, grid: Grid) -> None:
        self._known: list[Draw] = []
        self.out, self.why = 0, ""
        self._rest = self._draws(problem, grid)

    def __iter__(self) -> Iterator[Draw]:
        yield from self._known
        while (drawn := next(self._rest, None)) is not None:
            self._known.append(drawn)
            yield drawn

    def _draws(self, problem: Problem, grid: Grid) -> Iterator[Draw]:
        for edit in grid._edits(problem):
            if edit is None:
                yield Draw(problem.baseline, None)
                continue
            (answer,) = problem.describe([edit.apply(problem.baseline.config)])
            (found,) = candidates(problem, [(edit, answer)], {})
            if found.description is None or found.rejected:
                self.out += 1
                self.why = self.why or f"{edit.key}: {found.rejected}"
            else:
                yield Draw(found.description, edit)


@lru_cache(maxsize=4)
def _plan_of(problem: Problem, grid: Grid) -> _Plan:
    return _Plan(problem, grid)


@lru_cache(maxsize=4)
def _listed(file: str) -> int | None:
    """How many combinations a sweep file has, with the baseline; None when nobody counts them."""
    size = 1 + sum(1 for _ in islice(combinations(Path(file)), COUNTED))
    return size if size <= COUNTED else None


def _walk(lattice: Lattice) -> Iterator[Edit | None]:
    """Every point once: what has no effect stays at the baseline's level."""
    ranges = [range(size) for size in lattice.sizes]
    counts = sum(axis.kind == "count" for axis in lattice.axes)  # these come first
    for lengths in product(*ranges[:counts]):
        point = lattice.start.copy()
        point[:counts] = lengths
        active = lattice.active(point[None])[0]
        free = [
            levels if effective else (start,)
            for levels, effective, start in zip(ranges, active, point, strict=True)
        ]
        for rest in product(*free[counts:]):
            yield lattice.edit(np.array((*lengths, *rest)))
