"""Round by round: what every candidate gained, which one was taken, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from analysis.blocks import Block, Chart, Figure, Fold, Table, Text
from analysis.figures.growth import gain_words
from analysis.style import QUADRANTS, figure, lines, percent, points, safe, sentences
from analysis.view import Told, View, cost_of, fresh_words
from search.costs import COSTS
from search.history import CONFIRM, Decision, Trial
from search.moves import Edit
from search.results import latest_setting
from search.strategies.base import Candidate
from search.strategies.standing import Bench, Measured, tell
from spec.words import counted

MOST_ROWS = 40
"""Candidates that one round's figure shows."""


def rounds(view: View) -> list[Block]:
    """One fold per decision, latest first, after the round under way."""
    folds = [
        _decided(view, decision, index)
        for index, decision in enumerate(view.history.decisions)
        if decision.detail.get("candidates")
    ]
    if view.open_round is not None:
        folds.append(_undecided(view, view.open_round, "under way", "Under way, no decision yet"))
    elif why := view.cut_short:
        folds.append(_undecided(view, view.history.round, "cut short", f"No decision, for {why}"))
    if not folds:
        return [Text("The first round has not begun.")]
    *earlier, latest = folds
    return [Fold(latest.summary, latest.blocks, open=True), *reversed(earlier)]


def gains_figure(
    view: View, candidates: Sequence[Told], attempts: Sequence[Told], chosen: str | None
) -> Figure:
    """One row per candidate: its gain when selected, and on fresh seeds where it has any."""
    rows = {told["key"]: index for index, told in enumerate(candidates)}
    traces = [
        _gains(QUADRANTS[quadrant][0], [t for t in candidates if t["quadrant"] == quadrant], rows,
               color=QUADRANTS[quadrant][1], symbol=QUADRANTS[quadrant][2], size=9)
        for quadrant in QUADRANTS
    ]  # fmt: skip
    fresh = [told for told in attempts if told["key"] in rows and told.get("gain")]
    traces.append(
        _gains("the same on fresh seeds", fresh, rows, below=0.26,
               color="text", symbol="diamond-open", size=10)
    )  # fmt: skip
    height = 130 + 36 * max(len(candidates), 2)
    return figure(
        [trace for trace in traces if trace["x"]],
        view.quality.gain,
        "",
        height=height,
        xaxis={"zerolinecolor": "soft", "zerolinewidth": 2, "range": _span([*candidates, *fresh])},
        yaxis={"visible": False, "range": [len(candidates) - 0.4, -0.8], "fixedrange": True},
        annotations=[_row_label(told, row, chosen) for row, told in enumerate(candidates)],
    )


def attempts_table(candidates: Iterable[Told], attempts: Sequence[Told], fresh: str) -> list[Block]:
    """Selected and confirmed value side by side."""
    if not attempts:
        return []
    gains = {told["key"]: told.get("gain") for told in candidates}
    rows = [
        (
            told["key"],
            gain_words(gains.get(told["key"])),
            gain_words(told.get("gain")),
            str(len(told.get("seeds", ()))),
            "–"
            if told.get("p") is None
            else f"{told['p']:.2g} (needs ≤ {told.get('alpha', 0):.2g})",
            fresh_words(told),
            "confirmed" if told.get("confirmed") else "not confirmed",
        )
        for told in attempts
    ]
    columns = (
        "candidate", "gain when selected", "gain on fresh seeds", "fresh seeds", "p", fresh,
        "verdict",
    )  # fmt: skip
    ranks = [told["time"]["rank_p"] for told in attempts if "time" in told]
    beside = ", ".join("–" if p is None else f"{p:.2g}" for p in ranks)
    caption = sentences(
        "Confirmation, on seeds that had no part in the choice.",
        f"By ranks alone, where a miss is later than every hit, p = {beside}." if ranks else "",
    )
    return [Table(columns, rows, caption)]


def _decided(view: View, decision: Decision, index: int) -> Fold:
    detail = decision.detail
    blocks: list[Block] = [Text(decision.words)]
    blocks += _measured(
        view,
        f"decision-{index}",
        detail.get("candidates", ()),
        detail.get("attempts", ()),
        detail.get("chosen"),
        float(detail.get("alpha", 0.05)),
    )
    accepted = f"accepted {detail.get('chosen', '')}"
    verb = {"stop": "stop", "raise": "budget raised"}.get(decision.kind, accepted)
    return Fold(f"Round {decision.round}: {verb}", blocks)


def _undecided(view: View, number: int, state: str, words_before: str) -> Fold:
    trials = [trial for trial in view.trials if trial.request.purpose.round == number]
    states = [view.state(trial).partition(":")[0] for trial in trials]
    words = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    note = Text(f"{words_before}: {words}. The gains so far are provisional.")
    told = _provisional(view, number, trials)
    return Fold(
        f"Round {number}: {state}",
        [note, *_measured(view, f"open-{number}", told, (), None, 0.05)],
    )


def _provisional(view: View, number: int, trials: Sequence[Trial]) -> list[Told]:
    """Where the candidates of an open round stand on what is measured so far.

    The incumbent is not trained again on seeds that confirmed it in the round before.
    """
    incumbent = view.description(view.path[-1].config_id)
    assert incumbent is not None
    measured: dict[str, dict[int, Trial]] = {}
    choosing = [trial for trial in trials if trial.request.purpose.phase != CONFIRM]
    for trial in [*_carried(view, number, incumbent.config_id), *choosing]:
        if trial.state != "running":
            measured.setdefault(trial.config_id, {})[trial.seed] = trial
    objective = view.opened.exploration.objective
    bench = Bench(objective, incumbent, measured)
    noise = bench.noise()
    seeds = {trial.seed for trial in trials}
    return [
        tell(bench.stand(candidate, seeds, noise), objective, 0.95)
        for candidate in _candidates(view, trials, measured)
    ]


