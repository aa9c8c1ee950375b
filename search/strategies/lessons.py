"""What a history teaches models of quality: numbers for every config, also for one that failed."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from search.gains import TINY, best, crossing
from search.history import Trial
from search.strategies.explored import Explored
from search.strategies.model.forms import Array
from search.strategies.model.seeds import SeedEffects, seed_effects
from search.strategies.model.subset import telling

LEARNT = 192
"""Most configs a model is fitted to."""
RARE = 3.0
"""Qualities this many times farther below the median than the best is above it count as that far:
a model of good configs need not tell bad ones apart."""
PACE, SLOWEST = 0.3, 0.03
"""Nats per logarithm of time near the target: where no hit tells, and at the least."""
BEND = 0.3
"""Margins are told apart finely up to so much of a logarithm of time, and coarsely beyond."""
FARTHEST = 30.0
"""The largest distance from the target, where a loss is no number, say."""
SMALL = 0.01
"""Losses below this are no longer told apart by their ratio: they may be negative, too."""
JUST = 0.25
"""Margin of a training that ended at the target and whose planned length nobody knows."""


@dataclass(frozen=True)
class Lesson:
    """What a history teaches of one quantity.

    Attributes:
        values: Config id -> what a model is to explain, a logarithm; higher is better.
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
        margin: How far past the target trainings end if they go on as planned: above 0 they reach
            it. ``log1p(|x| / BEND)`` of a logarithm of time ``x``; None without a target that was
            reached.
    """

    quality: Lesson
    margin: Lesson | None = None


def lessons(explored: Explored) -> Lessons:
    """The lessons of what was explored; failures count as the worst that was measured.

    How long a training takes is all but known from its config, and how far it gets is another
    matter: small models and few steps serve the one and harm the other. One number for both would
    hide what each of them teaches.
    """
    names, objective = _informative(explored), explored.problem.objective
    if objective.gain != "time_to_target":
        lesson = _lesson(explored, names, lambda trial: _worth(explored.quality(trial)))
        return Lessons(replace(lesson, values=_tempered(lesson.values)))
    if not any(map(explored.hit, names)):
        lesson = _lesson(explored, names, _lowest)  # the loss leads the way
        return Lessons(replace(lesson, values=_tempered(lesson.values)))
    sure = frozenset(filter(explored.hit, names))
    quality = _lesson(explored, names, lambda trial: _quickness(trial, explored), sure)
    pace = _pace(explored, names)
    return Lessons(quality, _lesson(explored, names, lambda t: _margin(t, explored, pace)))


def _informative(explored: Explored) -> list[str]:
    """Configs that have ended and are worth fitting a model to, see ``telling``; the baseline too.

    What has reached a target comes first, then what came near it.
    """
    if len(explored.rows) <= LEARNT:
        return sorted(explored.rows)

    def nearness(name: str) -> float:
        losses = (_lowest(trial) for trial in explored.rows[name].values())
        return max((loss for loss in losses if loss is not None), default=-math.inf)

    hits = {name: worth for name, worth in explored.qualities.items() if worth > -math.inf}
    misses = [name for name in explored.rows if name not in hits]
    ranked = sorted(hits, key=hits.__getitem__, reverse=True)
    ranked += sorted(misses, key=nearness, reverse=True)
    chosen = {*telling(ranked, LEARNT), explored.problem.baseline.config_id}
    return sorted(chosen & explored.rows.keys())


def _lesson(
    explored: Explored,
    names: Sequence[str],
    worth: Callable[[Trial], float | None],
    sure: Container[str] | None = None,
) -> Lesson:
    """What configs teach of one quantity; with ``sure``, only these tell of seeds and of noise."""
    table = {}
    for name in names:
        row = explored.rows[name].items()
        known = {seed: value for seed, trial in row if (value := worth(trial)) is not None}
        if known:
            table[name] = known
    told = {name: row for name, row in table.items() if sure is None or name in sure}
    seeds = seed_effects(told)
    found = {name: seeds.levelled(row) for name, row in table.items()}
    if not found:
        return Lesson({}, {}, seeds)
    worst = min(found.values())
    values = {name: found.get(name, worst) for name in names}
    counts = {name: len(told.get(name, ())) for name in names}
    return Lesson(values, counts, seeds)


def _worth(quality: float | None) -> float | None:
    """A quality, ``exp(-loss)``, as a model sees it."""
    return None if quality is None else _flat(-math.log(max(quality, TINY)))


def _lowest(trial: Trial) -> float | None:
    """The same of the lowest loss of a trial that was timed."""
    point = best(trial.curve) if trial.state == "finished" else None
    return None if point is None else _flat(point.val_loss)


def _flat(loss: float) -> float:
    """Minus the logarithm of a loss; along its tangent near zero and below, where it has none."""
    if loss >= SMALL:
        return -math.log(loss)
    return -math.log(SMALL) + (SMALL - loss) / SMALL


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
    value, target = explored.quality(trial), _target(explored)
    if value is None or not trial.curve:
        return None
    rule, last = explored.problem.objective.crossing, trial.curve[-1]
    counted = trial.curve if rule == "first" or value > -math.inf else (last,)
    lowest = best(counted)
    lead = -math.inf if lowest is None else (target - lowest.val_loss) / pace
    reached = crossing(trial.curve, target, rule)
    assert reached is not None
    if value > -math.inf:
        steps = max(reached.steps, 1.0)
        margin = max(lead, math.log(_whole(trial, math.exp(JUST) * steps) / steps))
    else:
        left = math.log(_whole(trial, 1.0) / max(last.step, 1)) if trial.stopped else 0.0
        margin = lead + left
    margin = min(max(margin, -FARTHEST), FARTHEST)
    return math.copysign(math.log1p(abs(margin) / BEND), margin)


def _whole(trial: Trial, unknown: float) -> float:
    """Steps of a whole training, by its plan and by the caps of its budget."""
    last, budget = trial.curve[-1], trial.request.budget
    planned = trial.planned_steps if trial.planned_steps is not None else budget.max_steps
    capped = math.inf
    if budget.max_seconds is not None and last.train_seconds > 0:
        capped = budget.max_seconds * last.step / last.train_seconds
    return max(min(unknown if planned is None else planned, capped), last.step, 1.0)


def _pace(explored: Explored, names: Iterable[str]) -> float:
    """At which trials come to the target: nats per logarithm of time, from half of their time on.

    The median over those that reached it.
    """
    target, paces = _target(explored), []
    for name in names:
        for trial in explored.rows[name].values():
            value = explored.quality(trial)
            if value is None or value == -math.inf:
                continue
            half = [p for p in trial.curve if 0.0 < p.train_seconds <= math.exp(-value) / 2.0]
            if half and math.isfinite(half[-1].val_loss):
                taken = -value - math.log(half[-1].train_seconds)
                paces.append((half[-1].val_loss - target) / taken)
    return max(median(paces), SLOWEST) if paces else PACE


def _target(explored: Explored) -> float:
    target = explored.problem.objective.target
    assert target is not None  # a timed objective has one
    return target


def _tempered(values: Mapping[str, float]) -> dict[str, float]:
    if not values:
        return {}
    ordered: Array = np.array(list(values.values()))
    middle, best = float(np.median(ordered)), float(ordered.max())
    floor = middle - RARE * (best - middle) if best > middle else -math.inf
    return {name: max(value, floor) for name, value in values.items()}
