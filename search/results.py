"""``results.yaml``, derived from the study and never read back."""

from __future__ import annotations

import math
import os
import shlex
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from search.exploration import Exploration
from search.gains import best, mean_loss, probability, scores
from search.history import CONFIRM, INTERRUPTED, Decision, Description, History, Trial
from search.ledger import Ledger
from search.objective import Objective
from search.target_words import rules, times
from search.to_target import crossings, to_target
from spec import yaml
from spec.config import Data

PATIENCE = 5.0
"""Least seconds between two writes that no decision asks for."""
QUICK = 0.3
"""Seconds that a write may take for every decision to have its own."""
SHARE = 0.02
"""Largest share of the wall time spent on such writes, so that a big study does not slow down."""


def derive(exploration: Exploration, baseline: Description, history: History) -> Data:
    """The whole results file as plain data.

    ``iterations`` starts with the baseline as ``iter: -1``; each further entry is one round with
    its candidates, the chosen one (None when none was) and the config after it.
    """
    objective = exploration.objective
    iterations = [_start(baseline, history, objective)]
    for decision in history.decisions:
        if "candidates" in decision.detail:
            iterations.append(_round(decision, iterations[-1], history, objective))
    last = history.decisions[-1] if history.decisions else None
    asked = objective, exploration.space, exploration.trainer.model_dump(mode="json")
    timed = objective.gain == "time_to_target"
    return {
        "study": exploration.study,
        "objective": objective.model_dump(exclude_none=True),
        **({"time_to_target": study_times(*asked, baseline, history)} if timed else {}),
        "budget": exploration.budget.model_dump(exclude_none=True),
        "baseline_config": baseline.config,
        "iterations": iterations,
        "stop_reason": last.words if last is not None and last.kind == "stop" else None,
        **({"front": last.front} if last is not None and last.front is not None else {}),
        "incumbent": _incumbent(baseline, history, objective),
        "trials": counts(history),
        "spent": Ledger.of(history).full(),
        "stopped_early": [_stopped(trial) for trial in history if trial.stopped is not None],
        "failures": [_failed(trial) for trial in history if trial.failure is not None],
    }


def counts(history: History) -> dict[str, int]:
    """How many trials are finished, stopped early, failed, interrupted and running."""
    states = [INTERRUPTED if trial.interrupted else trial.state for trial in history]
    return {s: states.count(s) for s in ("finished", "stopped", "failed", INTERRUPTED, "running")}


def raised_words(history: History) -> str:
    """How far the budget of a trial was raised, such as ``max_steps 400 -> 1600``; or empty."""
    steps = [decision.budgets for decision in history.raised]
    return steps[0][0].growth(steps[-1][1]) if steps else ""


def latest_setting(trials: Iterable[Trial]) -> list[Trial]:
    """Those of the trials that ran under the budget and clock of the newest one; no probes."""
    own = [trial for trial in trials if not trial.probe]
    return [trial for trial in own if trial.request.setting == own[-1].request.setting]


def incumbent_of(baseline: Description, history: History) -> tuple[str, Data]:
    """Id and full form of the incumbent."""
    if not history.accepted:
        return baseline.config_id, baseline.config
    last = history.accepted[-1]
    assert last.config_id is not None
    assert last.config is not None
    return last.config_id, last.config


def rerun(trial: Trial) -> str:
    """The command that runs a trial again, ready to paste into a shell."""
    command = shlex.join(trial.facts.get("rerun", ()) or trial.facts.get("command", ()))
    if env := trial.facts.get("env"):
        command = f"env {shlex.join(f'{name}={value}' for name, value in env.items())} {command}"
    return f"cd {shlex.quote(trial.facts['cwd'])} && {command}" if "cwd" in trial.facts else command


def metrics(trials: Iterable[Trial], objective: Objective) -> Data:
    """What several seeds of one config say together; losses are averaged as scores."""
    done = [trial for trial in trials if trial.state == "finished"]
    if not done:
        return {"loss": None, "score": None, "params": None, "best_iter": None}
    seeds = [seed_result(trial, objective) for trial in done]
    loss = mean_loss([seed["loss"] for seed in seeds])
    return {
        "loss": loss,
        "score": probability(-loss),
        "params": done[0].inventory.get("parameters"),
        "best_iter": max(seed["best_iter"] for seed in seeds),
        "peak_gpu_mb": _mean(seed["peak_gpu_mb"] for seed in seeds),
        "iter_latency_avg": _mean(seed["iter_latency_ms"] for seed in seeds),
        **_medians(done, objective),
    }


