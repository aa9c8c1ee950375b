"""The greedy search's conclusions as sentences."""

from __future__ import annotations

from search.costs import COSTS
from search.gains import Noise, smallest_detectable
from search.strategies.base import Problem
from search.strategies.greedy.lazy import Postponed
from search.strategies.greedy.spending import levels
from search.strategies.standing import Standing
from search.strategies.verdict import reaches
from spec.config import Data
from spec.words import counted


def quality_name(problem: Problem) -> str:
    """What a gain is measured in."""
    return {
        "val_loss": "score, exp(-val_loss)",
        "val_bpb": "score, 2^(-val_bpb)",
        "time_to_target": "ln(seconds to target)",
    }[problem.objective.gain]


def why_accepted(problem: Problem, standing: Standing, confirmed: Data) -> str:
    """What a step brought on fresh seeds, what it cost, and why it came first."""
    cost = COSTS[problem.objective.cost]
    parts = []
    if timed := reaches(confirmed, problem):
        parts.append(timed)
    elif confirmed.get("loss") is not None:
        seeds = len(confirmed["seeds"])
        parts.append(
            f"val_loss {confirmed['incumbent_loss']:.4f} -> {confirmed['loss']:.4f} "
            f"on {counted(seeds, 'fresh seed')}"
        )
    if confirmed.get("p") is not None:
        parts.append(f"p = {confirmed['p']:.2g}")
    if standing.cost is not None:
        unit = f" {cost.unit}" if cost.unit else ""
        parts.append(f"{cost.name} {standing.cost.mean:+,.6g}{unit}")
    if standing.candidate.edit.op == "several":
        why = (
            "each better alone, and together better than the best of them, on the seeds that chose"
        )
        return f"{', '.join(parts)}; {why}"
    why = {
        "better-cheaper": "not dearer, first by gain",
        "better-dearer": "dearer, first by the lower bound of gain per cost",
    }.get(
        standing.quadrant or "",
        "worse, but gives up less per unit saved than the last step paid",
    )
    return f"{', '.join(parts)}; {why}"


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


def why_stopped(runnable: int, excluded: int, attempts: int) -> str:
    """What was looked at without finding a step."""
    if not runnable:
        return f"no neighbour left: all {excluded} are excluded"
    tried = f" ({counted(attempts, 'candidate')} tried on fresh seeds, none confirmed)"
    return f"no significant neighbour among {runnable}{tried if attempts else ''}"


def sensitivity(problem: Problem, noise: Noise | None, alpha: float) -> str:
    """The smallest gain that the last look of a first attempt finds, once one gets that far."""
    looks = problem.seeds.looks
    if noise is None and problem.seeds.max > 1:
        return "; the noise is unknown: no config was measured twice, a missed target is none"
    if noise is None:
        return "; the noise is unknown: give seeds.max 2 or more to learn it"
    if not looks:
        return ""
    effect = smallest_detectable(noise, looks[-1], levels(alpha, 0, looks)[-1])
    measure = quality_name(problem)
    return f"; a confirmation finds a gain of {effect:.2g} in {measure} with 80 % power"
