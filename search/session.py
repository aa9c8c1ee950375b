"""One orchestrator on one study: its lock, the clean-up after a dead one, the first checks."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from search.executors.base import Executor, ProcessFacts
from search.executors.energy import last_reading
from search.executors.tree import end_orphans, writers
from search.exploration import Exploration
from search.gains import quality, shown_value
from search.history import INTERRUPTED, Description, Failure, Trial
from search.loop import trial_folder
from search.objective import Objective
from search.strategies.base import Problem, Strategy
from search.strategies.neighbourhood import neighbourhood, over_limit
from search.study import Study
from search.trainers import Describer
from spec import errors
from spec.errors import InputError
from spec.path import join
from spec.records import Reader, RecordError
from spec.yaml import Document


class StudyLocked(Exception):
    """Another process works on this study."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a study's folder for this process; the lock goes with the process, however it ends.

    Raises:
        StudyLocked: Naming host, pid and since when.
        InputError: When the folder cannot be made or written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(blocking=False)
    except Timeout:
        raise StudyLocked(
            f"{folder} is in use by {_holder(folder)}; wait for it, or stop it"
        ) from None
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}); choose another folder with --out"
        ) from None
    try:
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
        (folder / ".holder.json").write_text(json.dumps(holder), encoding="utf-8")
        yield
    except InputError:
        _unmake(made)
        raise
    finally:
        lock.release()


def _unmake(made: Sequence[Path]) -> None:
    """Remove the folders that a refused run made, innermost first, unless a trial was run."""
    if made and not (made[0] / "trials").exists():
        shutil.rmtree(made[0])
        with suppress(OSError):  # a study that another process has put there in the meantime
            for folder in made[1:]:
                folder.rmdir()


def _holder(folder: Path) -> str:
    try:
        told = json.loads((folder / ".holder.json").read_text(encoding="utf-8"))
        return f"process {told['pid']} on {told['host']} since {told['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"


