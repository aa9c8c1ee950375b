"""The long tables: every trial with its command, and all that gave no measurement, with reasons."""

from __future__ import annotations

import math

from analysis.blocks import Block, Cell, Grid, Text
from analysis.style import loss, number
from analysis.view import View, change_of
from search.gains import scores
from search.history import Trial
from search.results import rerun
from spec.words import counted


def trials(view: View) -> list[Block]:
    """Every trial."""
    columns = [
        "trial", "state", "round", "phase", "change", "seed", "val loss", "bits/byte",
        "time to target", "parameters", "train s", "config",
    ]  # fmt: skip
    rows = [_trial_row(view, trial) for trial in view.trials]
    if view.target is None:
        at = columns.index("time to target")
        columns.pop(at)
        for row in rows:
            row.pop(at)
    for row, trial in zip(rows, view.trials, strict=True):
        row.append(rerun(trial))
    return [Grid("trials", columns, rows, copy="command")]


def failures(view: View) -> list[Block]:
    """What failed, was missed, or was never trained, each with its reason."""
    return [*_failed(view), *_rejected(view), *_censored(view)]


def _failed(view: View) -> list[Block]:
    failed = [trial for trial in view.trials if trial.failure is not None]
    if not failed:
        return [Text("No trial failed.")]
    rows: list[list[Cell]] = [
        [
            _whole(trial.number),
            view.state(trial),
            trial.failure.message,
            change_of(trial) or "incumbent",
            _whole(trial.request.purpose.round),
            _whole(trial.seed),
            rerun(trial),
        ]
        for trial in failed
        if trial.failure is not None
    ]
    columns = ("trial", "state", "reason", "change", "round", "seed")
    words = f"{counted(len(failed), 'trial')} gave no measurement; each is kept with its reason."
    return [Text(words), Grid("failures", columns, rows, copy="command")]


def _rejected(view: View) -> list[Block]:
    told = [
        (decision.round, told)
        for decision in view.history.decisions
        for told in decision.detail.get("candidates", ())
        if told.get("rejected") or told.get("postponed")
    ]
    if not told:
        return [Text("No candidate was rejected.")]
    rows: list[list[Cell]] = [
        [_whole(number), str(t.get("key", "–")), str(t.get("rejected") or t["postponed"])]
        for number, t in told
    ]
    late = sum("postponed" in t for _, t in told)
    words = f"{counted(len(rows) - late, 'candidate')} rejected, most of them before any training."
    if late:
        words += f" {counted(late, 'candidate')} not measured again, since others promised more."
    return [Text(words), Grid("rejected", ("round", "candidate", "reason"), rows)]


def _censored(view: View) -> list[Block]:
    missed = sum(view.state(trial) == "target missed" for trial in view.trials)
    if not missed:
        return []
    words = (
        f"{counted(missed, 'finished trial')} did not reach the target loss {view.target}: the "
        "time to it is only known to be longer than what was trained."
    )
    return [Text(words)]


def _trial_row(view: View, trial: Trial) -> list[Cell]:
    scored = scores(trial, view.opened.exploration.objective)
    crossing, purpose = scored.to_target, trial.request.purpose
    inventory = trial.inventory
    late = math.inf if crossing is None else crossing.seconds + 1e12 * crossing.censored
    seconds = trial.curve[-1].train_seconds if trial.curve else None
    return [
        _whole(trial.number),
        view.state(trial),
        _whole(purpose.round),
        purpose.phase,
        change_of(trial) or "incumbent",
        _whole(trial.seed),
        (loss(scored.val_loss), scored.val_loss),
        (loss(scored.val_bpb), scored.val_bpb),
        (view.reached(trial), late),
        (number(inventory.get("parameters")), inventory.get("parameters")),
        (number(seconds), seconds),
        trial.config_id,
    ]


def _whole(value: int) -> Cell:
    return str(value), value
