"""What the times to a target of several seeds say together: their median, and a test by ranks.

A miss is later than every hit. So a finite median is never below the true one, and of a median that
is itself a miss only a lower bound is told, never above it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from scipy.special import ndtr  # scipy.stats takes half a second to import

from search.gains import Crossing, scores
from search.history import Trial
from search.objective import Objective
from spec.config import Data

_EXACT = 100
"""Most values whose permutations are counted; beyond, the normal limit is as good."""
_SECONDS = {
    "training": "train seconds",
    "arrival": "seconds since launch with start-up and evaluation",
}


@dataclass(frozen=True)
class ToTarget:
    """Medians of one config's crossings.

    Attributes:
        seconds: Train seconds, packed as the trials ran; what they exceed when ``missed``.
        steps: Optimizer steps, likewise.
        tokens: Training tokens, likewise; None when a trial does not report them.
        missed: Whether the median is a miss.
        misses: Seeds that did not reach the target.
        seeds: Seeds in all.
    """

    seconds: float
    steps: float
    tokens: float | None
    missed: bool
    misses: int
    seeds: int

    def to_dict(self) -> Data:
        """As plain data."""
        return vars(self).copy()


def to_target(crossings: Sequence[Crossing]) -> ToTarget | None:
    """Medians over several seeds; None without any."""
    if not crossings:
        return None
    missed = [found.censored for found in crossings]
    tokens = [found.tokens for found in crossings if found.tokens is not None]
    return ToTarget(
        _middle(missed, [found.seconds for found in crossings]),
        _middle(missed, [found.steps for found in crossings]),
        _middle(missed, tokens) if len(tokens) == len(missed) else None,
        2 * sum(missed) >= len(missed),
        sum(missed),
        len(missed),
    )


def crossings(trials: Iterable[Trial], objective: Objective) -> dict[int, Crossing]:
    """Seed -> crossing of the trials that were not failures; one that a cap has ended is a miss."""
    found = {}
    for trial in trials:
        reached = scores(trial, objective).to_target
        if trial.state in ("finished", "stopped") and reached is not None:
            found[trial.seed] = reached
    return found


def told_times(
    ours: Mapping[int, Trial], theirs: Mapping[int, Trial], objective: Objective
) -> Data:
    """Medians of candidate and incumbent, and the rank test between them, as plain data."""
    sides = [crossings(trials.values(), objective) for trials in (ours, theirs)]
    medians = [to_target(list(side.values())) for side in sides]
    told = [None if found is None else found.to_dict() for found in medians]
    return {
        "candidate": told[0],
        "incumbent": told[1],
        "clock": clock_of([*ours.values(), *theirs.values()]),
        "rank_p": rank_p(*map(ordered, sides)),
    }


def ordered(side: Mapping[int, Crossing]) -> dict[int, float]:
    """Seed -> seconds; infinite for a miss."""
    return {seed: math.inf if at.censored else at.seconds for seed, at in side.items()}


def median_words(told: Mapping[str, Any]) -> str:
    """A median as people read it: ``10.9 s``, or ``over 61 s`` when it is a miss."""
    return f"{'over ' if told['missed'] else ''}{three_digits(told['seconds'])} s"


def three_digits(value: float) -> str:
    """A number with three digits, or all of its whole part: ``0.0123``, ``10.9``, ``1,234``."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def clock_of(trials: Iterable[Trial]) -> str:
    """What train seconds count: ``training`` alone, or with ``arrival`` all since the launch."""
    arrival = any(trial.facts.get("clock") == "arrival" for trial in trials)
    return "arrival" if arrival else "training"


def clock_words(packing: str, clock: str = "training") -> str:
    """Which clock times were read from, and how trials were packed, where that is known."""
    return ", ".join(filter(None, [_SECONDS[clock], packing]))


def _middle(missed: Sequence[bool], values: Sequence[float]) -> float:
    if 2 * sum(missed) >= len(missed):
        return median(values)  # all are lower bounds of the true times, so this is one of theirs
    return median(math.inf if late else value for late, value in zip(missed, values, strict=True))


def rank_p(ours: Mapping[int, float], theirs: Mapping[int, float]) -> float | None:
    """Chance of ours being at least this early if both were draws from one distribution.

    The one-sided Mann-Whitney test on the seeds of both, exact also with ties: all ways to deal the
    midranks to the two sides are counted. Misses tie behind every hit. It takes seeds as unrelated,
    which is careful where a seed moves both alike.

    Args:
        ours: Seed -> time; infinite for a miss.
        theirs: The same of the other side.
    """
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    values = [ours[seed] for seed in common] + [theirs[seed] for seed in common]
    ranks = [sum(o < v for o in values) + sum(o <= v for o in values) for v in values]  # doubled
    own, half = sum(ranks[: len(common)]), len(common)
    if len(values) > _EXACT:
        mean = sum(ranks) / len(values)
        spread = math.fsum((rank - mean) ** 2 for rank in ranks)
        error = math.sqrt(spread * half / (len(values) * (len(values) - 1)) * half) or math.inf
        return float(ndtr((own - half * mean) / error))
    ways = np.zeros((half + 1, sum(ranks) + 1))  # (how many of them are ours, their sum)
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank]
    return float(ways[half, : own + 1].sum() / ways[half].sum())
