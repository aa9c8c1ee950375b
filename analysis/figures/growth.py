"""The growth path: every candidate, and the accepted steps that lead from the baseline on."""

from __future__ import annotations

import math
from typing import Any

from analysis.blocks import Block, Chart, Figure, Table, Text
from analysis.style import (
    QUADRANTS,
    drawn,
    figure,
    lines,
    number,
    points,
    sentences,
    signed,
    thin,
    window,
)
from analysis.view import QUALITIES, Group, Step, View, cost_axis, cost_of, fresh_words
from search.results import raised_words
from spec.words import counted

Spot = tuple[Group, float, float]
"""A candidate with its cost and its quality."""


def growth(view: View) -> list[Block]:
    """Quality against cost, and the accepted steps as a table."""
    spots = _spots(view)
    path = [
        (step, cost, value)
        for step in view.path
        if (cost := cost_of(_cost(view), step.trials)) is not None
        and (value := view.value(step.trials)) is not None
        and math.isfinite(value)
    ]
    if not spots and not path:
        return [Text("No candidate has been measured yet.")]
    chart = Chart("growth", _caption(view, len(spots)), {"": path_figure(view, spots, path)})
    return [chart, *steps_table(view)]


def path_figure(view: View, spots: list[Spot], path: list[tuple[Step, float, float]]) -> Figure:
    """Candidates as points, accepted steps as a numbered line."""
    chosen = [spot for spot in spots if (spot[0].round, spot[0].config_id) in view.chosen]
    shown = thin(spots, chosen)
    traces = [
        _candidates(
            view, [spot for spot in shown if _quadrant(view, spot[0]) == quadrant], quadrant
        )
        for quadrant in QUADRANTS
    ]
    heights = [value for _, _, value in spots]
    return figure(
        [*(trace for trace in traces if trace["x"]), _path(view, path)],
        cost_axis(_cost(view)),
        view.quality.axis,
        height=500,
        yaxis={"range": window(heights, [value for _, _, value in path])},
    )


def steps_table(view: View) -> list[Block]:
    """Each accepted step with what selected it and what confirmed it."""
    if len(view.path) == 1:
        return [Text("No step has been accepted so far.")]
    rows = [_step_row(view, step) for step in view.path[1:]]
    columns = (
        "step", "change", "gain when selected", "gain on fresh seeds", "p",
        view.quality.fresh, cost_axis(_cost(view)),
    )  # fmt: skip
    caption = (
        "Accepted steps. The gain that selected a step is the largest of many and flatters it; "
        "only the gain on fresh seeds, which had no part in the choice, counts."
    )
    return [Table(columns, rows, caption)]


def told_of(view: View, group: Group) -> list[str]:
    """What to say of a candidate under the pointer."""
    told = view.recorded.get((group.round, group.config_id), {})
    gain = told.get("gain") or {}
    numbers = ", ".join(str(trial.number) for trial in group.trials[:8])
    more = "…" if len(group.trials) > 8 else ""
    return [
        group.change or "incumbent",
        f"round {group.round}, config {group.config_id}",
        f"{counted(len(group.trials), 'seed')}, trials {numbers}{more}",
        f"gain {gain_words(gain)}" if gain else "",
        f"p = {gain['p']:.2g}, uncorrected" if gain.get("p") is not None else "",
    ]


def gain_words(gain: Any) -> str:
    """A gain and its interval."""
    if not gain:
        return "–"
    interval = f" [{signed(gain['low'], 3)}, {signed(gain['high'], 3)}]" if "low" in gain else ""
    return signed(gain["mean"], 3) + interval


def _cost(view: View) -> str:
    return view.opened.exploration.objective.cost


def _spots(view: View) -> list[Spot]:
    found = []
    for group in view.groups:
        cost, value = cost_of(_cost(view), group.trials), view.value(group.trials)
        if group.change is not None and None not in (cost, value) and math.isfinite(value or 0):
            assert cost is not None
            assert value is not None
            found.append((group, cost, value))
    return found


def _quadrant(view: View, group: Group) -> str | None:
    quadrant = view.recorded.get((group.round, group.config_id), {}).get("quadrant")
    return quadrant if quadrant in QUADRANTS else None


def _candidates(view: View, spots: list[Spot], quadrant: str | None) -> dict[str, Any]:
    words, color, symbol = QUADRANTS[quadrant]
    hover = [
        lines(
            *told_of(view, group),
            f"{view.quality.name} {number(value, 5)} {view.quality.unit}",
            f"{cost_axis(_cost(view))}: {number(cost)}",
        )
        for group, cost, value in spots
    ]
    return points(
        words,
        [cost for _, cost, _ in spots],
        [value for _, _, value in spots],
        hover,
        marker={
            "color": color,
            "symbol": symbol,
            "size": 8,
            "opacity": 0.8,
            "line": {"width": 0.5, "color": "panel"},
        },
    )


def _path(view: View, path: list[tuple[Step, float, float]]) -> dict[str, Any]:
    hover = [
        lines(
            f"step {step.number}: {step.name}" if step.number else "baseline",
            f"config {step.config_id}",
            f"{view.quality.name} {number(value, 5)} {view.quality.unit}",
            f"{cost_axis(_cost(view))}: {number(cost)}",
        )
        for step, cost, value in path
    ]
    return points(
        "accepted steps, 0 = baseline",
        [cost for _, cost, _ in path],
        [value for _, _, value in path],
        hover,
        mode="lines+markers+text",
        text=[str(step.number) for step, _, _ in path],
        textfont={"color": "panel", "size": 12},
        line={"color": "text", "width": 2},
        marker={"color": "text", "size": 22, "line": {"color": "panel", "width": 1.5}},
    )


def _caption(view: View, spots: int) -> str:
    middle = "median" if view.quality is QUALITIES["time_to_target"] else "mean"
    missed = sum(view.value(group.trials) == math.inf for group in view.groups)
    longer = raised_words(view.history)
    return sentences(
        f"{view.quality.name.capitalize()} ({view.quality.unit}) against the cost that "
        f"steps are paid with, {cost_axis(_cost(view))}. Lower and further left is better. "
        f"Each point is one of {counted(spots, 'measured candidate')}, {middle} over its seeds; "
        "the numbered line is the path of accepted steps. Colours and shapes compare a candidate "
        "with the incumbent of its own round.",
        f"{counted(missed, 'config')} missed the target, so no point." if missed else "",
        f"The budget was raised meanwhile: {longer}; compare within one budget." if longer else "",
        drawn(spots, "candidate"),
        "A double click shows points outside the frame.",
    )


def _step_row(view: View, step: Step) -> list[str]:
    assert step.decision is not None
    told = view.recorded.get((step.decision.round, step.config_id), {})
    sure = step.confirmation
    p, change = sure.get("p"), (sure.get("cost") or told.get("cost") or {}).get("change")
    return [
        str(step.number),
        step.name,
        gain_words(told.get("gain")),
        gain_words(sure.get("gain")) if sure else "not confirmed",
        "–" if p is None else f"{p:.2g}",
        fresh_words(sure),
        signed(change),
    ]
