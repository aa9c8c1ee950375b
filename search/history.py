"""What a study holds, as values: trials, decisions, and the history that strategies read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from search.objective import Budget
from spec.config import Data
from spec.records import End, Eval

State = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Description:
    """What ``describe`` says of a config.

    Attributes:
        config: The full form.
        config_id: Its identity.
        inventory: Parameters, operations and bytes, as the trainer derives them.
    """

    config: Data
    config_id: str
    inventory: Mapping[str, Any]


@dataclass(frozen=True)
class Purpose:
    """Why a trial was asked for: round, phase, and the change it tries (None: the incumbent)."""

    round: int
    phase: str
    edit: Data | None = None


@dataclass(frozen=True)
class Request:
    """A trial to run. The same (config, seed, budget, clock) is never trained twice.

    Attributes:
        description: The config.
        seed: Its seed.
        budget: The cap on it.
        purpose: Why it was asked for.
        clock: Where and how packed it has to run, when times are compared; empty when they are not.
    """

    description: Description
    seed: int
    budget: Budget
    purpose: Purpose
    clock: str = ""

    @cached_property
    def setting(self) -> str:
        """Budget and clock as a word: measurements are compared only within one setting."""
        return f"{self.budget.key} {self.clock}"


@dataclass(frozen=True)
class Failure:
    """Why a trial gave no measurement.

    Attributes:
        reason: A word such as ``diverged``; see ``search.failures``.
        message: One sentence for people.
        line: The line of the log that tells most, or empty.
    """

    reason: str
    message: str
    line: str = ""

    def __str__(self) -> str:
        return f"{self.message}: {self.line}" if self.line else self.message


@dataclass(frozen=True)
class Stopped:
    """Why a trial was ended early, and what it would have come to.

    Attributes:
        rule: ``cap`` (too far behind the target's time) or ``curve`` (extrapolated).
        words: One sentence for people.
        gain: The objective's gain at that time.
        predicted: The final loss expected of it, in the unit of that; None for a cap.
        least: Its lower bound, at the confidence asked for; the upper side has no such bound, since
            what stays behind may well fall far behind.
    """

    rule: Literal["cap", "curve"]
    words: str
    gain: str
    predicted: float | None = None
    least: float | None = None

    def __str__(self) -> str:
        return self.words


INTERRUPTED = "interrupted"
"""The one failure that says nothing about the config: the trial is run again."""
CALIBRATE, CONFIRM = "calibrate", "confirm"
"""Phases that measure what others are compared with, and what no choice may rest on."""
PROBE = "probe"
"""The phase whose trials measure a step time and nothing else: see ``search.probes``."""


class Spent(NamedTuple):
    """What one trial has cost.

    Attributes:
        train_seconds: Seconds of training, as far as its last evaluation tells.
        wall_seconds: Seconds it occupied a worker; zero until it has ended.
        accelerator_seconds: The same on a GPU.
        joules: What its GPU consumed; zero for one that has not ended, or ended before it was
            started; None when nobody knows.
    """

    train_seconds: float
    wall_seconds: float
    accelerator_seconds: float
    joules: float | None


@dataclass(frozen=True)
class Trial:
    """One trial: what was asked, where it ran, what came of it.

    Attributes:
        number: Its number in the study and the name of its folder.
        request: Config, seed, budget and purpose.
        state: running; finished, which is the only one that measured something; stopped early, as
            it could not win; or failed.
        facts: Command, process and machine, for a person and for clean-up.
        curve: Evaluations so far.
        end: The trainer's last record.
        failure: Why it failed.
        stopped: Why it was ended early.
        started: Unix time.
        ended: Unix time, None while running.
    """

    number: int
    request: Request
    state: State
    facts: Mapping[str, Any] = field(default_factory=dict)
    curve: tuple[Eval, ...] = ()
    end: End | None = None
    failure: Failure | None = None
    started: float = 0.0
    ended: float | None = None
    stopped: Stopped | None = None

    @property
    def config_id(self) -> str:
        """The config's identity."""
        return self.request.description.config_id

    @property
    def seed(self) -> int:
        """The seed."""
        return self.request.seed

    @property
    def probe(self) -> bool:
        """Whether it measures no quality."""
        return self.request.purpose.phase == PROBE

    @property
    def interrupted(self) -> bool:
        """Whether it ended through no fault of its own, so that it may run again."""
        return self.failure is not None and self.failure.reason == INTERRUPTED

    @property
    def joules(self) -> float | None:
        """What its GPU consumed while it ran, by the GPU's counter; None when that is unknown.

        A counter that went backwards has lost its count, and one that stands still while a model
        trains counts nothing; a trial that died at once may end before the counter moves.
        """
        energy = self.facts.get("energy", {})
        if "ended" not in energy:
            return None
        taken = float(energy["ended"] - energy["started"])
        return None if taken < 0 or (taken == 0 and self.curve) else taken

    @cached_property
    def spent(self) -> Spent:
        """What it has cost so far."""
        held = self.ended - self.started if self.ended is not None else 0.0
        on_gpu = str(self.facts.get("device", "")).startswith("cuda")
        joules = self.joules if self.ended is not None else 0.0
        if joules is None and not self.curve and "process" not in self.facts:
            joules = 0.0
        train = self.curve[-1].train_seconds if self.curve else 0.0
        return Spent(train, held, held if on_gpu else 0.0, joules)

    @property
    def inventory(self) -> Mapping[str, Any]:
        """What describe said of the model, and what only the trial itself could tell."""
        return {**self.facts.get("measured", {}), **self.request.description.inventory}

    @property
    def planned_steps(self) -> float | None:
        """Steps it is to take, by its inventory and budget; None where the trainer tells none."""
        budget, inventory = self.request.budget, self.inventory
        caps = [inventory.get("planned_steps"), budget.max_steps]
        if budget.max_tokens is not None and "tokens_per_step" in inventory:
            caps.append(budget.max_tokens // inventory["tokens_per_step"])
        known = [float(cap) for cap in caps if cap is not None]
        return min(known) if known and caps[0] is not None else None


@dataclass(frozen=True)
class Decision:
    """What a strategy concluded from the history.

    Attributes:
        kind: ``accept`` a candidate as the new incumbent, ``raise`` the budget of one trial (its
            ``detail`` holds the budget before and after), or ``stop``.
        round: Rounds are counted from 0.
        words: The decision as a sentence.
        config: The full form accepted; None for the others.
        config_id: Its identity.
        detail: Candidates and the statistics behind the decision, plain data.
    """

    kind: Literal["accept", "raise", "stop"]
    round: int
    words: str
    config: Data | None = None
    config_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def front(self) -> Sequence[Data] | None:
        """What a search for a front ends with: its configs, best loss first."""
        return self.detail.get("front")

    @property
    def budgets(self) -> tuple[Budget, Budget]:
        """The budget of one trial before and after a raise."""
        told = self.detail["budget"]
        return Budget(**told["before"]), Budget(**told["after"])


class History:
    """Every trial and decision of a study, indexed; the only input of a strategy's ``propose``.

    Attributes:
        decisions: First to last.
        version: How often a trial was put.
    """

    def __init__(self, trials: Iterable[Trial] = (), decisions: Iterable[Decision] = ()) -> None:
        self.version = 0
        self._changed: dict[int, int] = {}
        self._trials: dict[int, Trial] = {}
        self._by_setting: dict[tuple[str, str], dict[int, int]] = {}
        self._finished: dict[str, dict[int, Trial]] = {}
        self.decisions: list[Decision] = list(decisions)
        for trial in trials:
            self.put(trial)

    def put(self, trial: Trial) -> None:
        """Add a trial or its newer state."""
        setting = trial.request.setting
        self._trials[trial.number] = trial
        self.version += 1
        self._changed.pop(trial.number, None)  # what was put last comes last
        self._changed[trial.number] = self.version
        self._by_setting.setdefault((trial.config_id, setting), {})[trial.seed] = trial.number
        finished = self._finished.setdefault(setting, {})
        if trial.state == "finished":
            finished[trial.number] = trial
        else:
            finished.pop(trial.number, None)

    def decide(self, decision: Decision) -> None:
        """Add a decision."""
        self.decisions.append(decision)

    def since(self, version: int) -> list[Trial]:
        """Trials that were put after a version of the history, by number."""
        latest = takewhile(lambda entry: entry[1] > version, reversed(self._changed.items()))
        return [self._trials[number] for number, _ in sorted(latest)]

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials.values())

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    def find(self, request: Request) -> Trial | None:
        """The latest trial that is this request, if it was ever launched."""
        numbers = self._by_setting.get((request.description.config_id, request.setting), {})
        return self._trials[numbers[request.seed]] if request.seed in numbers else None

    def finished(self, request: Request, config_id: str | None = None) -> list[Trial]:
        """The finished trials in a request's setting: all of them, or those of one config."""
        found = self._finished.get(request.setting, {})
        if config_id is None:
            return list(found.values())
        own = self._by_setting.get((config_id, request.setting), {})
        return [found[number] for number in own.values() if number in found]

    def pending(self, request: Request) -> bool:
        """Whether a request still waits to be launched: never tried, or interrupted."""
        trial = self.find(request)
        return trial is None or trial.interrupted

    @property
    def accepted(self) -> list[Decision]:
        """The accepted steps, first to last."""
        return [decision for decision in self.decisions if decision.kind == "accept"]

    @property
    def raised(self) -> list[Decision]:
        """The decisions that raised the budget, first to last."""
        return [decision for decision in self.decisions if decision.kind == "raise"]

    @property
    def round(self) -> int:
        """Number of the round under way: accepted steps and raised budgets end one."""
        return len(self.accepted) + len(self.raised)
