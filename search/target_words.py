"""What a time-to-target study says of times: the clock, the horizon, and how long configs take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search.history import History, Trial
from search.objective import Objective
from search.probes import exclusive_step_ms
from search.to_target import (
    clock_of,
    clock_words,
    crossings,
    median_words,
    three_digits,
    to_target,
)
from spec.config import Data

SHARED = "all candidates share one planned length, so their crossings are of one horizon"
CHANGED = "the budget of a trial was changed in between; only crossings under one are compared"
OWN = "the planned length is part of the candidate; only the confirmed crossing counts"


def times(trials: Iterable[Trial], objective: Objective, history: History) -> Data | None:
    """One config's time to the target, as plain data; None when no trial has a curve.

    ``seconds`` are train seconds as the trials ran, beside others. ``exclusive_seconds`` are steps
    to the target times the step time alone, None while that is not known, or where ``seconds`` are
    no seconds of training.
    """
    own = list(trials)
    found = to_target(list(crossings(own, objective).values()))
    if found is None:
        return None
    arrival = clock_of(own) == "arrival"
    step_ms = None if arrival else exclusive_step_ms(own[0].config_id, history)
    alone = None if step_ms is None else found.steps * step_ms / 1000
    return {**found.to_dict(), "exclusive_step_ms": step_ms, "exclusive_seconds": alone}


def times_words(told: Mapping[str, Any], target: float) -> str:
    """The same as a sentence."""
    seeds = "1 seed" if told["seeds"] == 1 else f"all {told['seeds']} seeds"
    basis = [f"median of {seeds}", f"{told['misses']} missed" if told["misses"] else ""]
    steps = f"{told['steps']:,.0f} steps"
    tokens = f"{told['tokens']:,.0f} tokens" if told["tokens"] is not None else ""
    words = [
        f"reaches {target:g} in {median_words(told)} ({', '.join(filter(None, basis))})",
        ", ".join(filter(None, [steps, tokens])),
    ]
    if told["exclusive_seconds"] is not None:
        alone = median_words({**told, "seconds": told["exclusive_seconds"]})
        words.append(f"alone {alone}, at {three_digits(told['exclusive_step_ms'])} ms a step")
    return "; ".join(words)


def time_lines(told: Mapping[str, Any]) -> list[str]:
    """A whole study's times for people: baseline, incumbent, and what was read."""
    sides = [(who, told[who]) for who in ("baseline", "incumbent") if told[who] is not None]
    if told["baseline"] == told["incumbent"]:
        sides = sides[1:]
    lines = [f"{who}: {times_words(side, told['target'])}" for who, side in sides]
    return [*lines, f"times are {told['clock']}; {told['horizon']}"]


def rules(trials: Sequence[Trial], space: Iterable[str], trainer: Mapping[str, Any]) -> Data:
    """Which clock was read, and which horizon crossings have, in words.

    Args:
        trials: All of the study.
        space: Paths of the dimensions.
        trainer: As plain data; a foreign one may call the planned length otherwise.
    """
    named = (trainer.get("budget") or {}).get("max_steps") or ()
    lengths = {"max_steps", *([named] if isinstance(named, str) else named)}
    leaves = {path.rpartition(".")[2] for path in space}
    planned = {
        str({key: trial.request.description.config.get(key) for key in sorted(lengths)})
        for trial in trials
    }
    own = [trial for trial in trials if not trial.probe]
    alike = OWN if lengths & leaves or len(planned) > 1 else SHARED
    budgets = {trial.request.budget.key for trial in own}
    return {
        "clock": clock_words(own[-1].request.clock if own else "", clock_of(own)),
        "horizon": CHANGED if len(budgets) > 1 and alike == SHARED else alike,
    }
