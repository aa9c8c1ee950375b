"""The timeline: which trial ran when, and on which slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.blocks import Block, Chart, Figure, Text
from analysis.style import duration, figure, lines, safe, sentences
from analysis.view import View, change_of
from search.history import Trial
from spec.words import counted

MOST_BARS = 1500
_PHASES = ("green", "blue", "orange", "purple", "sky")
_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


def timeline(view: View) -> list[Block]:
    """Trials as bars, one row per slot."""
    if not view.trials:
        return [Text("No trial was started yet.")]
    shown = view.trials[-MOST_BARS:]
    busy = sum((trial.ended or view.last_sign) - trial.started for trial in view.trials)
    span = view.last_sign - view.trials[0].started
    caption = sentences(
        f"One bar per trial, one row per slot, coloured by phase; failed ones are hatched, running "
        f"ones are outlined. {counted(len(view.trials), 'trial')} took {duration(busy)} of slot "
        f"time within {duration(span)}.",
        f"The latest {MOST_BARS:,} are shown." if len(shown) < len(view.trials) else "",
    )
    return [Chart("timeline", caption, {"": timeline_figure(view, shown)})]


def timeline_figure(view: View, trials: Sequence[Trial]) -> Figure:
    """A Gantt chart."""
    origin = trials[0].started
    span = max(view.last_sign - origin, 1e-3)
    unit, size = next((u for u in _UNITS if span >= 2 * u[1]), _UNITS[-1])
    slots = sorted({_slot(trial) for trial in trials})
    phases = list(dict.fromkeys(trial.request.purpose.phase for trial in view.trials))
    looks = {phase: _PHASES[index % len(_PHASES)] for index, phase in enumerate(phases)}
    kinds = dict.fromkeys((trial.request.purpose.phase, _kind(trial)) for trial in trials)
    traces = [
        _bars(view, [t for t in trials if (t.request.purpose.phase, _kind(t)) == (phase, kind)],
              slots, (origin, size), f"{phase}{kind}", _look(looks[phase], kind))
        for phase, kind in kinds
    ]  # fmt: skip
    return figure(
        traces,
        f"{unit} since the first trial shown",
        "",
        height=230 + 40 * len(slots),
        barmode="overlay",
        bargap=0.25,
        xaxis={"range": [-0.02 * span / size, 1.02 * span / size]},
        yaxis={
            "tickvals": list(range(len(slots))), "ticktext": [safe(slot, 24) for slot in slots],
            "autorange": "reversed", "fixedrange": True, "showgrid": False,
        },
    )  # fmt: skip


def _bars(
    view: View,
    trials: Sequence[Trial],
    slots: list[str],
    clock: tuple[float, float],
    name: str,
    marker: dict[str, Any],
) -> dict[str, Any]:
    origin, size = clock
    lengths = [max((trial.ended or view.last_sign) - trial.started, 0.0) for trial in trials]
    return {
        "type": "bar",
        "orientation": "h",
        "name": safe(name, 40),
        "base": [(trial.started - origin) / size for trial in trials],
        "x": [length / size for length in lengths],
        "y": [slots.index(_slot(trial)) for trial in trials],
        "marker": marker,
        "hovertext": [
            lines(
                change_of(trial) or "incumbent",
                f"trial {trial.number}, seed {trial.seed}, round {trial.request.purpose.round}",
                f"{view.state(trial)}, {duration(length)}",
            )
            for trial, length in zip(trials, lengths, strict=True)
        ],
        "hoverinfo": "text",
        "textposition": "none",
    }


def _look(color: str, kind: str) -> dict[str, Any]:
    line = {"color": "panel", "width": 1}
    if kind == ", failed":
        pattern = {"shape": "x", "fgcolor": "vermillion", "bgcolor": "panel", "size": 6}
        return {"color": color, "pattern": pattern, "line": {"color": "vermillion", "width": 1}}
    if kind == ", running":
        return {"color": color, "opacity": 0.45, "line": {"color": "text", "width": 2}}
    return {"color": color, "line": line}


def _kind(trial: Trial) -> str:
    return "" if trial.state == "finished" else f", {trial.state}"


def _slot(trial: Trial) -> str:
    return str(trial.facts.get("slot", "slot unknown"))
