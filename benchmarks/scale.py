"""How much slower a study gets as it grows: propose, record and results at up to 10,000 trials.

    python -m benchmarks.scale [--quick]

First a search by ``greedy``, written to a real study; then a single proposal of other strategies
after as many trials at random. The bar is for propose and record together, of ``greedy`` and of
``guided``.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path

from numpy.random import default_rng

from search.dimensions import point
from search.exploration import Exploration
from search.history import Decision, Description, History, Purpose, Request, Trial
from search.ledger import Ledger
from search.moves import Rule, ScaleRule
from search.objective import Budget, Objective, Seeds
from search.results import derive
from search.strategies.base import Problem, Rejected, Strategy
from search.strategies.draws import lattice_of
from search.strategies.greedy import Greedy
from search.strategies.guided import Guided
from search.strategies.optuna_samplers import Optuna
from search.strategies.random import Random
from search.study import Study
from spec import yaml
from spec.config import Data, identity
from spec.records import End, Eval

BAR = 0.050
"""Seconds a trial may cost beside its training, at 10,000 recorded trials."""
RESULT = Path(__file__).parent / "results" / "scale.txt"
KNOBS = [f"knob{i}" for i in range(12)]


@dataclass
class Endless:
    """A landscape that always has a better neighbour, so that a search of it never stops."""

    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def describe(self, configs: Sequence[Data]) -> list[Description | Rejected]:
        """Parameters are the sum of all knobs."""
        return [Description(c, identity(c), {"parameters": sum(c.values())}) for c in configs]

    def curve(self, request: Request) -> tuple[Eval, ...]:
        """Ten evaluations; the loss falls with every knob."""
        size = sum(value**0.5 for value in request.description.config.values())
        loss = 3.0 - 0.002 * size + self.rng.gauss(0.0, 1e-5)
        return tuple(
            Eval(step=i, tokens=i, train_seconds=i, val_loss=loss + (10 - i) * 0.1)
            for i in range(1, 11)
        )


def grow(file: Path, marks: Sequence[int]) -> list[tuple[int, float, float, float, float]]:
    """Run one search without training; seconds of each part at each size of the study."""
    world = Endless()
    baseline = dict.fromkeys(KNOBS, 64)
    space: dict[str, Rule] = {knob: ScaleRule(scale=1.02) for knob in KNOBS}
    (described,) = world.describe([baseline])
    assert isinstance(described, Description)
    seeds = Seeds(max=3)
    problem = Problem(described, space, Objective(), Budget(), seeds, "", world.describe)
    asked = Exploration(study="scale", baseline=baseline, space=space)
    study, strategy = Study.open(file, "scale"), Greedy()
    rows, since, proposing, recording = [], 0, 0.0, 0.0
    while len(study.history) < marks[-1]:
        started = time.perf_counter()
        proposal = strategy.propose(problem, study.history)
        Ledger.of(study.history)
        proposing += time.perf_counter() - started
        if isinstance(proposal, Decision):
            assert proposal.kind == "accept", proposal.words
            study.decide(proposal)
            continue
        started = time.perf_counter()
        trial = study.launch(proposal.requests[0], point(space, described.config), {})
        study.add_facts(trial.number, {"slot": "none"})
        for record in world.curve(trial.request):
            study.report(trial.number, [record])
        study.finish(trial.number, End(status="completed"), 1.0)
        recording += time.perf_counter() - started
        since += 1
        if len(study.history) in marks:
            started = time.perf_counter()
            yaml.dump(derive(asked, described, study.history))
            results = time.perf_counter() - started
            started = time.perf_counter()
            study.close()
            study = Study.open(file, "scale")
            opening = time.perf_counter() - started
            row = (len(study.history), proposing / since, recording / since, results, opening)
            rows.append(row)
            since, proposing, recording = 0, 0.0, 0.0
    study.close()
    return rows


OTHERS: Mapping[str, Strategy] = {
    "guided": Guided(trials=None),
    "random": Random(trials=None),
    "tpe": Optuna(trials=None),
}
PROPOSALS = 6
"""Proposals that are timed, a trial more before each."""


def proposing(marks: Sequence[int]) -> list[list[float]]:
    """Seconds of one proposal of each of ``OTHERS``, after so many trials."""
    world, baseline = Endless(), dict.fromkeys(KNOBS, 64)
    space: dict[str, Rule] = {knob: ScaleRule(scale=1.1, min=32, max=256) for knob in KNOBS}
    (described,) = world.describe([baseline])
    assert isinstance(described, Description)
    problem = Problem(described, space, Objective(), Budget(), Seeds(), "", world.describe)
    trials = list(islice(at_random(problem, world), marks[-1] + PROPOSALS))
    rows = []
    for mark in marks:
        row = []
        for strategy in OTHERS.values():
            history, spent = History(trials[:mark]), 0.0
            strategy.propose(problem, history)
            for trial in trials[mark : mark + PROPOSALS]:
                history.put(trial)
                started = time.perf_counter()
                strategy.propose(problem, history)
                spent += time.perf_counter() - started
            row.append(spent / PROPOSALS)
        rows.append(row)
    return rows


def at_random(problem: Problem, world: Endless) -> Iterator[Trial]:
    """The baseline on three seeds, then finished trials of random configs, without end."""
    lattice, rng = lattice_of(problem), default_rng(1)
    points = (lattice.scattered(rng, 1)[0] for _ in count())
    asked = (
        problem.request(described, problem.seeds.first, Purpose(0, "explore", edit.to_dict()))
        for edit in map(lattice.edit, points)
        if edit is not None
        for described in problem.describe([edit.apply(problem.baseline.config)])
        if isinstance(described, Description)
    )
    own = (
        problem.request(problem.baseline, problem.seeds.first + seed, Purpose(0, "explore"))
        for seed in range(3)
    )
    for now, request in enumerate(chain(own, asked)):
        end = End(status="completed")
        curve = world.curve(request)
        yield Trial(now, request, "finished", {}, curve, end, started=now, ended=now + 0.5)


def main() -> int:
    """Run the benchmark and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="up to 1,000 trials; keeps no result")
    quick = parser.parse_args().quick
    marks = (250, 500, 1000) if quick else (500, 1000, 2000, 4000, 7000, 10_000)
    with tempfile.TemporaryDirectory() as folder:
        rows = grow(Path(folder) / "study.db", marks)
    lines = ["trials   propose ms   record ms   results.yaml s   open s"]
    lines += [
        f"{row[0]:6}   {1e3 * row[1]:10.2f}   {1e3 * row[2]:9.2f}   {row[3]:14.2f}   {row[4]:6.2f}"
        for row in rows
    ]
    lines += ["", "one proposal of others, ms", "trials " + " ".join(f"{n:>8}" for n in OTHERS)]
    others = proposing(marks)
    lines += [
        f"{mark:6} " + " ".join(f"{1e3 * seconds:8.1f}" for seconds in row)
        for mark, row in zip(marks, others, strict=True)
    ]
    trials, propose, record, _, _ = rows[-1]
    guided = others[-1][list(OTHERS).index("guided")]
    taken = {"greedy": propose + record, "guided": guided + record}
    told = ", ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in taken.items())
    bar = f"(bar: below {1e3 * BAR:.0f} ms each)"
    lines += ["", f"propose and record a trial at {trials:,} trials: {told} {bar}"]
    text = "\n".join(lines)
    print(text)
    if not quick:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(f"python -m benchmarks.scale\n\n{text}\n", encoding="utf-8")
    return int(max(taken.values()) >= BAR)


if __name__ == "__main__":
    sys.exit(main())
