"""Searches in virtual time: trials are looked up instead of trained, a thousand per second."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from search.history import Decision, Description, Failure, History, Request, Trial
from search.ledger import affordable, spent_words
from search.probes import with_probes
from search.stopping import EarlyStopping
from search.strategies.base import Problem, Rejected, Strategy
from spec.config import Data
from spec.records import End, Eval


@dataclass(frozen=True)
class Outcome:
    """What a trial would give.

    Attributes:
        curve: Its evaluations.
        seconds: How long it occupies a worker, in virtual seconds.
        failure: Why it failed; None when it is a measurement.
        end: Its end record.
    """

    curve: tuple[Eval, ...]
    seconds: float
    failure: Failure | None = None
    end: End = field(default_factory=lambda: End(status="completed"))


class World(Protocol):
    """Where simulated trials come from: a table of real curves, or a formula."""

    def describe(self, configs: Sequence[Data]) -> list[Description | Rejected]:
        """Full forms and costs."""
        ...

    def train(self, request: Request) -> Outcome:
        """The outcome of a trial; the same request always has the same one."""
        ...


def single(loss: float, seconds: float = 1.0, step: int = 1) -> Outcome:
    """An outcome with one evaluation."""
    return Outcome((Eval(step=step, train_seconds=seconds, val_loss=loss),), seconds)


@dataclass
class Simulation:
    """A search whose trials cost nothing.

    Attributes:
        strategy: What proposes.
        problem: What is searched; its ``describe`` should be the world's.
        world: What trials give.
        workers: Trials at a time.
        early: When trials are ended early; None: never.
        history: Grows as the search goes on; start from a recorded one to resume.
        now: Virtual seconds.
    """

    strategy: Strategy
    problem: Problem
    world: World
    workers: int = 1
    early: EarlyStopping | None = None
    history: History = field(default_factory=History)
    now: float = 0.0
    _running: list[tuple[float, int, Outcome]] = field(default_factory=list)
    _to_beat: str = ""

    def run(
        self, max_trials: int | None = None, max_accepted: int | None = None
    ) -> Decision | None:
        """Search until the strategy stops, or a cap is met.

        Returns:
            The stop decision, or None at a cap.

        Raises:
            InputError: For a problem that the strategy cannot do.
        """
        self.strategy.check(self.problem)
        while True:
            proposal = self.strategy.propose(self.problem, self.history)
            spent = spent_words(self.history, self.problem.total)
            proposal = with_probes(proposal, self.problem, self.history)
            if isinstance(proposal, Decision):
                self.history.decide(proposal)
                if proposal.kind == "stop":
                    return proposal
                if max_accepted is not None and len(self.history.accepted) >= max_accepted:
                    return None
                continue
            if spent and not self._running and not proposal.alone:
                self.history.decide(Decision("stop", self.history.round, spent))
                return self.history.decisions[-1]
            free = (not self._running) if proposal.alone else self.workers - len(self._running)
            if not proposal.alone:
                room = affordable(self.history, self.problem.total, reserve=0)
                free = max(0, math.floor(min(free, room)))
            for request in proposal.requests[:free]:
                if max_trials is not None and len(self.history) >= max_trials:
                    break
                self._launch(request)
            if not self._running:
                return None
            self._to_beat = self.strategy.to_beat(self.problem, self.history) if self._early else ""
            while not self._advance():
                pass

    @property
    def _early(self) -> EarlyStopping | None:
        return None if self.strategy.weighs_losers else self.early

    def _launch(self, request: Request) -> None:
        outcome = self.world.train(request)
        number = len(self.history)
        facts: dict[str, Any] = {"slot": f"simulated:{len(self._running)}"}
        self.history.put(Trial(number, request, "running", facts, started=self.now))
        self._schedule(number, outcome)

    def _schedule(self, number: int, outcome: Outcome) -> None:
        """Put a trial's next event in line: its end, or its next evaluation where that matters."""
        trial = self.history[number]
        seen, whole = len(trial.curve), outcome.curve
        share = 1.0
        if self._early is not None and seen < len(whole):
            share = whole[seen].train_seconds / max(whole[-1].train_seconds, 1e-9)
        due = trial.started + share * outcome.seconds
        heapq.heappush(self._running, (due, number, outcome))

    def _advance(self) -> bool:
        """The next event; whether a trial ended with it."""
        self.now, number, outcome = heapq.heappop(self._running)
        trial = self.history[number]
        if self._early is None or len(trial.curve) == len(outcome.curve):
            self._finish(trial, outcome)
            return True
        trial = replace(trial, curve=outcome.curve[: len(trial.curve) + 1])
        self.history.put(trial)
        objective = self.problem.objective
        stopped = self._early.verdict(trial, self._to_beat, self.history, objective)
        if stopped is None or len(trial.curve) == len(outcome.curve):
            self._schedule(number, outcome)
            return False
        self.history.put(replace(trial, state="stopped", stopped=stopped, ended=self.now))
        return True

    def _finish(self, trial: Trial, outcome: Outcome) -> None:
        ended = replace(
            trial,
            state="failed" if outcome.failure else "finished",
            curve=outcome.curve,
            end=outcome.end,
            failure=outcome.failure,
            ended=self.now,
        )
        self.history.put(ended)
