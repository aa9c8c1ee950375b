"""The greedy search's conclusions as sentences."""

from __future__ import annotations

from collections.abc import Sequence

from search.gains import Noise, smallest_detectable
from search.strategies.base import Problem
from search.strategies.greedy.lazy import Postponed
from search.strategies.greedy.spending import levels
from search.strategies.standing import Standing, told_cost
from search.strategies.verdict import (
    cost_words,
    gain_words,
    not_confirmed,
    quality_name,
    reaches,
)
from spec.config import Data
from spec.words import counted


def why_accepted(problem: Problem, standing: Standing, confirmed: Data, trained: int) -> str:
    """What a step brought on fresh seeds, what it cost, and why it came first.

    Args:
        problem: What is searched.
        standing: The step on the seeds that chose it.
        confirmed: What fresh seeds said of it.
        trained: How many candidates it was chosen from.
    """
    parts = []
    if timed := reaches(confirmed, problem):
        parts.append(timed)
    elif confirmed.get("loss") is not None:
        seeds = len(confirmed["seeds"])
        parts.append(
            f"val_loss {confirmed['incumbent_loss']:.4f} -> {confirmed['loss']:.4f} "
            f"on {counted(seeds, 'fresh seed')}"
        )
    if confirmed.get("gain"):
        assert standing.gain is not None
        chosen = f"{standing.gain.mean:+.2g} when selected"
        parts.append(f"{gain_words(problem, confirmed['gain'])} ({chosen})")
    margin = confirmed.get("margin") or 0.0
    if confirmed.get("p") is not None:
        against = f" that it loses {-margin:.2g} or more" if margin < 0.0 else ""
        parts.append(f"p = {confirmed['p']:.2g}{against}")
    parts.append(cost_words(problem, confirmed.get("cost") or told_cost(standing)))
    if standing.candidate.edit.op == "several":
        why = (
            "each better alone, and together better than the best of them, on the seeds that chose"
        )
        side = "dearer" if standing.dearer else "not dearer"
        return f"{', '.join(parts)}; {side}, {why}, of {counted(trained, 'candidate')}"
    why = {
        "better-cheaper": "not dearer, first by gain",
        "better-dearer": "dearer, first by the lower bound of gain per cost",
    }.get(standing.quadrant or "", "worse")
    if margin < 0.0:
        why = "cheaper, and gives up less per unit saved than the last dearer step paid"
    return f"{', '.join(parts)}; {why}, of {counted(trained, 'candidate')}"


def why_not(
    standing: Standing,
    attempt: Data | None,
    taken: Standing | None,
    rate: float | None,
    confidence: tuple[float, float],
) -> str:
    """Why a candidate that was trained is not taken.

    Args:
        standing: Where it stands on the seeds that choose.
        attempt: What fresh seeds said of it; None when it was not tried on them.
        taken: The candidate that is; None when none is.
        rate: The exchange rate for worse but cheaper ones.
        confidence: Of the bounds that tell what is clear: alone, and among all that were looked at.
    """
    if standing.candidate.rejected:
        return standing.candidate.rejected
    if standing.gain is None:
        return failed(standing)
    if attempt is not None:
        return not_confirmed(attempt)
    margin, edit, (alone, among) = standing.margin(rate), standing.candidate.edit, confidence
    if standing.gain.error is None and standing.gain.mean <= margin:
        return "it is no better in the one measurement that there is"
    if standing.gain.high(alone) <= margin:
        return "it is clearly no better" if margin == 0.0 else "it gives up more than it saves"
    if standing.gain.low(alone) <= margin:
        return "its gain is within the noise"
    if edit.op == "several":
        return "together they are no better than the best of them alone"
    if taken is None:
        return "the attempts were used up before its turn"
    change = taken.candidate.edit
    parts = change.value if change.op == "several" else {}
    if edit.path in parts and parts[edit.path] == edit.value:
        return f"part of the step that is taken, {change.key}"
    if standing.gain.low(among) <= margin:
        return f"{change.key} came first; alone it is clear, among so many it may be luck"
    return f"{change.key} came first"


def failed(standing: Standing) -> str:
    """Why a candidate has no gain, by its first trial that failed."""
    failures = [trial.failure for trial in standing.trials.values() if trial.failure is not None]
    return str(failures[0]) if failures else "no seed was measured on both sides"


def why_postponed(waiting: Postponed, best: Standing, confidence: float) -> str:
    """Why a neighbour was not measured in this round."""
    standing = waiting.standing
    assert standing.gain is not None
    assert best.gain is not None
    most = f"not measured: at most {standing.gain.mean:+.2g} by round {waiting.round}"
    if standing.gain.mean <= 0 or standing.cost is None:
        return most
    if standing.dearer and best.dearer:
        per = (standing.value(standing.gain.mean), best.value(best.gain.low(confidence)))
        return f"{most}, {per[0]:.2g} per unit of cost; the best fresh one gains {per[1]:.2g}"
    dearer = "it is dearer, and " if standing.dearer else ""
    return f"{most}; {dearer}the best fresh one gains {best.gain.mean:+.2g}"


def why_stopped(standings: Sequence[Standing], excluded: int, attempts: int) -> str:
    """What was looked at without finding a step.

    Args:
        standings: All that was trained.
        excluded: How many neighbours there are, those that cannot be trained included.
        attempts: How many candidates were tried on fresh seeds.
    """
    if not standings:
        return f"no neighbour left: all {excluded} are excluded"
    told = []
    if lost := [standing for standing in standings if standing.gain is None]:
        told.append(f"{len(lost)} failed, the first so: {failed(lost[0])}")
    if attempts:
        told.append(f"{counted(attempts, 'candidate')} tried on fresh seeds, none confirmed")
    there = f" ({'; '.join(told)})" if told else ""
    return f"no significant neighbour among {len(standings)}{there}"


def sensitivity(problem: Problem, noise: Noise | None, alpha: float) -> str:
    """The smallest gain that the last look of a first attempt finds, once one gets that far.

    To get that far it has to lead its round, which noise may keep it from: see the power curve of
    ``benchmarks.false_accepts`` for both together.
    """
    looks = problem.seeds.looks
    if noise is None and problem.seeds.max > 1:
        return "; the noise is unknown: no config was measured twice, a missed target is none"
    if noise is None:
        return "; the noise is unknown: give seeds.max 2 or more to learn it"
    if not looks:
        return ""
    effect = smallest_detectable(noise, looks[-1], levels(alpha, 0, looks)[-1])
    measure = quality_name(problem)
    there = "one that leads its round"
    return f"; of {there}, a gain of {effect:.2g} in {measure} is confirmed with 80 % power"
