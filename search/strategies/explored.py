"""What a history holds for strategies that draw configs: every trial but the confirming ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

from search.gains import expected_quality
from search.history import CONFIRM, INTERRUPTED, Description, History, Trial
from search.strategies.base import Problem
from search.strategies.neighbourhood import over_limit
from spec.config import Data


@dataclass(frozen=True, eq=False)
class Explored:
    """What has been tried for the sake of looking: everything but confirming trials.

    Attributes:
        problem: What is searched.
        history: Where the trials are from.
        trials: Trials of every state in the problem's setting, by number; not those interrupted.
        lost: Of these, those that are to run again and do not yet, if they keep the limits.
        configs: Config id -> config, in the order of their first trials, then those lost.
        edits: Config id -> how it was made.
        begun: Config id -> seeds it was launched on.
        rows: Config id -> seed -> trial that has ended.
        qualities: Config id -> mean quality over its seeds; configs without a measurement are
            absent.
    """

    problem: Problem
    history: History
    trials: Sequence[Trial]
    lost: Sequence[Trial]
    configs: Mapping[str, Description]
    edits: Mapping[str, Data | None]
    begun: Mapping[str, frozenset[int]]
    rows: Mapping[str, Mapping[int, Trial]]
    qualities: Mapping[str, float]
    _known: Mapping[int, float | None]

    @classmethod
    def of(cls, problem: Problem, history: History) -> Explored:
        """The trials of a history that count."""
        index = _INDICES.get(history)
        if index is None or index.problem is not problem:
            index = _INDICES[history] = _Index(problem)
        index.follow(history)
        configs, edits, begun = dict(index.configs), dict(index.edits), dict(index.begun)
        lost = index.wanted()
        for trial in lost:
            name = trial.config_id
            configs.setdefault(name, trial.request.description)
            edits.setdefault(name, trial.request.purpose.edit)
            begun[name] = begun.get(name, frozenset()) | {trial.seed}
        trials = [trial for _, trial in sorted(index.trials.items())]
        rows = {name: index.rows[name] for name in configs if name in index.rows}
        means = {name: index.qualities[name] for name in rows if name in index.qualities}
        known = dict(index.known)
        return cls(problem, history, trials, lost, configs, edits, begun, rows, means, known)

    def quality(self, trial: Trial) -> float | None:
        """The quality of a trial that has ended, None where it measured nothing."""
        return self._known[trial.number]

    def hit(self, config_id: str) -> bool:
        """Whether a config was measured, and reached the target each time if there is one."""
        return self.qualities.get(config_id, -math.inf) > -math.inf

    def draws(self, each: int) -> int:
        """How often a config was drawn: every one once, and again for up to ``each`` more seeds."""
        return sum(-(-len(seeds) // each) for seeds in self.begun.values())

    @cached_property
    def running(self) -> int:
        """Trials under way."""
        return sum(trial.state == "running" for trial in self.trials)


class _Index:
    """The trials of a growing history that count; a trial is read anew only when it has changed.

    What is in its mappings is replaced, never changed.

    Args:
        problem: What is searched.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._clear()

    def _clear(self) -> None:
        self._version = 0
        self.trials: dict[int, Trial] = {}
        self.configs: dict[str, Description] = {}
        self.edits: dict[str, Data | None] = {}
        self.begun: dict[str, frozenset[int]] = {}
        self.rows: dict[str, dict[int, Trial]] = {}
        self.qualities: dict[str, float] = {}
        self.known: dict[int, float | None] = {}
        """Number of a trial that has ended -> its quality."""
        self._interrupted: dict[int, Trial] = {}

    def follow(self, history: History) -> None:
        """Take up what is new in the history."""
        changed = history.since(self._version)
        if any(map(self._contradicts, changed)):
            self._clear()
            changed = history.since(0)
        for trial in changed:
            if _counts(trial, self.problem):
                self._take(trial)
        self._version = history.version

    def wanted(self) -> list[Trial]:
        """The latest of each config and seed that was interrupted and has no other trial."""
        latest = {(t.config_id, t.seed): t for _, t in sorted(self._interrupted.items())}
        return [
            trial
            for (name, seed), trial in latest.items()
            if seed not in self.begun.get(name, ())
            and not over_limit(self.problem, trial.request.description)
        ]

    def _contradicts(self, trial: Trial) -> bool:
        """Whether something that was taken up does not hold any more: an interruption, mostly."""
        before = self.trials.get(trial.number)
        if before is None:
            return trial.number in self._interrupted
        return _pending(trial) or trial.request != before.request

    def _take(self, trial: Trial) -> None:
        if _pending(trial):
            self._interrupted[trial.number] = trial
            return
        name = trial.config_id
        self.trials[trial.number] = trial
        self.configs.setdefault(name, trial.request.description)
        self.edits.setdefault(name, trial.request.purpose.edit)
        self.begun[name] = self.begun.get(name, frozenset()) | {trial.seed}
        if trial.state != "running":
            self._measure(name, trial)

    def _measure(self, name: str, trial: Trial) -> None:
        own = [*self.rows.get(name, {}).values(), trial]
        self.rows[name] = {t.seed: t for t in sorted(own, key=lambda trial: trial.number)}
        self.known[trial.number] = expected_quality(trial, self.problem.objective)
        found = [q for t in self.rows[name].values() if (q := self.known[t.number]) is not None]
        self.qualities.pop(name, None)
        if found:
            self.qualities[name] = _mean(found)


_INDICES: WeakKeyDictionary[History, _Index] = WeakKeyDictionary()
"""An index goes on where it was while its history grows; it is what a new one would be."""


def _mean(values: Sequence[float]) -> float:
    return values[0] if len(values) == 1 else math.fsum(sorted(values)) / len(values)


def _counts(trial: Trial, problem: Problem) -> bool:
    request = trial.request
    if request.purpose.phase == CONFIRM or request.clock != problem.clock:
        return False
    return request.budget is problem.budget or request.budget == problem.budget


def _pending(trial: Trial) -> bool:
    return trial.failure is not None and trial.failure.reason == INTERRUPTED