def _carried(view: View, number: int, config_id: str) -> list[Trial]:
    """The trials that confirmed the incumbent, if measured as the newest ones are."""
    asked = (number - 1, CONFIRM)
    found = (t for t in latest_setting(view.trials) if t.config_id == config_id)
    return [t for t in found if (t.request.purpose.round, t.request.purpose.phase) == asked]


def _candidates(view: View, trials: Sequence[Trial], measured: Measured) -> list[Candidate]:
    """Those measured; not those whose inventory lacks the objective's cost."""
    cost = view.opened.exploration.objective.cost
    measurable = COSTS[cost].derived is None
    found = {
        trial.config_id: Candidate(Edit(**trial.request.purpose.edit), trial.request.description)
        for trial in trials
        if trial.request.purpose.edit is not None
        and trial.config_id in measured
        and (measurable or cost_of(cost, [trial]) is not None)
    }
    return list(found.values())


def _measured(
    view: View,
    name: str,
    candidates: Sequence[Told],
    attempts: Sequence[Told],
    chosen: str | None,
    alpha: float,
) -> list[Block]:
    compared = [told for told in candidates if told.get("gain")]
    compared.sort(key=lambda told: -told["gain"]["mean"])
    shown = compared[:MOST_ROWS]
    shown += [told for told in compared[MOST_ROWS:] if told["key"] == chosen]
    waiting = sum("postponed" in told for told in candidates)
    left = len(candidates) - len(compared) - waiting
    if not shown:
        words = f"{counted(left, 'candidate')} without a comparison, see the failures below."
        return [Text(words if left else "No candidates were recorded.")]
    caption = sentences(
        _how_to_read(view, alpha),
        f"The {len(shown)} best of {len(compared)}." if len(shown) < len(compared) else "",
        f"{counted(left, 'candidate')} could not be compared: rejected or failed." if left else "",
        f"{counted(waiting, 'candidate')} not measured again, see below." if waiting else "",
        "★ marks the one that was taken." if chosen else "",
    )
    chart = Chart(name, caption, {"": gains_figure(view, shown, attempts, chosen)})
    return [chart, *attempts_table(compared, attempts, view.quality.fresh)]


def _how_to_read(view: View, alpha: float) -> str:
    return sentences(
        f"{view.quality.gain.capitalize()} over the round's incumbent on the same seeds, right of "
        f"zero is better; bars are {percent(1 - 2 * alpha)} intervals: the gain lies above the "
        f"left end, or below the right end, with {percent(1 - alpha)} confidence each, without a "
        "correction for the number of candidates.",
        view.quality.remark,
    )


def _gains(
    name: str, told: Sequence[Told], rows: dict[str, int], below: float = 0.0, **marker: Any
) -> dict[str, Any]:
    gains = [candidate["gain"] for candidate in told]
    reach = [
        [gain.get(end, gain["mean"]) - gain["mean"] for gain in gains] for end in ("high", "low")
    ]
    return points(
        name,
        [gain["mean"] for gain in gains],
        [rows[candidate["key"]] + below for candidate in told],
        [_hover(candidate) for candidate in told],
        marker={**marker, "line": {"width": 1.5, "color": marker["color"]}},
        error_x={
            "type": "data", "symmetric": False, "array": reach[0],
            "arrayminus": [-value for value in reach[1]],
            "color": marker["color"], "thickness": 1.5, "width": 4,
        },
    )  # fmt: skip


def _hover(told: Told) -> str:
    gain = told["gain"]
    change = (told.get("cost") or {}).get("change")
    return lines(
        told["key"],
        f"gain {gain_words(gain)} on {counted(gain.get('seeds', 0), 'seed')}",
        f"p = {gain['p']:.2g}, uncorrected" if gain.get("p") is not None else "noise unknown",
        f"cost {change:+,.6g}" if change is not None else "",
        f"gain per cost {told['efficiency']:.3g}" if told.get("efficiency") is not None else "",
        f"trials {', '.join(map(str, told.get('trials', ())))}",
        told.get("why", ""),
    )


def _row_label(told: Told, row: int, chosen: str | None) -> dict[str, Any]:
    mark = "★ " if told["key"] == chosen else ""
    out = f" · out: {safe(told['rejected'], 60)}" if told.get("rejected") else ""
    return {
        "text": f"{mark}{safe(told['key'], 60)}{out}",
        "x": 0, "xref": "paper", "xanchor": "left",
        "y": row - 0.36, "yanchor": "middle", "yref": "y",
        "showarrow": False, "align": "left",
        "font": {"size": 12, "color": "text" if mark else "soft"},
    }  # fmt: skip


def _span(told: Sequence[Told]) -> list[float]:
    """An axis that holds zero and every mean, and of the intervals what does not squeeze these."""
    means = [candidate["gain"]["mean"] for candidate in told] + [0.0]
    low, high = min(means), max(means)
    reach = 1.5 * (high - low) or 1e-3
    lows = [candidate["gain"].get("low", 0.0) for candidate in told]
    highs = [candidate["gain"].get("high", 0.0) for candidate in told]
    left = max(min([low, *lows]), low - reach)
    right = min(max([high, *highs]), high + reach)
    pad = 0.05 * (right - left)
    return [left - pad, right + pad]
