"""What a history holds for strategies that draw configs: every trial but the confirming ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeVar
from weakref import WeakKeyDictionary

from search.gains import expected_quality
from search.history import CONFIRM, Description, History, Trial
from search.strategies.base import Problem
from search.strategies.neighbourhood import over_limit
from spec.config import Data

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Explored:
    """What has been tried for the sake of looking: everything but confirming trials.

    Attributes:
        problem: What is searched.
        history: Where the trials are from.
        trials: Trials of every state in the problem's setting, by number; not those interrupted.
        lost: Interrupted ones that are to run again and do not yet, the latest of each config and
            seed, if they keep the limits.
        configs: Config id -> config, in the order of their first trials, then those lost.
        edits: Config id -> how it was made at first.
        begun: Config id -> seeds it was launched on.
        rows: Config id -> seed -> trial that has ended.
        qualities: Config id -> mean quality over its seeds; configs without a measurement are
            absent.
        known: Number of a trial that has ended -> its quality.
        running: Trials under way.
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
    known: Mapping[int, float | None]
    running: int

    @classmethod
    def of(cls, problem: Problem, history: History) -> Explored:
        """The trials of a history that count."""
        index = _INDICES.get(history)
        if index is None or index.problem is not problem:
            index = _INDICES[history] = _Index(problem)
        index.follow(history)
        launched, lost = index.launched.copy(), index.wanted()
        for trial in lost:
            launched.take(trial)
        return cls(
            problem=problem,
            history=history,
            trials=list(index.trials.values()),
            lost=lost,
            configs=launched.configs,
            edits=launched.edits,
            begun=launched.begun,
            rows=_without(index.untold, index.rows),
            qualities=_without(index.unmeasured, index.qualities),
            known=dict(index.known),
            running=len(index.trials) - len(index.known),
        )

    @property
    def latest(self) -> int:
        """Number of the last trial: what an end rests on; -1 without any."""
        return self.trials[-1].number if self.trials else -1

    def quality(self, trial: Trial) -> float | None:
        """The quality of a trial that has ended, None where it measured nothing."""
        return self.known[trial.number]

    def hit(self, config_id: str) -> bool:
        """Whether a config was measured, and reached the target each time if there is one."""
        return self.qualities.get(config_id, -math.inf) > -math.inf

    def draws(self, each: int) -> int:
        """How often a config was drawn: every one once, and again for up to ``each`` more seeds."""
        missing = sum(-len(seeds) % each for seeds in self.partly(each).values())
        return (sum(map(len, self.begun.values())) + missing) // each

    def partly(self, each: int) -> dict[str, frozenset[int]]:
        """What was begun on a number of seeds that is no multiple of ``each``."""
        if each == 1:
            return {}
        return {name: seeds for name, seeds in self.begun.items() if len(seeds) % each}


@dataclass
class _Launched:
    """What was launched, by config; see ``Explored``."""

    configs: dict[str, Description] = field(default_factory=dict)
    edits: dict[str, Data | None] = field(default_factory=dict)
    begun: dict[str, frozenset[int]] = field(default_factory=dict)

    def copy(self) -> _Launched:
        """One that may be changed."""
        return _Launched(dict(self.configs), dict(self.edits), dict(self.begun))

    def take(self, trial: Trial) -> None:
        """Take up a trial."""
        name = trial.config_id
        self.configs.setdefault(name, trial.request.description)
        self.edits.setdefault(name, trial.request.purpose.edit)
        self.begun[name] = self.begun.get(name, frozenset()) | {trial.seed}


class _Index:
    """The trials of a growing history that count; what a trial comes to is worked out once.

    Numbers come in order, and what has ended does not run again, unless it counts as interrupted.
    What is in the mappings is replaced, never changed.

    Args:
        problem: What is searched.

    Attributes:
        trials: Number -> trial, by number; not those interrupted.
        launched: By config.
        rows: Config id -> seed -> trial that has ended, by number.
        qualities: Config id -> mean quality.
        untold: Configs of which no trial has ended; their row is empty and only keeps the place.
        unmeasured: Configs without a measurement, likewise.
        known: Number of a trial that has ended -> its quality.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._clear()

    def _clear(self) -> None:
        self._version = 0
        self.trials: dict[int, Trial] = {}
        self.launched = _Launched()
        self.rows: dict[str, dict[int, Trial]] = {}
        self.qualities: dict[str, float] = {}
        self.untold: set[str] = set()
        self.unmeasured: set[str] = set()
        self.known: dict[int, float | None] = {}
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
            if seed not in self.launched.begun.get(name, ())
            and not over_limit(self.problem, trial.request.description)
        ]

    def _contradicts(self, trial: Trial) -> bool:
        """Whether something that was taken up does not hold any more: an interruption, mostly."""
        before = self.trials.get(trial.number)
        if before is None:
            return trial.number in self._interrupted
        return trial.interrupted or trial.request != before.request

    def _take(self, trial: Trial) -> None:
        if trial.interrupted:
            self._interrupted[trial.number] = trial
            return
        self.trials[trial.number] = trial
        self.launched.take(trial)
        self._place(trial.config_id)
        if trial.state != "running":
            self._measure(trial.config_id, trial)

    def _place(self, name: str) -> None:
        """Mappings are in the order of launches, whatever ends first."""
        if name not in self.rows:
            self.rows[name], self.qualities[name] = {}, math.nan
            self.untold.add(name)
            self.unmeasured.add(name)

    def _measure(self, name: str, trial: Trial) -> None:
        own = [*self.rows[name].values(), trial]
        self.rows[name] = {t.seed: t for t in sorted(own, key=lambda trial: trial.number)}
        self.untold.discard(name)
        self.known[trial.number] = expected_quality(trial, self.problem.objective)
        found = [q for t in self.rows[name].values() if (q := self.known[t.number]) is not None]
        if found:
            self.qualities[name] = fmean(found)
            self.unmeasured.discard(name)
        else:
            self.unmeasured.add(name)


_INDICES: WeakKeyDictionary[History, _Index] = WeakKeyDictionary()
"""An index goes on where it was while its history grows; it is what a new one would be."""


def _without(names: Iterable[str], mapping: Mapping[str, T]) -> dict[str, T]:
    """A copy of a mapping, which is faster than a new one of what is left."""
    copy = dict(mapping)
    for name in names:
        del copy[name]
    return copy


def _counts(trial: Trial, problem: Problem) -> bool:
    request = trial.request
    if request.purpose.phase == CONFIRM or request.clock != problem.clock:
        return False
    return request.budget is problem.budget or request.budget == problem.budget
