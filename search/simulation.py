"""Searches in virtual time: trials are looked up instead of trained, thousands per second."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from search.history import Decision, Description, Failure, History, Request, Trial
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
        history: Grows as the search goes on; start from a recorded one to resume.
        now: Virtual seconds.
    """

    strategy: Strategy
    problem: Problem
    world: World
    workers: int = 1
    history: History = field(default_factory=History)
    now: float = 0.0
    _running: list[tuple[float, int, Outcome]] = field(default_factory=list)

    def run(
        self, max_trials: int | None = None, max_accepted: int | None = None
    ) -> Decision | None:
        """Search until the strategy stops, or a cap is met.

        Returns:
            The stop decision, or None at a cap.
        """
        while True:
            proposal = self.strategy.propose(self.problem, self.history)
            if isinstance(proposal, Decision):
                self.history.decide(proposal)
                if proposal.kind == "stop":
                    return proposal
                if max_accepted is not None and len(self.history.accepted) >= max_accepted:
                    return None
                continue
            for request in proposal.requests[: self.workers - len(self._running)]:
                if max_trials is not None and len(self.history) >= max_trials:
                    break
                self._launch(request)
            if not self._running:
                return None
            self._finish_next()

    def _launch(self, request: Request) -> None:
        outcome = self.world.train(request)
        number = len(self.history)
        facts: dict[str, Any] = {"slot": f"simulated:{len(self._running)}"}
        self.history.put(Trial(number, request, "running", facts, started=self.now))
        heapq.heappush(self._running, (self.now + outcome.seconds, number, outcome))

    def _finish_next(self) -> None:
        self.now, number, outcome = heapq.heappop(self._running)
        ended = replace(
            self.history[number],
            state="failed" if outcome.failure else "finished",
            curve=outcome.curve,
            end=outcome.end,
            failure=outcome.failure,
            ended=self.now,
        )
        self.history.put(ended)
