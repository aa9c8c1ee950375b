"""What a history holds for strategies that draw configs: every trial but the confirming ones."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

from search.gains import expected_quality
from search.history import CONFIRM, INTERRUPTED, Description, History, Trial
from search.objective import Objective
from search.strategies.base import Problem
from search.strategies.neighbourhood import over_limit
from spec.config import Data


@dataclass(frozen=True, eq=False)
class Explored:
    """What has been tried for the sake of looking: everything but confirming trials.

    Attributes:
        problem: What is searched.
        history: Where the trials are from.
        trials: Trials of every state in the problem's setting, by number.
        lost: Those that are to run again and do not yet, if they keep the limits.
    """

    problem: Problem
    history: History
    trials: Sequence[Trial]
    lost: Sequence[Trial] = ()

    @classmethod
    def of(cls, problem: Problem, history: History) -> Explored:
        """The trials of a history that count."""
        found = [trial for trial in history if _counts(trial, problem)]
        found.sort(key=lambda trial: trial.number)
        lost = [trial for trial in found if _pending(trial)]
        if not lost:
            return cls(problem, history, found)
        kept = [trial for trial in found if not _pending(trial)]
        tried = {(trial.config_id, trial.seed) for trial in kept}
        latest = {(trial.config_id, trial.seed): trial for trial in lost}
        wanted = [
            trial
            for key, trial in latest.items()
            if key not in tried and not over_limit(problem, trial.request.description)
        ]
        return cls(problem, history, kept, wanted)

    @cached_property
    def _asked(self) -> Sequence[Trial]:
        """All that was drawn, by number."""
        if not self.lost:
            return self.trials
        return sorted([*self.trials, *self.lost], key=lambda trial: trial.number)

    @cached_property
    def configs(self) -> dict[str, Description]:
        """Config id -> config, in the order of their first trials."""
        found: dict[str, Description] = {}
        for trial in self._asked:
            found.setdefault(trial.config_id, trial.request.description)
        return found

    @cached_property
    def rows(self) -> dict[str, dict[int, Trial]]:
        """Config id -> seed -> trial that has ended."""
        rows: dict[str, dict[int, Trial]] = {}
        for trial in self.trials:
            if trial.state != "running":
                rows.setdefault(trial.config_id, {})[trial.seed] = trial
        return rows

    @cached_property
    def begun(self) -> dict[str, set[int]]:
        """Config id -> seeds it was launched on."""
        found: dict[str, set[int]] = defaultdict(set)
        for trial in self._asked:
            found[trial.config_id].add(trial.seed)
        return dict(found)

    @cached_property
    def edits(self) -> Mapping[str, Data | None]:
        """Config id -> how it was made."""
        return {trial.config_id: trial.request.purpose.edit for trial in self._asked}

    @cached_property
    def quality(self) -> Callable[[Trial], float | None]:
        """The quality of a trial, worked out once."""
        return _known_qualities(self.history, self.problem)

    @cached_property
    def qualities(self) -> dict[str, float]:
        """Config id -> mean quality over its seeds; configs without a measurement are absent."""
        found = {}
        for config_id, row in self.rows.items():
            own = [q for t in row.values() if (q := self.quality(t)) is not None]
            if own:
                found[config_id] = own[0] if len(own) == 1 else math.fsum(sorted(own)) / len(own)
        return found

    def hit(self, config_id: str) -> bool:
        """Whether a config was measured, and reached the target each time if there is one."""
        return self.qualities.get(config_id, -math.inf) > -math.inf

    def draws(self, each: int) -> int:
        """How often a config was drawn: every one once, and again for up to ``each`` more seeds."""
        return sum(math.ceil(len(seeds) / each) for seeds in self.begun.values())

    @property
    def running(self) -> int:
        """Trials under way."""
        return sum(trial.state == "running" for trial in self.trials)


_Known = dict[int, tuple[Trial, Objective, float | None]]
_QUALITIES: WeakKeyDictionary[History, _Known] = WeakKeyDictionary()
"""What trials of a history came to; an entry holds for the very values it was made from."""


def _known_qualities(history: History, problem: Problem) -> Callable[[Trial], float | None]:
    """``expected_quality``, worked out once per trial while a history grows by thousands."""
    kept, objective = _QUALITIES.setdefault(history, {}), problem.objective

    def known(trial: Trial) -> float | None:
        before = kept.get(trial.number)
        if before is None or before[0] is not trial or before[1] is not objective:
            before = kept[trial.number] = trial, objective, expected_quality(trial, objective)
        return before[2]

    return known


def _counts(trial: Trial, problem: Problem) -> bool:
    request = trial.request
    if request.purpose.phase == CONFIRM or request.clock != problem.clock:
        return False
    return request.budget is problem.budget or request.budget == problem.budget


def _pending(trial: Trial) -> bool:
    return trial.failure is not None and trial.failure.reason == INTERRUPTED
