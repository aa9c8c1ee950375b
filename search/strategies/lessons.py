"""What a history teaches a model of quality: a number per config, also for one that failed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from search.gains import best
from search.history import Trial
from search.strategies.explored import Explored
from search.strategies.model.forms import Array
from search.strategies.model.seeds import SeedEffects, seed_effects
from search.strategies.pareto import objectives

LEARNT = 400
"""Most configs a model is fitted to: the best half and an even sample of the rest."""
FARTHEST = 8.0
"""A config that missed the target counts as taking at most so many times the longest hit."""
RARE = 3.0
"""Qualities this many times farther below the median than the best is above it count as that far:
a model of good configs need not tell bad ones apart."""


@dataclass(frozen=True)
class Lessons:
    """What a history teaches.

    Attributes:
        values: Config id -> what the model is to explain.
        counts: Config id -> of how many measurements that is the mean; 0 where it is made up.
        seeds: What seeds do to all configs alike, which the values are without; and the noise.
    """

    values: Mapping[str, float]
    counts: Mapping[str, int]
    seeds: SeedEffects


def lessons(explored: Explored) -> Lessons:
    """A value per config; failures count as the worst that was measured.

    Loss enters by its logarithm, in which gains of edits nearly add up; a time to target already
    is one. For what never reached the target see ``_imputed``.
    """
    table = _values(explored)
    seeds = seed_effects(table)
    found = {name: _worth(explored, value) for name, value in explored.qualities.items()}
    found |= {name: seeds.levelled(row) for name, row in table.items()}
    if not any(map(math.isfinite, found.values())):
        found = _losses(explored)  # nothing reached the target yet: the loss leads the way
    if not found:
        return Lessons({}, {}, seeds)
    found |= _imputed(explored, [name for name, value in found.items() if value == -math.inf])
    worst = min(found.values())
    found |= {name: worst for name in explored.rows if name not in found}
    counts = {name: len(table.get(name, ())) for name in found}
    return Lessons(_tempered(dict(sorted(found.items()))), counts, seeds)


def _imputed(explored: Explored, missed: Sequence[str]) -> dict[str, float]:
    """What configs that missed the target are taken for, so that the model can tell them apart.

    Their time is carried on from where they ended, or from the typical hit if that is later, at the
    pace at which those that hit the target came to it: nats per logarithm of time, over the last
    half of their time. Short trainings of small models fall fast and then no further, so their own
    end alone would promise too much. At most ``FARTHEST`` times the longest hit.
    """
    if not missed:
        return {}
    hits, paces = _hits(explored)
    if not hits:
        return {}
    pace = max(median(paces), 1e-9) if paces else 1.0
    floor, typical = min(hits) - math.log(FARTHEST), median(hits)
    found = {}
    for name in missed:
        row = explored.rows[name].values()
        own = [_carried_on(explored, trial, pace, typical) for trial in row]
        found[name] = max(fmean(own), floor)
    return found


def _hits(explored: Explored) -> tuple[list[float], list[float]]:
    """Of all trials that reached the target: quality, and nats per logarithm of time."""
    objective = explored.problem.objective
    hits, paces = [], []
    for row in explored.rows.values():
        for trial in row.values():
            value = explored.quality(trial)
            if value is None or value == -math.inf:
                continue
            hits.append(value)
            half = [p for p in trial.curve if p.train_seconds <= math.exp(-value) / 2.0]
            if half and objective.target is not None:
                taken = -value - math.log(max(half[-1].train_seconds, 1e-9))
                paces.append((half[-1].val_loss - objective.target) / taken)
    return hits, paces


def _carried_on(explored: Explored, trial: Trial, pace: float, typical: float) -> float:
    """Minus the logarithm of the seconds a trial took, or would have needed to the target."""
    value, target = explored.quality(trial), explored.problem.objective.target
    if value is not None and value > -math.inf:
        return value
    point = best(trial.curve)
    if point is None or target is None:
        return -math.inf
    left = max(point.val_loss - target, 0.0)
    end = -math.log(max(trial.curve[-1].train_seconds, 1e-9))
    return min(end, typical) - left / pace


def _worth(explored: Explored, value: float) -> float:
    """A quality as the model sees it."""
    timed = explored.problem.objective.gain == "time_to_target"
    return value if timed else -math.log(max(-math.log(value), 1e-12))


def _values(explored: Explored) -> dict[str, dict[int, float]]:
    """Config id -> seed -> what the model is to explain, where it is known."""
    table = {}
    for name, row in explored.rows.items():
        known = ((seed, explored.quality(trial)) for seed, trial in row.items())
        worth = {seed: _worth(explored, value) for seed, value in known if value is not None}
        if worth and all(map(math.isfinite, worth.values())):
            table[name] = worth
    return table


def _losses(explored: Explored) -> dict[str, float]:
    found = {}
    for name in explored.qualities:
        told = objectives(explored, name, ())
        if told is not None:
            found[name] = -math.log(max(told[0], 1e-12))
    return found


def _tempered(values: Mapping[str, float]) -> dict[str, float]:
    ordered: Array = np.array(list(values.values()))
    middle, best = float(np.median(ordered)), float(ordered.max())
    floor = middle - RARE * (best - middle) if best > middle else -math.inf
    return {name: max(value, floor) for name, value in values.items()}


def informative(values: Mapping[str, float]) -> Sequence[str]:
    """Configs worth fitting a model to: all, or the best half and an even sample of the rest."""
    if len(values) <= LEARNT:
        return list(values)
    ranked = sorted(values, key=lambda name: (-values[name], name))
    rest = ranked[LEARNT // 2 :]
    return ranked[: LEARNT // 2] + rest[:: math.ceil(len(rest) / (LEARNT // 2))]
