"""The Pareto front: which configs no other config beats in both quality and cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.blocks import Block, Chart, Figure, Text
from analysis.style import drawn, figure, lines, number, points, sentences, thin, window
from analysis.view import View, change_of, cost_axis, cost_of
from search.costs import COSTS
from search.history import Trial
from spec.words import counted


@dataclass(frozen=True)
class Spot:
    """One config, over all its trials.

    Attributes:
        trials: Its finished trials.
        cost: On the axis.
        value: Of the quality, lower is better.
    """

    trials: Sequence[Trial]
    cost: float
    value: float


def front(view: View) -> list[Block]:
    """Quality against every cost that is known, with the configs on the front joined."""
    configs = _newest(view)
    figures = {}
    for name in COSTS:
        spots = _spots(view, configs, name)
        if spots:
            figures[name.replace("_", " ")] = front_figure(view, spots, name)
    if not figures:
        return [Text("No config has been measured yet.")]
    old = len({trial.request.setting for trial in view.trials}) > 1
    caption = sentences(
        f"Each point is one of {counted(len(configs), 'config')}, mean over its seeds. The line "
        "joins those that no other config beats in both; below and left of it nothing was found. "
        "The means are the measured ones: the lowest of many flatter themselves.",
        drawn(len(configs), "config"),
        "Only trials of the newest budget and clock are compared." if old else "",
    )
    return [Chart("front", caption, figures)]


def front_figure(view: View, spots: Sequence[Spot], name: str) -> Figure:
    """Every config, and the front as steps."""
    edge = undominated(spots)
    shown = thin(spots, edge)
    on_edge = {id(spot) for spot in edge}
    accepted = {step.config_id for step in view.path}
    rest = [s for s in shown if id(s) not in on_edge and s.trials[0].config_id not in accepted]
    path = [s for s in shown if s.trials[0].config_id in accepted]
    ring = {"color": "rgba(0,0,0,0)", "size": 16, "line": {"color": "orange", "width": 2.5}}
    traces = [
        _trace(view, "configs", rest, name, marker={"color": "grey", "size": 7, "opacity": 0.7}),
        _trace(view, "not beaten in both", edge, name, mode="lines+markers",
               line={"color": "blue", "width": 2, "shape": "hv"},
               marker={"color": "blue", "size": 9}),
        _trace(view, "baseline and accepted steps", path, name, marker=ring),
    ]  # fmt: skip
    heights = [spot.value for spot in spots]
    return figure(
        [trace for trace in traces if trace["x"]],
        cost_axis(name),
        view.quality.axis,
        height=460,
        yaxis={"range": window(heights, [spot.value for spot in [*edge, *path]])},
    )


def undominated(spots: Sequence[Spot]) -> list[Spot]:
    """Those that no other spot equals or beats in both; by rising cost."""
    edge: list[Spot] = []
    for spot in sorted(spots, key=lambda spot: (spot.cost, spot.value)):
        if not edge or spot.value < edge[-1].value:
            edge.append(spot)
    return edge


def _newest(view: View) -> list[list[Trial]]:
    """The finished trials of each config under the newest budget and clock."""
    finished = [trial for trial in view.trials if trial.state == "finished"]
    configs: dict[str, list[Trial]] = {}
    for trial in finished:
        if trial.request.setting == finished[-1].request.setting:
            configs.setdefault(trial.config_id, []).append(trial)
    return list(configs.values())


def _spots(view: View, configs: Sequence[list[Trial]], name: str) -> list[Spot]:
    found = ((trials, cost_of(name, trials), view.value(trials)) for trials in configs)
    return [
        Spot(trials, cost, value)
        for trials, cost, value in found
        if cost is not None and value is not None and math.isfinite(cost) and math.isfinite(value)
    ]


def _trace(view: View, title: str, spots: Sequence[Spot], name: str, **look: Any) -> dict[str, Any]:
    return points(
        title,
        [spot.cost for spot in spots],
        [spot.value for spot in spots],
        [_hover(view, spot, name) for spot in spots],
        **look,
    )


def _hover(view: View, spot: Spot, name: str) -> str:
    first = spot.trials[0]
    return lines(
        change_of(first) or "baseline",
        f"config {first.config_id}, round {first.request.purpose.round}",
        f"{view.quality.name} {number(spot.value, 5)} {view.quality.unit}",
        f"{cost_axis(name)}: {number(spot.cost)}",
        counted(len(spot.trials), "seed"),
    )
