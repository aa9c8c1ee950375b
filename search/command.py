"""What ``search.run`` does, from the options to the closing lines and the exit status."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from sqlalchemy.exc import OperationalError

from search.costs import COSTS, size
from search.executors.base import Executor
from search.exploration import Exploration, load
from search.history import Description, History
from search.ledger import Ledger
from search.loop import Interrupted, Loop, SearchFailed
from search.moves import check_paths
from search.plan import show_plan
from search.progress import Progress
from search.results import ResultsFile, counts, derive, raised_words
from search.session import (
    StudyLocked,
    begin,
    check_baseline,
    check_clock,
    check_energy,
    check_first_round,
    check_strategy,
    check_study,
    finished,
    kept_aside,
    locked,
    problem_of,
    revive,
)
from search.strategies.base import Problem
from search.study import Study
from search.summary import front_lines
from search.target_words import time_lines
from search.trainers import Describer, describe_baseline
from search.trainers.environment import changes
from spec.errors import InputError
from spec.words import counted
from spec.yaml import Document

PIPED_WIDTH = 160
"""Columns of tables when the output is no terminal."""


@dataclass(frozen=True)
class Options:
    """The command line of ``search.run``."""

    exploration: Path
    out: Path
    changes: tuple[str, ...] = ()
    dry_run: bool = False
    as_json: bool = False
    fresh: bool = False
    max_trials: int | None = None
    retry_failed: bool = False


def guarded(work: Callable[[], None]) -> int:
    """Run a command and turn its errors into one message on stderr and an exit status."""
    error_console = Console(stderr=True, highlight=False)
    try:
        work()
    except InputError as error:
        return _complain(error_console, error, 2)
    except StudyLocked as error:
        return _complain(error_console, error, 3)
    except SearchFailed as error:
        return _complain(error_console, error, 4)
    except (OSError, OperationalError) as error:
        if not re.search(r"No space left|disk is full|quota exceeded", str(error)):
            raise
        message = f"the disk is full ({error}); free some space and run again"
        return _complain(error_console, message, 4)
    except (Interrupted, KeyboardInterrupt):
        return _complain(error_console, "interrupted; run the same command again to go on", 130)
    return 0


def _complain(console: Console, message: object, status: int) -> int:
    console.print(
        str(message), style="red" if status != 130 else "yellow", markup=False, soft_wrap=True
    )
    return status


def search(options: Options) -> None:
    """Do what the options ask."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    exploration, document = load(options.exploration, options.changes)
    folder = (options.out / exploration.study).resolve()
    if options.dry_run:
        _foresee(console, options, exploration, document, folder)
        return
    with locked(folder), kept_aside(folder) if options.fresh else nullcontext() as old:
        if old is not None:
            console.print(f"the earlier study is kept in {old}")
        if (folder / "trials").exists() and not (folder / "study.db").exists():
            raise InputError(f"{folder} holds trials without their study; set them aside: --fresh")
        study = Study.open(folder / "study.db", exploration.study)
        try:
            _search(console, options, exploration, document, folder, study)
        finally:
            study.close()


def _foresee(
    console: Console,
    options: Options,
    exploration: Exploration,
    document: Document,
    folder: Path,
) -> None:
    """The dry run: train nothing, and leave the study as it is."""
    with exploration.trainer.describer() as describer:
        baseline = _baseline(describer, exploration, document)
        begun = "" if options.fresh else _begun(options, exploration, baseline, describer, folder)
        problem = problem_of(exploration, baseline, describer, None)
        check_strategy(exploration.strategy, problem, document)
        check_first_round(problem, exploration.strategy, document)
        if options.as_json:
            for line in exploration.strategy.listing(problem):
                console.out(json.dumps(line), highlight=False)
            return
        if begun:
            console.print(begun, soft_wrap=True)
        show_plan(console, problem, exploration)


def _begun(
    options: Options,
    exploration: Exploration,
    baseline: Description,
    describer: Describer,
    folder: Path,
) -> str:
    """What a dry run's study holds already, in words; refuses what a run would refuse."""
    file = folder / "study.db"
    if not file.is_file() or not file.stat().st_size:
        return ""
    study = Study.read(file)
    try:
        if not options.retry_failed and (reason := finished(study, exploration)):
            return f"a run of {folder} would have nothing left to do: {reason}"
        check_study(study, exploration, baseline, describer.fingerprint)
        held = counted(sum(not trial.interrupted for trial in study.history), "trial")
        return f"{folder} holds {held} already, and a run goes on from there; without them:"
    finally:
        study.close()


def _search(
    console: Console,
    options: Options,
    exploration: Exploration,
    document: Document,
    folder: Path,
    study: Study,
) -> None:
    if closed := revive(study, folder, exploration.objective):
        console.print(f"{closed} trials of an orchestrator that died are recorded as interrupted")
    if options.retry_failed:
        console.print(f"{study.forgive()} failed trials will run again where they are still wanted")
    elif reason := finished(study, exploration):
        console.print(f"nothing left to do: {reason}")
        if not (file := folder / "results.yaml").exists():
            ResultsFile(
                file, exploration, Description(**study.notes["baseline"]), study.history
            ).write()
        _tell_places(console, exploration, folder, study.history, redraw=False)
        return
    _tell_changes(console, study)
    with exploration.trainer.describer() as describer:
        baseline = _baseline(describer, exploration, document)  # asked, for the data may be other
        for trial in study.history:
            describer.remember(trial.request.description)
        with exploration.executor.build(str(folder), exploration.trainer.preload) as executor:
            check_energy(exploration, executor, document)
            check_clock(exploration, executor, document)
            check_study(study, exploration, baseline, describer.fingerprint)
            problem = problem_of(exploration, baseline, describer, executor)
            check_strategy(exploration.strategy, problem, document)
            begin(study, exploration, baseline, describer.fingerprint)
            if not any(
                t.config_id == baseline.config_id and t.state == "finished" for t in study.history
            ):
                study.forgive(baseline.config_id)  # it ended the last run, and may be mended
            if not study.history.decisions:
                check_first_round(problem, exploration.strategy, document)
            reason = _run(console, options, exploration, problem, study, executor, folder)
    _close(console, exploration, baseline, study, folder, reason)


