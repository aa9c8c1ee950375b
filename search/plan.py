"""What a search would do first, and what that may cost: the dry run."""

from __future__ import annotations

import math
import os
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from search.costs import COSTS, size
from search.exploration import Exploration
from search.ledger import Total
from search.strategies.base import Candidate, Problem
from spec.words import counted

SHARE_OF_PEAK = 0.3
"""Share of a plain matrix product's speed that training is assumed to reach."""


def show_plan(console: Console, problem: Problem, exploration: Exploration) -> None:
    """List what is tried first with costs, rejections with reasons, and an estimate."""
    strategy = exploration.strategy
    candidates = strategy.outset(problem)
    cost = COSTS[problem.objective.cost]
    table = Table(box=None, padding=(0, 2), show_edge=False)
    table.add_column("candidate", overflow="fold")
    table.add_column("parameters", justify="right")
    table.add_column(f"{cost.name} change", justify="right")
    table.add_column("rejected because", overflow="fold")
    table.add_row("(baseline)", size(problem.baseline.inventory.get("parameters")), "", "")
    for candidate in candidates:
        table.add_row(*_row(problem, candidate))
    console.print(table)
    rejected = sum(bool(candidate.rejected) for candidate in candidates)
    told = f", {rejected} rejected" if rejected else ""
    console.print(f"\n{strategy.outset_words(problem, len(candidates))}{told}", soft_wrap=True)
    _estimate(console, problem, exploration)


def _row(problem: Problem, candidate: Candidate) -> tuple[str, str, str, str]:
    words = candidate.edit.key
    if candidate.description is None:
        return words, "", "", candidate.rejected
    cost = COSTS[problem.objective.cost]
    before, after = (cost.known(d.inventory) for d in (problem.baseline, candidate.description))
    change = f"{after - before:+,.6g}" if before is not None and after is not None else "measured"
    own = size(candidate.description.inventory.get("parameters"))
    return words, own, change, candidate.rejected


def _estimate(console: Console, problem: Problem, exploration: Exploration) -> None:
    expected = exploration.strategy.expected(problem)
    workers = exploration.executor.cpu_workers()
    on = f"on {counted(workers, 'worker')}"
    if expected.worker_seconds is not None:
        minutes = expected.worker_seconds / workers / 60
        console.print(f"trials end after {_rough(minutes)} min {on}, then the best are confirmed")
    least, most, seconds = expected.least, expected.most, _trial_seconds(problem)
    if most is not None:
        console.print(f"the first decision takes {_span(f'{least:,}', f'{most:,}')} trials")
    elif expected.worker_seconds is None:
        console.print("trials go on until the space or the budget is used up")
    if paid := _paid(problem.total, least, most, seconds):
        console.print(paid, soft_wrap=True)
    if most is None:
        return
    if seconds is None:
        console.print("the time of one trial is unknown until the baseline has been trained")
        return
    minute = seconds / workers / 60
    whole = _span(_rough(least * minute), _rough(most * minute))
    console.print(
        f"one trial is {seconds:.3g} s of training on one CPU core, at {SHARE_OF_PEAK:.0%} of the "
        f"speed of a matrix product just now; the decision takes {whole} min {on}, as long as "
        "all are of the baseline's size; start-up and evaluation come on top",
        soft_wrap=True,
    )


def _paid(total: Total, least: int, most: int | None, seconds: float | None) -> str:
    """How far a study's total goes, as far as one can tell before any trial."""
    caps = {"trials": total.trials}
    if total.train_seconds is not None and seconds:
        caps["train_seconds"] = math.floor(total.train_seconds / seconds)
    known = {name: cap for name, cap in caps.items() if cap is not None}
    if not known:
        return ""
    name = min(known, key=lambda name: known[name])
    ends = ""
    if most is not None and known[name] < most:
        ends = ", too few for that decision"
        ends = ends if known[name] < least else ", which may be too few for that decision"
    return f"budget.total.{name} pays for {counted(known[name], 'trial')}{ends}"


def _span(least: str, most: str) -> str:
    if least == most:
        return most
    return f"at most {most}" if least == "0" else f"{least} to {most}"


def _rough(minutes: float) -> str:
    """Two digits of it."""
    return f"{float(f'{minutes:.2g}'):,g}"


def _trial_seconds(problem: Problem) -> float | None:
    """Training time of the baseline from its operations: three times the forward pass."""
    inventory, budget = problem.baseline.inventory, problem.budget
    if not {"flops_per_token", "tokens_per_step", "planned_steps"} <= inventory.keys():
        return None
    tokens = inventory["planned_steps"] * inventory["tokens_per_step"]
    if budget.max_steps is not None:
        tokens = min(tokens, budget.max_steps * inventory["tokens_per_step"])
    if budget.max_tokens is not None:
        tokens = min(tokens, budget.max_tokens)
    seconds = 3 * inventory["flops_per_token"] * tokens / (SHARE_OF_PEAK * _matrix_speed())
    return float(seconds if budget.max_seconds is None else min(seconds, budget.max_seconds))


_PRODUCT = """
import time, numpy
left, best = numpy.ones((512, 512), numpy.float32), 1e9
for _ in range(30):
    started = time.perf_counter()
    left @ left
    best = min(best, time.perf_counter() - started)
print(2 * 512**3 / best)
"""


def _matrix_speed() -> float:
    """Operations per second of a single-precision matrix product here, on one thread.

    In a process of its own, since NumPy reads its number of threads only when it starts.
    """
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _PRODUCT], env=env, capture_output=True, text=True, check=True
    )
    return float(done.stdout)
