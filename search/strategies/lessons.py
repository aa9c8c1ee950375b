"""What a history teaches models of quality: numbers for every config, also for one that failed."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from search.gains import best, crossing
from search.history import Trial
from search.strategies.explored import Explored
from search.strategies.model.forms import Array
from search.strategies.model.seeds import SeedEffects, seed_effects
from search.strategies.model.subset import telling

LEARNT = 256
"""Most configs a model is fitted to."""
RARE = 3.0
"""Qualities this many times farther below the median than the best is above it count as that far:
a model of good configs need not tell bad ones apart."""
PACE = 0.3
"""Nats per logarithm of time near the target, where no hit tells."""
BEND = 0.3
"""Margins are told apart finely up to so much of a logarithm of time, and coarsely beyond."""
FARTHEST = 30.0
"""The least margin, where a loss is no number."""
JUST = 0.25
"""Margin of a training that ended at the target and whose planned length nobody knows."""


@dataclass(frozen=True)
class Lesson:
    """What a history teaches of one quantity.

    Attributes:
        values: Config id -> what a model is to explain; higher is better.
        counts: Config id -> of how many measurements that is the mean; 0 where it is made up.
        seeds: What seeds do to all configs alike, which the values are without; and the noise.
    """

    values: Mapping[str, float]
    counts: Mapping[str, int]
    seeds: SeedEffects


@dataclass(frozen=True)
class Lessons:
    """What a history teaches.

    Attributes:
        quality: Minus the logarithm of the loss, in which gains of edits nearly add up; with a
            target, once a config has reached it, minus that of the seconds a training took, be it
            to the target or to its own end. Empty before the first measurement.
        margin: How far past the target trainings end if they go on as planned; None without
            a target that was reached.
    """

    quality: Lesson
    margin: Lesson | None = None


def lessons(explored: Explored) -> Lessons:
    """The lessons of all that was explored; failures count as the worst that was measured.

    How long a training takes is all but known from its config, and how far it gets is another
    matter: small models and few steps serve the one and harm the other. One number for both would
    hide what each of them teaches.
    """
    if explored.problem.objective.gain != "time_to_target":
        return Lessons(_lesson(explored, _table(explored, lambda t: _worth(explored.quality(t)))))
    if not any(map(explored.hit, explored.qualities)):
        return Lessons(_lesson(explored, _table(explored, _lowest)))  # the loss leads the way
    times = _table(explored, lambda trial: _quickness(trial, explored))
    pace = _pace(explored)
    margins = _table(explored, lambda trial: _margin(trial, explored, pace))
    sure = frozenset(name for name in times if explored.hit(name))
    return Lessons(_lesson(explored, times, sure), _lesson(explored, margins))


_Values = Mapping[str, Mapping[int, float]]
"""Config id -> seed -> what a model is to explain, where it is known."""


def _table(explored: Explored, worth: Callable[[Trial], float | None]) -> _Values:
    table = {}
    for name, row in explored.rows.items():
        known = {seed: value for seed, t in row.items() if (value := worth(t)) is not None}
        if known:
            table[name] = known
    return table


def _lesson(explored: Explored, table: _Values, sure: Container[str] | None = None) -> Lesson:
    """The lesson of a table; with ``sure``, only these configs tell of seeds and of noise."""
    told = {name: row for name, row in table.items() if sure is None or name in sure}
    seeds = seed_effects(told)
    found = {name: seeds.levelled(row) for name, row in table.items()}
    if not found:
        return Lesson({}, {}, seeds)
    worst = min(found.values())
    found |= {name: worst for name in explored.rows if name not in found}
    counts = {name: len(told.get(name, ())) for name in found}
    return Lesson(_tempered(dict(sorted(found.items()))), counts, seeds)


def _worth(quality: float | None) -> float | None:
    """A quality, ``exp(-loss)``, as a model sees it."""
    return None if quality is None else -math.log(max(-math.log(quality), 1e-12))


def _lowest(trial: Trial) -> float | None:
    """The same of the lowest loss of a trial that was timed."""
    point = best(trial.curve) if trial.state == "finished" else None
    return None if point is None else -math.log(max(point.val_loss, 1e-12))


def _quickness(trial: Trial, explored: Explored) -> float | None:
    """Minus the logarithm of the seconds to the target, or to where a trial ended without it."""
    value = explored.quality(trial)
    if value == -math.inf:
        value = -math.log(max(trial.curve[-1].train_seconds, 1e-9)) if trial.curve else None
    return value


def _margin(trial: Trial, explored: Explored, pace: float) -> float | None:
    """How far past the target a trial ends, or would end, if it goes on as planned.

    As a logarithm of time: of what the planned length is beside that to the target, if it came to
    the target or was ended early; less what the loss lacks, at the pace. Bent, so that far from the
    target little is told apart.
    """
    target = explored.problem.objective.target
    reached = crossing(trial.curve, target or 0.0, explored.problem.objective.crossing)
    if explored.quality(trial) is None or reached is None:
        return None
    lowest = best(trial.curve)
    lead = -math.inf if lowest is None else ((target or 0.0) - lowest.val_loss) / pace
    if reached.censored:
        left = math.log(_whole(trial, trial.curve[-1].step) / trial.curve[-1].step)
        margin = lead + (left if trial.stopped else 0.0)
    else:
        whole = _whole(trial, math.exp(JUST) * reached.steps)
        margin = max(lead, math.log(max(whole / reached.steps, 1.0)))
    return math.copysign(math.log1p(abs(max(margin, -FARTHEST)) / BEND), margin)


def _whole(trial: Trial, unknown: float) -> float:
    """Steps of a whole training, by its plan and by the cap on its seconds."""
    last = trial.curve[-1]
    cap = trial.request.budget.max_seconds
    capped = math.inf if cap is None else cap * last.step / max(last.train_seconds, 1e-9)
    return max(min(trial.planned_steps or unknown, capped), last.step)


def _pace(explored: Explored) -> float:
    """At which trials come to the target: nats per logarithm of time, from half of their time on.

    The median over those that reached it.
    """
    target, paces = explored.problem.objective.target, []
    for row in explored.rows.values():
        for trial in row.values():
            value = explored.quality(trial)
            if value is None or value == -math.inf or target is None:
                continue
            half = [p for p in trial.curve if p.train_seconds <= math.exp(-value) / 2.0]
            if half:
                taken = -value - math.log(max(half[-1].train_seconds, 1e-9))
                paces.append((half[-1].val_loss - target) / taken)
    return max(median(paces), 1e-9) if paces else PACE


def _tempered(values: Mapping[str, float]) -> dict[str, float]:
    ordered: Array = np.array(list(values.values()))
    middle, best = float(np.median(ordered)), float(ordered.max())
    floor = middle - RARE * (best - middle) if best > middle else -math.inf
    return {name: max(value, floor) for name, value in values.items()}


def informative(taught: Lessons) -> list[str]:
    """Configs worth fitting a model to, see ``telling``; what reached a target comes first."""
    quality, margin = taught.quality.values, taught.margin
    if len(quality) <= LEARNT:
        return list(quality)

    def rank(name: str) -> tuple[bool, float, str]:
        missed = margin is not None and margin.values[name] < 0.0
        return missed, -(margin if missed and margin else taught.quality).values[name], name

    return telling(sorted(quality, key=rank), LEARNT)
