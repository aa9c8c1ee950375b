"""The verdict on fresh seeds: whether a candidate is better than the incumbent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from search.costs import COSTS
from search.strategies.base import Problem
from search.strategies.neighbourhood import over_measured_limit
from search.strategies.standing import Standing
from search.to_target import clock_words, crossings, median_words, ordered, rank_p
from spec.words import counted

Test = Literal["t-test", "rank test", "mean"]


@dataclass(frozen=True)
class Verdict:
    """What fresh seeds say of a candidate.

    Attributes:
        confirmed: It is better, at the level asked for.
        p: Of the test that decided; None when there was nothing to test against.
        test: What decided.
        hopeless: More seeds cannot confirm it.
    """

    confirmed: bool
    p: float | None
    test: Test
    hopeless: bool = False


def judge(standing: Standing, problem: Problem, alpha: float, margin: float = 0.0) -> Verdict:
    """Judge a candidate by ``Bench.confirming``.

    The test is a one-sided t-test on paired seeds, of quality or of ln(seconds to target), with the
    noise pooled over the study. Missed targets keep it at its level, or below:

    - A candidate that misses, fails or breaks a limit on any fresh seed is not confirmed.
    - A missing incumbent counts as the time at which its curve ended. It would have needed longer,
      so its loss to the candidate is understated. (Were both cut off so, a candidate that is no
      better would win by chance as often as it loses; demanding hits of it only takes wins away.)
    - The noise is the larger of that among hits and that with misses at their bounds
      (``Bench.relative_noise``). By hits alone, a config that is quick on most seeds and stuck on
      the others looks free of noise, and one that was merely luckier is taken for better: in
      simulation up to one time in four. PAR2 has no part in it.

    When targets were missed on so many seeds that no config hit twice, there is no noise to test
    with, and the exact rank test decides, a miss behind every hit. When nothing was measured twice,
    nothing can be tested, and the mean decides.
    """
    gain, objective = standing.gain, problem.objective
    seconds = [ordered(crossings(side.values(), objective)) for side in
               (standing.trials, standing.against)]  # fmt: skip
    missed = objective.gain == "time_to_target" and math.inf in seconds[0].values()
    failed = any(trial.state != "finished" for trial in standing.trials.values())
    failed = failed or bool(over_measured_limit(problem, standing.trials.values()))
    if gain is None or missed or failed:
        p = None if gain is None else gain.p_value(margin)
        return Verdict(False, p, "t-test", hopeless=missed or failed)
    if (p := gain.p_value(margin)) is not None:
        return Verdict(p <= alpha, p, "t-test")
    if standing.repeated and objective.gain == "time_to_target":
        allowed = {seed: time * math.exp(margin) for seed, time in seconds[0].items()}
        p = rank_p(allowed, seconds[1])
        return Verdict(p is not None and p <= alpha, p, "rank test")
    return Verdict(gain.mean > margin, None, "mean")


def reaches(told: Mapping[str, Any], problem: Problem, seeds: str = "fresh seed") -> str:
    """What a confirmation says of the time to the target, as a sentence; empty for no times.

    Args:
        told: A standing or a verdict, as plain data.
        problem: Its target, and the clock that was read.
        seeds: What sort of seeds it rests on, one of them.
    """
    time = told.get("time")
    if not time or time["candidate"] is None or time["incumbent"] is None:
        return ""
    ours, theirs = time["candidate"], time["incumbent"]
    misses = [
        f"{who} missed {side['misses']}"
        for who, side in (("the candidate", ours), ("the incumbent", theirs))
        if side["misses"]
    ]
    basis = ", ".join([f"median of {counted(ours['seeds'], seeds)}", *misses])
    return (
        f"reaches {problem.objective.target:g} in {median_words(ours)} instead of "
        f"{median_words(theirs)} ({basis}; {clock_words(problem.clock, time['clock'])})"
    )


def quality_name(problem: Problem) -> str:
    """What a gain is measured in."""
    return {
        "val_loss": "score, exp(-val_loss)",
        "val_bpb": "score, 2^(-val_bpb)",
        "time_to_target": "-ln(seconds to target)",
    }[problem.objective.gain]


def gain_words(problem: Problem, gain: Mapping[str, Any]) -> str:
    """A gain, as plain data, with its lower bound where the noise is known."""
    bound = f", at least {gain['low']:+.2g}" if "low" in gain else ""
    return f"gain in {quality_name(problem).partition(',')[0]} {gain['mean']:+.2g}{bound}"


def cost_words(problem: Problem, told: Mapping[str, Any] | None) -> str:
    """What a candidate costs more, with two standard errors where it was measured.

    Args:
        problem: Its objective names the cost.
        told: See ``told_cost``.
    """
    cost = COSTS[problem.objective.cost]
    if told is None:
        return f"{cost.name} unknown, so it counts as dearer"
    change, error, unit = told["change"], told["error"], f" {cost.unit}" if cost.unit else ""
    if error is None:
        return f"{cost.name} {change:+,.3g}{unit}, its noise unknown"
    if error:
        return f"{cost.name} {change:+,.3g} +- {2.0 * error:.2g}{unit} (2 s.e.)"
    return f"{cost.name} {change:+,.6g}{unit}"


def not_confirmed(attempt: Mapping[str, Any]) -> str:
    """Why fresh seeds did not confirm a candidate."""
    if attempt.get("alpha") is None:
        return "its mean is no better"
    if attempt["p"] is None:
        return "not confirmed on fresh seeds"
    if attempt["p"] > attempt["alpha"]:
        told = f"p = {attempt['p']:.2g}, where {attempt['alpha']:.2g} was needed"
        return f"not confirmed on fresh seeds: {told}"
    return "not confirmed: on a fresh seed it failed, missed the target, or broke a limit"
