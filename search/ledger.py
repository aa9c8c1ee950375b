"""What a study has spent: trials, time and energy, failed ones included."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from search.history import Trial
from search.objective import Budget
from spec.config import Config, Data


class Total(Config):
    """What a whole study may spend; failed, stopped and retried trials count, restarts add up."""

    trials: Annotated[int, Field(ge=1)] | None = None
    """Trials, running ones included."""
    train_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds of training, summed over trials."""
    accelerator_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds that trials held a GPU, summed over trials."""
    joules: Annotated[float, Field(gt=0)] | None = None
    """Energy of the GPUs while trials held them, by their counters; ended trials count."""


UNLIMITED = Total()
"""No limit at all."""


class Spending(Budget):
    """The cap on one trial, and on the study as a whole."""

    total: Total = UNLIMITED
    """What the whole study may spend."""


@dataclass(frozen=True)
class Ledger:
    """The account of a study.

    Attributes:
        trials: Trials launched.
        train_seconds: Seconds of training, as far as the trials' last evaluations tell.
        wall_seconds: Seconds trials occupied a worker, summed over ended trials.
        accelerator_seconds: The same for trials on a GPU.
        joules: What GPUs consumed while trials held them, summed over ended trials. None as soon as
            one that was started has no reading, for unknown is not zero. Trials on a CPU have none:
            the counters of CPUs (RAPL) count every process of a package and need root.
    """

    trials: int
    train_seconds: float
    wall_seconds: float
    accelerator_seconds: float
    joules: float | None

    @classmethod
    def of(cls, trials: Iterable[Trial]) -> Ledger:
        """Add up trials of every state."""
        rows = [trial.spent for trial in trials]
        return cls(
            len(rows),
            sum(row.train_seconds for row in rows),
            sum(row.wall_seconds for row in rows),
            sum(row.accelerator_seconds for row in rows),
            _known_sum(row.joules for row in rows),
        )

    def exceeded(self, total: Total) -> str:
        """Which total is spent, as a sentence; empty while none is."""
        for name, limit in total.model_dump(exclude_none=True).items():
            spent = getattr(self, name)
            if spent is None:
                return (
                    f"the budget of {limit:,.6g} {name} cannot be kept: a trial ended without a "
                    "reading of its GPU's energy counter; leave it out, or start over with --fresh"
                )
            if spent >= limit:
                return f"the budget is spent: {spent:,.6g} of {limit:,.6g} {name.replace('_', ' ')}"
        return ""

    def full(self) -> Data:
        """The account as plain data."""
        return vars(self).copy()

    @property
    def energy(self) -> str:
        """The energy for people, such as ``12.3 kJ on GPUs``; empty when none is known."""
        if not self.joules:
            return ""
        for unit, size in (("GJ", 1e9), ("MJ", 1e6), ("kJ", 1e3)):
            if self.joules >= 0.9995 * size:  # else it would round to 1e+03 of the unit below
                return f"{self.joules / size:.3g} {unit} on GPUs"
        return f"{self.joules:.3g} J on GPUs"


def spent_words(trials: Iterable[Trial], total: Total) -> str:
    """Why a total pays for no further trial, as a sentence; empty while it does.

    A forecast, see ``affordable``: the next trial is taken to cost the mean of those that have
    ended.
    """
    if total == UNLIMITED:
        return ""
    launched = list(trials)
    ledger = Ledger.of(launched)
    if words := ledger.exceeded(total):
        return words
    for name, left in _room(launched, total, 0).items():
        if left < 1.0:
            return (
                f"the budget is spent but for less than a trial takes: {getattr(ledger, name):,.6g}"
                f" of {getattr(total, name):,.6g} {name.replace('_', ' ')}"
            )
    return ""


def affordable(trials: Iterable[Trial], total: Total, reserve: int) -> float:
    """More trials that a total pays for beside a reserve; infinite without a limit that is known.

    Trials to come are taken to cost the mean of those that have ended; those that run, and those of
    the reserve, as much as the dearest, for short ones end first.
    """
    return min(_room(trials, total, reserve).values(), default=math.inf)


def _room(trials: Iterable[Trial], total: Total, reserve: int) -> dict[str, float]:
    """More trials that each limit pays for, as far as trials that have ended tell."""
    if total == UNLIMITED:
        return {}
    launched = list(trials)
    ended = [trial.spent for trial in launched if trial.ended is not None]
    running = [trial.spent for trial in launched if trial.ended is None]
    room = {}
    for name, limit in total.model_dump(exclude_none=True).items():
        if name == "trials":
            room[name] = limit - len(launched) - reserve
            continue
        costs = [cost for spent in ended if (cost := getattr(spent, name)) is not None]
        if any(costs):
            dearest = max(costs)
            held = math.fsum(max(dearest, getattr(spent, name) or 0.0) for spent in running)
            free = limit - math.fsum(costs) - held - reserve * dearest
            room[name] = free * len(costs) / math.fsum(costs)
    return room


def _known_sum(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total