def _medians(trials: Iterable[Trial], objective: Objective) -> Data:
    """Median time to the target, where that is what is sought."""
    found = to_target(list(crossings(trials, objective).values()))
    timed = objective.gain == "time_to_target" and found is not None
    return {"time_to_target": found.to_dict()} if timed and found else {}


def seed_result(trial: Trial, objective: Objective) -> Data:
    """One finished trial, scored every way."""
    point, found, end = best(trial.curve), scores(trial, objective), trial.end
    assert point is not None
    on_gpu = str(trial.facts.get("device", "")).startswith("cuda")
    told: Data = {
        "seed": trial.seed,
        "trial": trial.number,
        "loss": found.val_loss,
        "score": found.score,
        "val_bpb": found.val_bpb,
        "best_iter": point.step,
        "train_seconds": trial.curve[-1].train_seconds,
        "peak_gpu_mb": (end.peak_memory_bytes or 0) / 2**20 if end and on_gpu else 0.0,
        "peak_memory_mb": end.peak_memory_bytes / 2**20 if end and end.peak_memory_bytes else None,
        "iter_latency_ms": (end.step_ms or 0.0) if end else 0.0,
    }
    if found.to_target is not None:
        reached = found.to_target
        told["time_to_target"] = None if reached.censored else reached.seconds
        told["censored_at"] = reached.seconds if reached.censored else None
        told["steps_to_target"] = None if reached.censored else reached.steps
        told["tokens_to_target"] = None if reached.censored else reached.tokens
    told["command"] = rerun(trial)
    return told


def study_times(
    objective: Objective,
    space: Iterable[str],
    trainer: Mapping[str, Any],
    baseline: Description,
    history: History,
) -> Data:
    """The answer of a time-to-target search: baseline and incumbent, clock and horizon.

    Args:
        objective: Its target.
        space: Paths of the dimensions.
        trainer: The trainer's options as plain data.
        baseline: Where the search started.
        history: All it did.
    """
    sides = _baselines(baseline, history), _incumbents(baseline, history)
    told = [times(trials, objective, history) for trials in sides]
    return {
        "target": objective.target,
        "crossing": objective.crossing,
        **rules(list(history), space, trainer),
        "baseline": told[0],
        "incumbent": told[1],
    }


def _baselines(baseline: Description, history: History) -> list[Trial]:
    """The baseline's own trials of the first round."""
    own = (trial for trial in history if trial.config_id == baseline.config_id)
    return latest_setting(trial for trial in own if trial.request.purpose.round == 0)


def _incumbents(baseline: Description, history: History) -> list[Trial]:
    """The incumbent's finished trials on its latest fresh seeds; of the latest round without any.

    What it is known by is the confirmed value, not the one that selected it.
    """
    own = finished_incumbents(baseline, history)
    own = [trial for trial in own if trial.request.purpose.phase == CONFIRM] or own
    latest = max((trial.request.purpose.round for trial in own), default=0)
    return [trial for trial in own if trial.request.purpose.round == latest]


def finished_incumbents(baseline: Description, history: History) -> list[Trial]:
    """All finished trials of the incumbent in its latest setting."""
    config_id, _ = incumbent_of(baseline, history)
    return latest_setting(
        trial for trial in history if trial.config_id == config_id and trial.state == "finished"
    )


def _start(baseline: Description, history: History, objective: Objective) -> Data:
    own = _baselines(baseline, history)
    return {
        "iter": -1,
        "config_id": baseline.config_id,
        "baseline_metrics": {
            "params": baseline.inventory.get("parameters"),
            **_known(metrics(own, objective)),
        },
        "seeds": [seed_result(trial, objective) for trial in own if trial.state == "finished"],
        "baseline_config_after": baseline.config,
    }


def _round(decision: Decision, before: Data, history: History, objective: Objective) -> Data:
    """One round; after an accepted step its metrics are the confirmed, not the selected ones."""
    parameters = before["baseline_metrics"].get("params")
    told = [
        _candidate(c, history, objective, parameters)
        for c in decision.detail["candidates"]
        if "avg_loss" in c
    ]
    after = {
        "baseline_metrics": before["baseline_metrics"],
        "baseline_config_after": before["baseline_config_after"],
    }
    chosen = None
    attempts = decision.detail.get("attempts", [])
    if decision.kind == "accept":
        chosen = next(c for c in told if c["key"] == decision.detail["chosen"])
        numbers = (attempts[-1].get("trials") if attempts else None) or [
            seed["trial"] for seed in chosen["seeds"]
        ]
        confirmed = metrics((history[number] for number in numbers), objective)
        chosen = {**chosen, "confirmed": confirmed}
        after = {"baseline_metrics": confirmed, "baseline_config_after": decision.config}
    return {
        "iter": decision.round,
        "decision": decision.words,
        **({"raised_budget": decision.detail["budget"]} if decision.kind == "raise" else {}),
        **after,
        "candidates": told,
        "chosen": chosen,
        "attempts": [
            {key: value for key, value in a.items() if key not in ("inventory", "edit")}
            for a in attempts
        ],
        "not_measured": [
            _left_out(c) for c in decision.detail["candidates"] if "avg_loss" not in c
        ],
        "noise": decision.detail.get("noise"),
    }