def _baseline(describer: Describer, exploration: Exploration, document: Document) -> Description:
    baseline = describe_baseline(describer, exploration.baseline, document)
    check_paths(exploration.space, baseline.config, document)
    check_baseline(exploration, baseline, document)
    return baseline


def _run(
    console: Console,
    options: Options,
    exploration: Exploration,
    problem: Problem,
    study: Study,
    executor: Executor,
    folder: Path,
) -> str:
    progress = Progress(console, problem.baseline, study.history, exploration.objective)
    results = ResultsFile(folder / "results.yaml", exploration, problem.baseline, study.history)
    loop = Loop(
        exploration, problem, study, executor, folder, (progress, results), options.max_trials
    )
    slots = executor.slots
    console.print(
        f"study {exploration.study} in {folder}: {len(slots)} {slots[0].device} workers, "
        f"{slots[0].threads} threads each; baseline {problem.baseline.config_id} "
        f"with {size(problem.baseline.inventory.get('parameters'))} parameters",
        soft_wrap=True,
    )
    try:
        with progress.showing():
            return loop.run()
    finally:
        results.write()


def _close(
    console: Console,
    exploration: Exploration,
    baseline: Description,
    study: Study,
    folder: Path,
    reason: str,
) -> None:
    """Say what was gained for what cost, and where everything is."""
    history, objective = study.history, exploration.objective
    tally = counts(history)
    if not (history.decisions and history.decisions[-1].words == reason):
        console.print(reason, soft_wrap=True)  # a decision was shown when it was taken
    told = derive(exploration, baseline, history)
    for line in time_lines(told["time_to_target"]) if "time_to_target" in told else ():
        console.print(line, soft_wrap=True)
    for line in front_lines(told.get("front", ())):
        console.print(line, soft_wrap=True)
    before, after = (told["iterations"][index]["baseline_metrics"] for index in (0, -1))
    if history.accepted and "loss" in before and after.get("loss") is not None:
        cost = COSTS[objective.cost]
        steps = len(history.accepted)
        other = ", each on seeds of its own" if exploration.seeds.confirm else ""
        loss = f"val_loss {before['loss']:.4f} -> {after['loss']:.4f}{other}, "
        console.print(
            f"{counted(steps, 'accepted step')}: "
            f"{'' if 'time_to_target' in told else loss}"
            f"parameters {size(before['params'])} -> {size(after['params'])}"
            + ("" if cost.name == "parameters" else f"; paid in {cost.name}"),
            soft_wrap=True,
        )
        if longer := raised_words(history):
            console.print(
                f"meanwhile trials were given more ({longer}), so the loss fell not by steps alone",
                soft_wrap=True,
            )
    failed = [trial for trial in history if trial.failure is not None and not trial.interrupted]
    first = f" (the first, trial {failed[0].number}: {failed[0].failure})" if failed else ""
    early = f", {tally['stopped']} stopped early" if tally["stopped"] else ""
    late = f", {tally['interrupted']} interrupted" if tally["interrupted"] else ""
    energy = f"; {spent}" if (spent := Ledger.of(history).energy) else ""
    ends = f"{tally['failed']} failed{first}{early}{late}{energy}"
    console.print(f"{tally['finished']} trials finished, {ends}", soft_wrap=True, markup=False)
    _tell_changes(console, study)
    _tell_places(console, exploration, folder, history, redraw=True)


def _tell_places(
    console: Console,
    exploration: Exploration,
    folder: Path,
    history: History,
    redraw: bool,
) -> None:
    console.print(f"results    {folder / 'results.yaml'}", soft_wrap=True)
    report = folder / "report.html"
    if exploration.report and (redraw or not report.exists()):
        _draw_report(console, folder)
    elif exploration.report:
        console.print(f"report     {report}", soft_wrap=True)
    python = shlex.quote(sys.executable)
    show = f"{python} -m search.show {shlex.quote(str(folder))} --config"
    front = history.decisions[-1].front if history.decisions and not history.accepted else ()
    best = [row["trials"][0] for row in front or () if row.get("trials")]
    of_trial = f" --trial {best[0]}" if best else ""
    console.print(f"config     {show}{of_trial}", soft_wrap=True)


def _tell_changes(console: Console, study: Study) -> None:
    for change in changes(study.history):
        console.print(change, style="yellow", soft_wrap=True, markup=False)


def _draw_report(console: Console, folder: Path) -> None:
    command = [sys.executable, "-m", "analysis.report", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        console.print("report     could not be made:", style="red")
        console.print(done.stderr.strip(), markup=False)
    else:
        console.print(f"report     {folder / 'report.html'}", soft_wrap=True)
