"""The head of the report: what was asked, what was gained, what it cost, which config won."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.blocks import Block, Code, Command, Facts, Fold, Table, Text
from analysis.style import duration, loss, number, percent
from analysis.view import View, cost_axis, cost_of
from search.gains import scores
from search.history import Trial
from search.ledger import Ledger
from search.results import counts, incumbent_of, raised_words
from search.to_target import median_words
from spec import yaml
from spec.words import counted

MOST_DIFFERENCES = 200


def summary(view: View) -> list[Block]:
    """The study in a few numbers, its outcome in words, and the incumbent's config."""
    return [
        Text(outcome(view)),
        Facts(facts(view)),
        Text(wanted(view)),
        *_incumbent(view),
        _asked(view),
    ]


def outcome(view: View) -> str:
    """How the search stands, in one sentence."""
    decisions = view.history.decisions
    if view.open_round is not None:
        return f"Round {view.open_round} is under way; this page shows the study as it is now."
    if not decisions:
        return "The search has not reached a decision."
    last = decisions[-1]
    return f"Stopped: {last.words}." if last.kind == "stop" else f"Last decision: {last.words}."


def wanted(view: View) -> str:
    """Objective, limits, budget and strategy, in words."""
    asked = view.opened.exploration
    limits = [f"{name} at most {number(most, 6)}" for name, most in asked.objective.limits.items()]
    budget, total = (
        [f"{name.replace('_', ' ')} {number(value, 6)}" for name, value in caps.items()]
        for caps in (
            asked.budget.model_dump(exclude_none=True, exclude={"total"}),
            asked.budget.total.model_dump(exclude_none=True),
        )
    )
    target = asked.objective.target
    parts = [
        f"Objective: {view.quality.axis}",
        f"target loss {target:g}" if target is not None else "",
        f"paid in {cost_axis(asked.objective.cost)}",
        *limits,
    ]
    capped = f"Budget of a trial: {', '.join(budget) or 'as long as its config says'}."
    if longer := raised_words(view.history):
        capped += f" It was raised meanwhile: {longer}; losses fell by that too."
    whole = f" Budget of the study: {', '.join(total)}." if total else ""
    strategy = (asked.model_extra or {}).get("strategy") or {}
    times = ""
    if asked.objective.gain == "time_to_target":
        rules = view.times
        times = f" Times are {rules['clock']}; {rules['horizon']}."
    return (
        f"{', '.join(filter(None, parts))}. {capped}{whole} "
        f"Strategy: {strategy.get('kind', '–')}.{times}"
    )


def facts(view: View) -> list[tuple[str, str, str]]:
    """Label, value and remark of what matters most."""
    objective = view.opened.exploration.objective
    first, last = view.path[0], view.path[-1]
    before, after = view.value(first.trials), view.value(last.trials)
    found = [
        (view.quality.name, _arrow(_quality(view, before), _quality(view, after)),
         f"{view.quality.unit}{_percent(before, after)}")
    ]  # fmt: skip
    costs = dict.fromkeys([objective.cost, "parameters"])
    for name in costs:
        sides = [cost_of(name, step.trials) for step in (first, last)]
        if None not in sides:
            told = _arrow(number(sides[0]), number(sides[1]))
            found.append((cost_axis(name), told, _percent(*sides).lstrip(", ") or "unchanged"))
    if objective.target is not None and objective.gain != "time_to_target":
        sides_reached = [_reached(view, step.trials) for step in (first, last)]
        found.append(
            (f"time to loss {objective.target:g}", _arrow(*sides_reached), "train time, mean")
        )
    found += _alone(view)
    found.append(("accepted steps", str(len(view.history.accepted)), _rounds(view)))
    tally = counts(view.history)
    remark = ", ".join(f"{amount:,} {state}" for state, amount in tally.items() if amount)
    found.append(("trials", f"{len(view.trials):,}", remark or "none yet"))
    trained = sum(trial.curve[-1].train_seconds for trial in view.trials if trial.curve)
    found.append(("training time", duration(trained), "all trials together"))
    if energy := Ledger.of(view.trials).energy:
        found.append(("energy", energy, "while trials held them, by the GPUs' counters"))
    return found


def _alone(view: View) -> list[tuple[str, str, str]]:
    """Times to the target without other trials beside; nothing for other objectives."""
    if view.opened.exploration.objective.gain != "time_to_target":
        return []
    told = view.times
    sides = [told[who] for who in ("baseline", "incumbent")]
    if any(side is None or side["exclusive_seconds"] is None for side in sides):
        return []
    words = [median_words({**side, "seconds": side["exclusive_seconds"]}) for side in sides]
    return [("the same, alone", _arrow(*words), "steps to the target x exclusive step time")]


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Every leaf in which two configs differ: path, value before, value after."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            where = f"{path}.{key}" if path else str(key)
            yield from differences(before.get(key, "–"), after.get(key, "–"), where)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif isinstance(before, list) and isinstance(after, list) and {*map(type, before)} == {dict}:
        yield path, counted(len(before), "item"), f"{counted(len(after), 'item')}, see the YAML"
    elif before != after:
        yield path, str(before), str(after)


def _incumbent(view: View) -> list[Block]:
    config_id, config = incumbent_of(view.opened.baseline, view.history)
    show = f"python -m search.show {shlex.quote(str(view.folder))} --config"
    changed = list(differences(view.opened.baseline.config, config))[:MOST_DIFFERENCES]
    whose = "Incumbent" if view.history.accepted else "Baseline, still the incumbent"
    blocks: list[Block] = [Command(show)]
    if changed:
        blocks.append(Table(("key", "baseline", "incumbent"), changed, "What changed in all."))
    blocks.append(Code(yaml.dump(config)))
    return [Fold(f"{whose}: config {config_id} as YAML", blocks)]


def _asked(view: View) -> Block:
    asked = view.opened.exploration.model_dump(mode="json", exclude={"baseline"}, exclude_none=True)
    return Fold("What was asked: the exploration", [Code(yaml.dump(asked))])


def _rounds(view: View) -> str:
    decisions = len(view.history.decisions)
    return f"in {counted(decisions, 'decision')}" if decisions else "no decision yet"


def _reached(view: View, trials: Sequence[Trial]) -> str:
    """Mean time to the target over trials; a dash unless all of them reach it."""
    found = [scores(trial, view.opened.exploration.objective).to_target for trial in trials]
    hits = [crossing.seconds for crossing in found if crossing and not crossing.censored]
    return duration(math.fsum(hits) / len(hits)) if hits and len(hits) == len(found) else "missed"


def _quality(view: View, value: float | None) -> str:
    if value == math.inf:
        return "missed"
    seconds = view.quality.unit == "train seconds"
    return number(value) if seconds or value is None else loss(value)


def _arrow(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"


def _percent(before: float | None, after: float | None) -> str:
    if not before or after is None or before == after or math.inf in (before, after):
        return ""
    return f", {percent((after - before) / before, '+')}"