def _candidate(
    told: Mapping[str, Any], history: History, objective: Objective, parameters: int | None
) -> Data:
    trials = [history[number] for number in told["trials"]]
    found = metrics(trials, objective)
    own = found["params"]
    edit, gain = told["edit"], told.get("gain", {"mean": math.nan})
    return {
        "param": edit["path"],
        "value": edit["move"] if edit["value"] is None else edit["value"],
        "key": told["key"],
        "config_id": told["config_id"],
        "avg_loss": found["loss"],
        "avg_score": found["score"],
        "best_val_loss": found["loss"],
        "best_iter": found["best_iter"],
        "num_params": own,
        "peak_gpu_mb": found["peak_gpu_mb"],
        "iter_latency_avg": found["iter_latency_avg"],
        "delta_score": gain["mean"],
        "delta_params": None if own is None or parameters is None else own - parameters,
        "delta_cost": told.get("cost"),
        "efficiency": told.get("efficiency", math.nan),  # a number for viewers; none for free ones
        "quadrant": told["quadrant"],
        **({"why": told["why"]} if "why" in told else {}),
        "gain": gain,
        **({"time": told["time"]} if "time" in told else {}),
        "seeds": [seed_result(trial, objective) for trial in trials if trial.state == "finished"],
    }


def _left_out(told: Mapping[str, Any]) -> Data:
    reasons = [failure["message"] for failure in told.get("failures", [])]
    return {
        "param": told["edit"]["path"],
        "key": told["key"],
        "reason": told.get("rejected")
        or told.get("postponed")
        or "; ".join([*told.get("stopped", []), *reasons])
        or told.get("why", ""),
    }


def _incumbent(baseline: Description, history: History, objective: Objective) -> Data:
    config_id, _ = incumbent_of(baseline, history)
    own = finished_incumbents(baseline, history)
    return {
        "config_id": config_id,
        "accepted_steps": len(history.accepted),
        **_known(incumbent_metrics(baseline, history, objective)),
        "seeds": [seed_result(trial, objective) for trial in own],
    }


def incumbent_metrics(baseline: Description, history: History, objective: Objective) -> Data:
    """What the incumbent is known by: its latest fresh seeds, or those of its latest round."""
    return metrics(_incumbents(baseline, history), objective)


def _stopped(trial: Trial) -> Data:
    assert trial.stopped is not None
    told = {"trial": trial.number, "reason": trial.stopped.words, "command": rerun(trial)}
    if trial.stopped.predicted is not None:
        told |= {"predicted": trial.stopped.predicted, "least": trial.stopped.least}
    return told


def _failed(trial: Trial) -> Data:
    assert trial.failure is not None
    return {
        "trial": trial.number,
        "reason": trial.failure.reason,
        "message": str(trial.failure),
        "command": rerun(trial),
    }


def _known(values: Data) -> Data:
    return {key: value for key, value in values.items() if value is not None}


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)


class ResultsFile:
    """Keeps ``results.yaml`` current: at decisions, else at most every few seconds.

    Once a write takes long, decisions wait for its turn too; who runs the search writes it at last.
    """

    def __init__(
        self, file: Path, exploration: Exploration, baseline: Description, history: History
    ) -> None:
        self._file = file
        self._exploration, self._baseline, self._history = exploration, baseline, history
        self._next = self._took = 0.0

    def changed(self, expected: int) -> None:
        """See ``search.loop.Observer``."""
        if time.monotonic() >= self._next:
            self.write()

    def decided(self, decision: Decision) -> None:
        """See ``search.loop.Observer``; trials that wait for a worker come before a slow write."""
        if self._took <= QUICK or time.monotonic() >= self._next:
            self.write()

    def write(self) -> None:
        """Replace the file as a whole."""
        started = time.monotonic()
        replace_text(
            self._file, yaml.dump(derive(self._exploration, self._baseline, self._history))
        )
        self._took = time.monotonic() - started
        self._next = time.monotonic() + max(PATIENCE, self._took / SHARE)


def replace_text(file: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new text, never half of one."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
