"""Which neighbours need no training now: what earlier rounds measured of them bounds their gain.

Lazy greedy (Minoux, Accelerated greedy algorithms, 1978; CELF, Leskovec et al., KDD 2007): where
gains only diminish as steps are taken, an earlier gain is an upper bound of a later one, and only
those whose bound is the largest have to be measured again. Gains of configs diminish only roughly,
so here it is a heuristic: an upper confidence bound stands for the earlier gain, every few rounds
all are measured, and no search ends before all are. What is accepted is decided on fresh seeds
either way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from search.gains import Gain
from search.history import Decision
from search.strategies.base import Candidate
from search.strategies.standing import Bench, CostChange, Standing, best_first, places
from spec.config import Data
from spec.path import Path


@dataclass(frozen=True)
class Earlier:
    """What an earlier round measured of an edit.

    Attributes:
        round: The round.
        path: Where the edit changes the config.
        gain: Upper confidence bound of its gain, scaled to the quality of the incumbent since.
        cost: Difference of cost, as it was then.
    """

    round: int
    path: str
    gain: float
    cost: CostChange | None


@dataclass(frozen=True)
class Postponed:
    """A neighbour that waits, because it cannot be the best even with its optimistic gain.

    Attributes:
        standing: As if it gained its optimistic bound for certain.
        round: Where the bound was measured.
    """

    standing: Standing
    round: int

    @property
    def candidate(self) -> Candidate:
        """The neighbour."""
        return self.standing.candidate

    def before(self, rival: Standing | None, confidence: float, rate: float | None) -> bool:
        """Whether it might be taken before a rival; for None, whether it might be taken at all."""
        rivals = [self.standing] if rival is None else [self.standing, rival]
        return best_first(rivals, confidence, rate)[:1] == [self.standing]


def earlier_gains(accepted: Sequence[Decision], setting: str, recheck: int) -> dict[str, Earlier]:
    """What the rounds since all neighbours were last measured tell, by the key of the edit.

    Empty when this round is to measure all: the first in its setting, and every ``recheck``-th.
    """
    same = list(takewhile(lambda d: d.detail.get("setting") == setting, reversed(accepted)))
    lazy = len(list(takewhile(_left_some_out, same)))
    if lazy + 1 >= recheck:
        return {}
    known: dict[str, Earlier] = {}
    for decision in reversed(same[: lazy + 1]):
        known |= _told(decision)
        growth, step = decision.detail.get("growth", 1.0), _step(decision)
        known = {
            key: replace(found, gain=found.gain * growth)
            for key, found in known.items()
            if not _displaced(Path.parse(found.path), step)
        }
    return known


def postponable(
    candidates: Iterable[Candidate], known: Mapping[str, Earlier], bench: Bench
) -> list[Postponed]:
    """Those of the candidates that an earlier round measured, with their optimistic gain."""
    found = []
    for candidate in candidates:
        if (earlier := known.get(candidate.edit.key)) is not None:
            standing = bench.stand(candidate, (), None)  # its cost, where that is known by now
            gain = Gain(earlier.gain, None, 0, 0)
            cost = standing.cost or earlier.cost
            found.append(Postponed(replace(standing, gain=gain, cost=cost), earlier.round))
    return found


def most_promising(
    waiting: Sequence[Postponed], width: int, confidence: float, rate: float | None
) -> list[Postponed]:
    """Those to train at once: as many as a race has places, and shared out alike."""
    able = {p.standing.candidate.edit.key: p for p in waiting if p.before(None, confidence, rate)}
    chosen = places([p.standing for p in able.values()], width, confidence)
    return [able[standing.candidate.edit.key] for standing in chosen]


def due(
    waiting: Sequence[Postponed], best: Standing | None, confidence: float, rate: float | None
) -> list[Postponed]:
    """Those that have to be trained before the best of the measured ones may be taken.

    For None, before the round may end without a step: those that may be better at all, and once
    there is none of these, all others.
    """
    able = [postponed for postponed in waiting if postponed.before(best, confidence, rate)]
    return able if able or best is not None else list(waiting)


def _left_some_out(decision: Decision) -> bool:
    return any("postponed" in told for told in decision.detail["candidates"])


def _told(decision: Decision) -> dict[str, Earlier]:
    """What one round measured; of a candidate that was confirmed or not, its fresh seeds count."""
    rows = [*decision.detail["candidates"], *decision.detail.get("attempts", ())]
    return {told["key"]: _earlier(decision.round, told) for told in rows if _bounded(told)}


def _bounded(told: Mapping[str, Any]) -> bool:
    measured = "high" in told.get("gain", {}) and not told.get("rejected")
    return measured and told["edit"]["op"] != "several"


def _earlier(number: int, told: Mapping[str, Any]) -> Earlier:
    cost = told.get("cost")
    least = None if cost is None else cost["change"] - 2.0 * (cost["error"] or 0.0)
    change = None if least is None else CostChange(least, 0.0)  # as optimistic as the gain
    return Earlier(number, told["edit"]["path"], told["gain"]["high"], change)


def _step(decision: Decision) -> Data:
    chosen = decision.detail["chosen"]
    edit: Data = next(t["edit"] for t in decision.detail["candidates"] if t["key"] == chosen)
    return edit


def _displaced(path: Path, step: Mapping[str, Any]) -> bool:
    """Whether a path leads to another item than before a step: one that moved up or down a list."""
    if step["op"] not in ("duplicate", "drop"):
        return False
    *holder, index = Path.parse(step["path"]).steps
    rest = path.steps[len(holder) :]
    if list(path.steps[: len(holder)]) != holder or not rest or not isinstance(rest[0], int):
        return False
    assert isinstance(index, int)
    return rest[0] >= index
