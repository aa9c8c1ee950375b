"""The trials of one round: their seeds, what is asked for, and what the phases have taken in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from search.gains import Noise, scores
from search.history import CONFIRM, INTERRUPTED, Description, History, Purpose, Request, Trial
from search.strategies.base import Candidate, Problem, Run, StrategyFailed
from search.strategies.standing import Bench

_TOO_MANY = 3
"""Failures of the incumbent in one round after which the search cannot go on."""

Table = dict[str, dict[int, Trial]]
"""Config id -> seed -> trial."""


@dataclass
class Trials:
    """What is measured in one round.

    The tables grow phase by phase with what each phase asked for, so that every conclusion rests on
    the same trials whenever and in whatever order they came in.

    Attributes:
        problem: What is searched.
        history: Where trials are found.
        number: Of the round; its seeds follow from it.
        incumbent: What candidates are compared with.
        earlier: Relative noise known from earlier rounds.
        carried: Seeds on which the incumbent was confirmed by the round before.
        chosen_by: The trials that a choice may rest on.
        confirming: Those on fresh seeds, which no choice may see.
    """

    problem: Problem
    history: History
    number: int
    incumbent: Description
    earlier: Noise | None = None
    carried: Sequence[int] = ()
    chosen_by: Table = field(default_factory=dict)
    confirming: Table = field(default_factory=dict)

    def request(self, candidate: Candidate | None, seed: int, phase: str) -> Request:
        """A trial of a candidate; of the incumbent for None."""
        description = self.incumbent if candidate is None else candidate.description
        assert description is not None
        edit = None if candidate is None else candidate.edit.to_dict()
        return self.problem.request(description, seed, Purpose(self.number, phase, edit))

    def collect(self, asked: Iterable[Request]) -> Run | None:
        """Take in the trials of these requests; a Run while some are missing."""
        asked = list(asked)
        missing = tuple(request for request in asked if self.history.pending(request))
        found = [(r, trial) for r in asked if (trial := self.history.find(r)) is not None]
        running = sum(trial.state == "running" for _, trial in found)
        if missing or running:
            return Run(missing, len(missing) + running)
        for request, trial in found:
            fresh = request.purpose.phase == CONFIRM
            table = self.confirming if fresh else self.chosen_by
            table.setdefault(trial.config_id, {})[trial.seed] = trial
        return None

    # -- seeds -------------------------------------------------------------------------------------

    def selection_seeds(self, count: int) -> list[int]:
        """The first seeds on which candidates are compared.

        They begin with those that confirmed the incumbent, on which it is measured already. What
        candidates are compared with there is a little too good, for it was accepted by them; that
        can cost a small gain its turn, but no false step is taken by it.
        """
        carried = list(self.carried[:count])
        return carried + self._seeds(count - len(carried), 0)

    def fresh_seeds(self, count: int) -> list[int]:
        """The first seeds on which one is confirmed."""
        return self._seeds(count, 500)

    def _seeds(self, count: int, offset: int) -> list[int]:
        """The round's seeds, without those on which the incumbent itself failed.

        Raises:
            StrategyFailed: When it failed on too many.
        """
        first = self.problem.seeds.first + 1000 * self.number + offset
        found: list[int] = []
        failures = []
        for seed in range(first, first + 500 if count else first):
            trial = self.history.find(self.request(None, seed, ""))
            failure = None if trial is None else trial.failure
            if failure is None or failure.reason == INTERRUPTED:
                found.append(seed)
            else:
                failures.append(f"seed {seed}: {failure}")
            if len(found) == count:
                break
            if len(failures) == _TOO_MANY:
                raise StrategyFailed(f"the incumbent failed on {_TOO_MANY} seeds; {failures[-1]}")
        return found

    # -- what they say -----------------------------------------------------------------------------

    def selecting(self) -> Bench:
        """Compares candidates to choose from; blind to fresh seeds, which judge the choice."""
        return Bench(self.problem.objective, self.incumbent, self.chosen_by, self.earlier)

    def whole(self) -> Bench:
        """The same on everything measured in this round."""
        ids = dict.fromkeys((*self.chosen_by, *self.confirming))
        table = {i: self.chosen_by.get(i, {}) | self.confirming.get(i, {}) for i in ids}
        return Bench(self.problem.objective, self.incumbent, table, self.earlier)

    def numbers(self, description: Description) -> list[int]:
        """Trials of one config, those that choose first."""
        tables = (self.chosen_by, self.confirming)
        return [t.number for table in tables for t in table.get(description.config_id, {}).values()]

    def loss(self, description: Description | None, seeds: Iterable[int]) -> float | None:
        """Mean best validation loss of a config over some fresh seeds."""
        assert description is not None
        row, objective = self.confirming.get(description.config_id, {}), self.problem.objective
        found = (scores(row[seed], objective).val_loss for seed in seeds if seed in row)
        losses = [loss for loss in found if loss is not None]
        return math.fsum(losses) / len(losses) if losses else None