def set_aside(folder: Path) -> Path | None:
    """Make room for a fresh study by renaming the old one; nothing is deleted.

    Returns:
        Where the old study is now; None when there was none.
    """
    if not (folder / "study.db").exists() and not (folder / "trials").exists():
        return None
    number = 1
    while (old := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    old.mkdir()
    # the study itself last: until then the next --fresh goes on with what is left
    for item in sorted(folder.iterdir(), key=lambda item: item.name.startswith("study.db")):
        if item.name not in (".lock", ".holder.json"):
            item.rename(old / item.name)
    return old


@contextmanager
def kept_aside(folder: Path) -> Iterator[Path | None]:
    """``set_aside``, until the body refuses its input before any trial: then the old study is back.

    Raises:
        InputError: The body's.
    """
    old = set_aside(folder)
    try:
        yield old
    except InputError:
        if old is not None and not (folder / "trials").exists():
            for item in folder.glob("study.db*"):
                item.unlink()
            for item in old.iterdir():
                item.rename(folder / item.name)
            old.rmdir()
        raise


def revive(study: Study, folder: Path, objective: Objective) -> int:
    """End what a dead orchestrator left running, and close its trials.

    A trial that had come to its end is measured; the others are interrupted. What a trial's GPU
    consumed is known only if the trial held it until now.

    Returns:
        How many trials were closed.
    """
    running = [trial for trial in study.history if trial.state == "running"]
    processes = {trial.number: _processes(trial, folder) for trial in running}
    alive = end_orphans(process for own in processes.values() for process in own)
    for trial in running:
        if not alive.isdisjoint(processes[trial.number]) and (told := last_reading(trial.facts)):
            study.add_facts(trial.number, told)
        _close_dead(study, trial, trial_folder(folder, trial.number), objective)
    return len(running)


def _processes(trial: Trial, folder: Path) -> list[ProcessFacts]:
    """A trial's process; looked for when its orchestrator died before it could write it down."""
    if "process" in trial.facts:
        return [ProcessFacts(**trial.facts["process"])]
    return writers(trial_folder(folder, trial.number) / "output.log")


def _close_dead(study: Study, trial: Trial, folder: Path, objective: Objective) -> None:
    try:
        records = Reader(folder / "metrics.jsonl").read()
    except RecordError:
        records = []
    known = {point.step for point in trial.curve}
    study.report(trial.number, [r for r in records if r.event == "eval" and r.step not in known])
    end = next((record for record in records if record.event == "end"), None)
    ended = max(
        (file.stat().st_mtime for file in folder.glob("*") if file.is_file()), default=trial.started
    )
    whole = replace(study.history[trial.number], state="finished", end=end)
    measured = end is not None and end.status in ("completed", "target_reached")
    if end is not None and measured and quality(whole, objective) is not None:
        study.finish(trial.number, end, shown_value(whole, objective), ended)
    else:
        study.fail(trial.number, Failure(INTERRUPTED, "its orchestrator died"), end, ended)


def finished(study: Study, exploration: Exploration) -> str | None:
    """The stop reason, when the last run of the very same exploration came to its end."""
    decisions = study.history.decisions
    if (
        study.notes.get("exploration") == asked(exploration)
        and decisions
        and decisions[-1].kind == "stop"
    ):
        return decisions[-1].words
    return None


def asked(exploration: Exploration) -> dict[str, Any]:
    """What of an exploration decides its outcome: everything but where it runs."""
    return exploration.model_dump(mode="json", exclude={"executor", "report"})


def check_study(
    study: Study, exploration: Exploration, baseline: Description, fingerprint: str | None
) -> None:
    """Refuse to go on with what was measured otherwise.

    Raises:
        InputError: When the study holds another baseline or other data.
    """
    way_out = "name the study otherwise, or start over with --fresh (the old study is kept)"
    known = study.notes.get("baseline")
    begun = len(study.history) > 0
    if begun and known is not None and known["config_id"] != baseline.config_id:
        raise InputError(
            f"study {exploration.study} began from another baseline "
            f"({known['config_id']}, now {baseline.config_id}); {way_out}"
        )
    data = study.notes.get("data_fingerprint")
    if begun and data is not None and fingerprint is not None and data != fingerprint:
        raise InputError(
            f"study {exploration.study} was measured on other data "
            f"(fingerprint {data}, now {fingerprint}); {way_out}"
        )


def begin(
    study: Study, exploration: Exploration, baseline: Description, fingerprint: str | None
) -> None:
    """Note what this run works on, after ``check_study``."""
    before, now = study.notes.get("exploration", {}), asked(exploration)
    if _stops_by(before) != _stops_by(now) or exploration.strategy.weighs_losers:
        study.forgive_stopped()  # what they were ended by no longer holds
    study.note("exploration", now)
    study.note(
        "baseline",
        {
            "config": baseline.config,
            "config_id": baseline.config_id,
            "inventory": dict(baseline.inventory),
        },
    )
    if fingerprint is not None:
        study.note("data_fingerprint", fingerprint)


def _stops_by(asked: dict[str, Any]) -> list[Any]:
    """What of an exploration it depends on whether a trial is ended early."""
    objective, strategy = asked.get("objective", {}), asked.get("strategy", {})
    kept = [objective.get(key) for key in ("gain", "target", "crossing")]
    return [asked.get("early_stopping"), strategy.get("kind"), *kept]


def problem_of(
    exploration: Exploration, baseline: Description, describer: Describer, executor: Executor | None
) -> Problem:
    """The exploration as strategies see it."""
    clock = ""
    if executor is not None and _reads_clock(exploration):
        clock = f"{executor.slots[0].clock}, {len(executor.slots)} at a time"
    return Problem(
        baseline,
        exploration.space,
        exploration.objective,
        exploration.trial_budget,
        exploration.seeds,
        clock,
        describer,
        1 if executor is None else len(executor.slots),
        exploration.budget.total,
    )


def _reads_clock(exploration: Exploration) -> bool:
    """Whether decisions rest on times."""
    return exploration.objective.timed or exploration.trial_budget.max_seconds is not None


def check_clock(exploration: Exploration, executor: Executor, document: Document) -> None:
    """Refuse to compare times of unlike devices.

    Raises:
        ConfigError: With the executor's place in the exploration.
    """
    models = dict.fromkeys(slot.model or slot.device for slot in executor.slots)
    if not _reads_clock(exploration) or len(models) == 1:
        return
    words = (
        f"trials would be timed on {' and '.join(models)}, and such times cannot be compared; "
        "leave one model with CUDA_VISIBLE_DEVICES, or choose a gain, a cost and a budget that "
        "need no clock"
    )
    raise errors.ConfigError([errors.Problem("executor", words, document.place(("executor",)))])


def check_baseline(exploration: Exploration, baseline: Description, document: Document) -> None:
    """Refuse what cannot be done with a baseline, now that it is described.

    To train longer than it allows or too short, and to limit costs that nothing tells of it.

    Raises:
        ConfigError: With the place in the exploration.
    """
    trainer = exploration.trainer
    longest = trainer.longest(baseline)
    faults = [
        *exploration.strategy.faults(exploration.trial_budget, longest),
        *trainer.untold(exploration.objective.limits, baseline),
        *trainer.too_short(exploration.trial_budget, baseline),
    ]
    found = [errors.Problem(join(at), words, document.place(at)) for at, _, words in faults]
    if found:
        raise errors.ConfigError(found)


def check_energy(exploration: Exploration, executor: Executor, document: Document) -> None:
    """Refuse to limit energy where nothing measures it.

    Raises:
        ConfigError: With the limit's place in the exploration.
    """
    limit = exploration.budget.total.joules
    blind = [slot for slot in executor.slots if slot.counter is None]
    if limit is None or not blind:
        return
    shared = any(slot.packed and slot.device != "cpu" for slot in blind)
    way_out = "give each trial a GPU of its own with fewer executor.workers, or " if shared else ""
    words = (
        f"{limit:g} joules cannot be kept: no energy counter tells what a trial takes on "
        f"{', '.join(slot.name for slot in blind[:4])}{', ...' * (len(blind) > 4)}; only a whole "
        f"GPU that one trial has to itself has one; {way_out}limit train_seconds instead"
    )
    at = ("budget", "total", "joules")
    raise errors.ConfigError([errors.Problem(join(at), words, document.place(at))])


def check_strategy(strategy: Strategy, problem: Problem, document: Document) -> None:
    """Refuse what a strategy cannot do.

    Raises:
        ConfigError: With the place in the exploration.
    """
    try:
        strategy.check(problem)
    except errors.ConfigError as error:
        placed = [replace(p, place=p.place or document.place(p.loc)) for p in error.problems]
        raise errors.ConfigError(placed) from None


def check_first_round(problem: Problem, strategy: Strategy, document: Document) -> None:
    """Refuse a search that cannot take a single step.

    Raises:
        ConfigError: When every neighbour of the baseline is excluded, with the reasons, and the
            strategy does not come to others.
    """
    if not problem.space or not strategy.needs_space:
        return
    candidates = neighbourhood(problem, problem.baseline, {})
    if any(not candidate.rejected for candidate in candidates) or strategy.leaps(problem):
        return
    told = "\n".join(
        f"  {candidate.edit.key}: {candidate.rejected}" for candidate in candidates[:10]
    )
    more = f"\n  (+{len(candidates) - 10} more)" if len(candidates) > 10 else ""
    over = over_limit(problem, problem.baseline)
    own = f", and the baseline itself is out: {over}" if over else ""
    words = (
        f"no neighbour of the baseline can be trained{own}; "
        f"widen the space or raise the limit\n{told}{more}"
    )
    described = [c.description for c in candidates if c.description is not None]
    limited = over or any(over_limit(problem, description) for description in described)
    at = ("objective", "limits") if limited else ("space",)
    raise errors.ConfigError([errors.Problem(join(at), words, document.place(at))])
