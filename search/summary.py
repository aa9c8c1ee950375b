"""A study in a page: incumbent, rounds, counts, and the best trial by each objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from search.costs import COSTS, size
from search.gains import scores
from search.history import Description, History, Trial
from search.ledger import Ledger, Spending
from search.objective import Objective
from search.results import counts, incumbent_metrics, incumbent_of, rerun, study_times
from search.study import Study
from search.target_words import time_lines
from spec import yaml
from spec.config import Data
from spec.errors import InputError
from spec.words import counted

SHOWN = 20
"""Most configs of a front that are shown."""


class Asked(BaseModel):
    """What a study's last exploration asked, as far as looking at it needs.

    Trainer, strategy and executor stay plain data: they may be somebody's own.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    study: str
    objective: Objective
    budget: Spending


@dataclass(frozen=True)
class Opened:
    """A study opened to look at.

    Attributes:
        exploration: As it was last run; parts that are not needed here are plain data.
        baseline: Where it started.
        history: Trials and decisions.
    """

    exploration: Asked
    baseline: Description
    history: History


def open_study(folder: Path) -> Opened:
    """Read a study's folder; a search may be writing it.

    Raises:
        InputError: When there is no study, or it has not begun.
    """
    file = folder / "study.db"
    if not file.is_file():
        raise InputError(
            f"{folder} holds no study.db; give a study's folder, such as hp_searches/sweep"
        )
    study = Study.read(file)
    try:
        if "baseline" not in study.notes:
            raise InputError(f"{folder}: the study has not begun; run its exploration first")
        exploration = Asked.model_validate(study.notes["exploration"])
        return Opened(exploration, Description(**study.notes["baseline"]), study.history)
    finally:
        study.close()


def config_yaml(folder: Path, trial: int | None = None) -> str:
    """The full config of the incumbent or of one trial, as ``trainer.train`` reads it.

    Raises:
        InputError: When there is no such trial.
    """
    opened = open_study(folder)
    if trial is None:
        return yaml.dump(incumbent_of(opened.baseline, opened.history)[1])
    if trial not in range(len(opened.history)):
        there = len(opened.history)
        way_out = f"give a number below {there}" if there else "it has none yet"
        raise InputError(f"{folder} has no trial {trial}; {way_out}")
    return yaml.dump(opened.history[trial].request.description.config)


def summary(folder: Path) -> Data:
    """The study's state as plain data."""
    opened = open_study(folder)
    history, objective = opened.history, opened.exploration.objective
    asked = opened.baseline, history, objective
    config_id, _ = incumbent_of(opened.baseline, history)
    last = history.decisions[-1] if history.decisions else None
    timed = objective.gain == "time_to_target"
    return {
        "study": opened.exploration.study,
        "trials": counts(history),
        "spent": Ledger.of(history).full(),
        "rounds": history.round,
        "decisions": [decision.words for decision in history.decisions],
        "stop_reason": last.words if last is not None and last.kind == "stop" else None,
        **({"front": last.front} if last is not None and last.front is not None else {}),
        "incumbent": {"config_id": config_id, **incumbent_metrics(*asked)},
        **({"time_to_target": study_times_of(opened)} if timed else {}),
        "best": {name: _best(history, opened.exploration, key) for name, key in _KEYS.items()},
    }


def study_times_of(opened: Opened) -> Data:
    """What a time-to-target study is about: see ``search.results.study_times``."""
    objective, asked = opened.exploration.objective, opened.exploration.model_extra or {}
    told = asked.get("space") or {}, asked.get("trainer") or {}
    return study_times(objective, *told, opened.baseline, opened.history)


def summary_lines(told: Data) -> list[str]:
    """The same for people."""
    trials, own = told["trials"], told["incumbent"]
    lines = [
        f"study {told['study']}: "
        + ", ".join(f"{count} {state}" for state, count in trials.items())
    ]
    lines += [f"spent {energy}"] if (energy := Ledger(**told["spent"]).energy) else []
    lines += [f"  {words}" for words in told["decisions"]]
    timed = "time_to_target" in told
    lines += time_lines(told["time_to_target"]) if timed else []
    loss = f"val_loss {own['loss']:.4f}, " if own["loss"] is not None and not timed else ""
    found = f"{loss}{size(own['params'])} parameters" if own["loss"] is not None else "not measured"
    lines.append(f"incumbent {own['config_id']}: {found}")
    lines += front_lines(told.get("front", ()))
    for name, found in told["best"].items():
        if found is not None:
            lines.append(
                f"best single trial by {name}: {found['value']:.6g} "
                f"(trial {found['trial']}, config {found['config_id']})"
            )
    return lines


def front_lines(front: Sequence[Data]) -> list[str]:
    """A front for people: a line for each config, the first ``SHOWN`` of them."""
    if not front:
        return []
    lines = [f"front: {counted(len(front), 'config')} that no other beats, best val_loss first"]
    for row in front[:SHOWN]:
        told = ", ".join(f"{key} {row[key]:,.6g}" for key in row if key in COSTS)
        trial = f" (trial {row['trials'][0]})" if row.get("trials") else ""  # older ones have none
        lines.append(f"  val_loss {row['val_loss']:.4f}, {told}{trial}")
    more = len(front) - SHOWN
    return [*lines, f"  (+{more} more in results.yaml)"] if more > 0 else lines


def _best(history: History, asked: Asked, key: Callable[[Trial, Asked], float | None]) -> Any:
    found = [
        (value, t)
        for t in history
        if t.state == "finished" and not t.probe and (value := key(t, asked)) is not None
    ]
    if not found:
        return None
    value, trial = min(found, key=lambda pair: (pair[0], pair[1].number))
    return {
        "value": value,
        "trial": trial.number,
        "config_id": trial.config_id,
        "command": rerun(trial),
    }


def _seconds(trial: Trial, asked: Asked) -> float | None:
    reached = scores(trial, asked.objective).to_target
    return None if reached is None or reached.censored else reached.seconds


def _parameters(trial: Trial, asked: Asked) -> float | None:
    value = trial.inventory.get("parameters", math.nan)
    return None if math.isnan(value) else float(value)


_KEYS: dict[str, Callable[[Trial, Asked], float | None]] = {
    "val_loss": lambda trial, asked: scores(trial, asked.objective).val_loss,
    "val_bpb": lambda trial, asked: scores(trial, asked.objective).val_bpb,
    "time_to_target": _seconds,
    "parameters": _parameters,
}
