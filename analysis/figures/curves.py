"""Learning curves: how the loss fell in the trials that mattered, against tokens and seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from analysis.blocks import Block, Chart, Figure, Text
from analysis.style import figure, lines, loss, safe, sentences, thin
from analysis.view import Step, View, change_of
from search.gains import best
from search.history import Trial
from spec.records import Eval
from spec.words import counted

MOST_CURVES = 60
"""Curves beside those of the incumbents."""
MOST_EVALUATIONS = 200
"""Points of one curve."""
_COLORS = ("blue", "orange", "green", "purple", "sky", "vermillion")

AXES = {
    "tokens": ("training tokens", lambda point: point.tokens),
    "seconds": ("train seconds", lambda point: point.train_seconds),
    "steps": ("optimizer steps", lambda point: point.step),
}
"""Label of the switch -> title of the axis, and where a point lies on it."""


def curves(view: View) -> list[Block]:
    """Loss against training tokens, train seconds and steps."""
    trials = [trial for trial in view.trials if trial.curve]
    if not trials:
        return [Text("No trial has reported an evaluation yet.")]
    grey = _others(view, trials)
    figures = {label: curves_figure(view, grey, label) for label in AXES}
    drawn = {label: shown for label, shown in figures.items() if shown["data"]}
    return [Chart("curves", _caption(view, grey, len(trials)), drawn)]


def curves_figure(view: View, grey: Sequence[Trial], axis: str) -> Figure:
    """Incumbents in colour, others thin, the target as a line."""
    title, place = AXES[axis]
    traces = [_line(trial, place, _hover(view, trial), "grey", 1.0, 0.5) for trial in grey]
    marked = _marked(view)
    for index, step in enumerate(marked):
        traces += _step_lines(view, step, place, _COLORS[index % len(_COLORS)])
    traces = [trace for trace in traces if any(x is not None for x in trace["x"])]
    if view.target is not None and traces:
        traces.append(_target(view.target, [x for trace in traces for x in trace["x"]]))
    shown = [*grey, *(trial for step in marked for trial in step.trials)]
    return figure(
        traces,
        title,
        "validation loss, nats per token",
        height=500,
        yaxis={"range": _range(view, shown)},
        xaxis={"rangemode": "tozero"},
    )


def _marked(view: View) -> list[Step]:
    """The baseline and the latest incumbents, as many as there are colours."""
    path = view.path
    return path if len(path) <= len(_COLORS) else [path[0], *path[1 - len(_COLORS) :]]


def _others(view: View, trials: Sequence[Trial]) -> list[Trial]:
    """Other trials: all while they are few, else some running, the best, and an even sample."""
    taken = {trial.number for step in _marked(view) for trial in step.trials}
    others = [trial for trial in trials if trial.number not in taken]

    def final(trial: Trial) -> float:
        point = best(trial.curve)
        return point.val_loss if point else math.inf

    important = [trial for trial in others if trial.state == "running"][: MOST_CURVES // 3]
    important += sorted(others, key=final)[: MOST_CURVES // 3]
    return thin(others, important, MOST_CURVES)


def _step_lines(view: View, step: Step, place: Any, color: str) -> list[dict[str, Any]]:
    traces = []
    measured = [trial for trial in step.trials if trial.curve]
    for index, trial in enumerate(measured):
        hover = [f"step {step.number}: {step.name}" if step.number else "baseline"]
        trace = _line(trial, place, [*hover, *_hover(view, trial)[1:]], color, 2.5, 0.95)
        name = f"{step.number}: {step.name}" if step.number else "0: baseline"
        trace |= {"name": safe(name, 40), "legendgroup": str(step.number)}
        traces.append(trace | {"showlegend": index == 0})
    return traces


def _line(
    trial: Trial, place: Any, hover: list[str], color: str, width: float, opacity: float
) -> dict[str, Any]:
    curve = thin(trial.curve, [trial.curve[0], trial.curve[-1]], MOST_EVALUATIONS)
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(curve) == 1 else "lines",
        "x": [place(point) for point in curve],
        "y": [point.val_loss for point in curve],
        "line": {"color": color, "width": width},
        "marker": {"color": color},
        "opacity": opacity,
        "name": "other trials",
        "showlegend": False,
        "hovertext": [lines(*hover, _at(point)) for point in curve],
        "hoverinfo": "text",
    }


def _target(target: float, places: Sequence[float | None]) -> dict[str, Any]:
    end = max(place for place in places if place is not None)
    return {
        "type": "scatter", "mode": "lines", "x": [0, end], "y": [target, target],
        "line": {"color": "vermillion", "dash": "dash", "width": 1.5},
        "name": f"target loss {target:g}", "hoverinfo": "name",
    }  # fmt: skip


def _hover(view: View, trial: Trial) -> list[str]:
    return [
        change_of(trial) or "incumbent",
        f"trial {trial.number}, seed {trial.seed}, round {trial.request.purpose.round}",
        view.state(trial),
        view.reached(trial) and f"target: {view.reached(trial)}",
    ]


def _at(point: Eval) -> str:
    return f"step {point.step:,}: loss {loss(point.val_loss)}"


def _range(view: View, trials: Sequence[Trial]) -> list[float] | None:
    """From the lowest loss or the target up to where the incumbents' steepest fall has passed."""
    lows = [point.val_loss for t in trials if (point := best(t.curve)) is not None]
    early = [trial.curve[len(trial.curve) // 8].val_loss for trial in _leading(view, trials)]
    tops = [value for value in early if math.isfinite(value)]
    if not lows or not tops:
        return None
    target = [] if view.target is None else [view.target]
    bottom, top = min([*lows, *target]), max([*tops, *target])
    pad = 0.05 * (top - bottom) or 0.05
    return [bottom - pad, top + pad]


def _leading(view: View, trials: Sequence[Trial]) -> list[Trial]:
    own = [trial for step in view.path for trial in step.trials if trial.curve]
    return own or list(trials)


def _caption(view: View, grey: Sequence[Trial], trials: int) -> str:
    marked = _marked(view)
    own = [trial for step in marked for trial in step.trials if trial.curve]
    steps, shown = len(view.path) - 1, len(grey) + len(own)
    return sentences(
        "Validation loss while training. In colour: the baseline and the accepted steps, one line "
        "per seed that confirmed them; thin and grey: other trials.",
        f"Of {steps} accepted steps the latest {len(marked) - 1}." if steps >= len(marked) else "",
        f"{shown:,} of {counted(trials, 'trial')} with a curve: some running ones, the best, and "
        "an even sample."
        if shown < trials
        else "",
        "The frame leaves out the first, steep fall and what diverged; a double click shows all.",
    )
