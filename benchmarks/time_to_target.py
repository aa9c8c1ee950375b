"""How much faster to a loss of 1.90 a real search gets nanoGPT's CPU configuration, beside TPE.

    python -m benchmarks.time_to_target --text FILE [--searches guided,tpe] [--quick] [--out DIR]

FILE is the text of tinyshakespeare. ``explorations/time_to_target.yaml`` is searched for at most 45
minutes on two cores, one thread per trial, first with its own strategy, then with Optuna's TPE:
the same space, seconds, early stopping and executor. Each search ends with its finalists and the
baseline on three fresh seeds; the figure is the baseline's median train seconds there over the
winner's, a missed target counting with the seconds it was given. With --out the studies are kept
and an interrupted benchmark goes on; with --searches only these run, and what was found by the
others before stays in the result. Exit status 1 when ours is below the bar, or took longer.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from search.gains import Crossing, scores
from search.history import CONFIRM, Trial
from search.results import counts
from search.summary import Opened, open_study
from spec import yaml
from spec.config import Data

ROOT = Path(__file__).parents[1]
EXPLORATION = ROOT / "explorations" / "time_to_target.yaml"
RESULT = Path(__file__).parent / "results" / "time_to_target.yaml"
BAR = 4.0
"""How many times faster the configuration found has to be."""
MINUTES = 45.0
"""Longest wall time of one search."""
SEARCHES = ("guided", "tpe")
"""The exploration's own strategy, and what it is compared with."""
TPE: Data = {"kind": "optuna", "sampler": "tpe", "trials": None}
QUICK_TARGET = 3.0
QUICK = (
    f"objective.target={QUICK_TARGET}",
    "baseline.max_steps=80",
    "baseline.schedule.warmup_steps=10",
    "baseline.evaluation={interval: 10, tokens: 2048}",
    "space.max_steps.choices=[40, 80]",
    "space.schedule.warmup_steps={choices: [5, 10]}",
    "seeds={screen: 1, max: 1, confirm: 1}",
)


@dataclass(frozen=True)
class Side:
    """One config on the fresh seeds: train seconds, with a bound where the target was missed."""

    config_id: str
    seconds: list[float]
    missed: int
    tokens: list[float | None]
    parameters: int

    @property
    def typical(self) -> float:
        """Median seconds."""
        return median(self.seconds)


@dataclass(frozen=True)
class Found:
    """What one search came to."""

    minutes: float
    trials: dict[str, int]
    accepted: bool
    baseline: Side
    winner: Side
    changes: Data

    @property
    def faster(self) -> float:
        """How many times faster the winner is; 0 when it missed the target on most seeds."""
        if 2 * self.winner.missed > len(self.winner.seconds):
            return 0.0
        return self.baseline.typical / self.winner.typical


def search(name: str, text: Path, folder: Path, quick: bool) -> Found:
    """Run or resume one search to its end."""
    own = yaml.read(EXPLORATION).data["strategy"]
    seconds = 12 if quick else own["worker_seconds"]
    strategy = {**(TPE if name == "tpe" else own), "worker_seconds": seconds}
    changes = (f"baseline.data.dataset={text}", f"strategy={json.dumps(strategy)}", f"study={name}")
    flags = [flag for change in (*changes, *(QUICK if quick else ())) for flag in ("--set", change)]
    command = [sys.executable, "-m", "search.run", str(EXPLORATION), *flags, "--out", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT)
    return outcome(open_study(folder / name))


def minutes(trials: Iterable[Trial]) -> float:
    """Wall time in which at least one trial ran: a benchmark that was resumed is counted whole."""
    covered, until = 0.0, 0.0
    for trial in sorted(trials, key=lambda trial: trial.started):
        end = trial.ended or trial.started
        covered += max(0.0, end - max(trial.started, until))
        until = max(until, end)
    return covered / 60.0


def outcome(opened: Opened) -> Found:
    """What the trials on fresh seeds say of the best finalist and of the baseline.

    Raises:
        SystemExit: When the search found nothing to confirm.
    """
    fresh: dict[str, list[Trial]] = {}
    for trial in opened.history:
        if trial.request.purpose.phase == CONFIRM and trial.state == "finished":
            fresh.setdefault(trial.config_id, []).append(trial)
    sides = {name: side(name, trials, opened) for name, trials in fresh.items()}
    if opened.baseline.config_id not in sides or len(sides) < 2:
        sys.exit(f"{opened.exploration.study}: nothing was confirmed on fresh seeds")
    baseline = sides.pop(opened.baseline.config_id)
    accepted = opened.history.accepted
    winner = (
        sides[str(accepted[-1].config_id)]
        if accepted
        else min(sides.values(), key=lambda side: (side.missed, side.typical))
    )
    edit = fresh[winner.config_id][0].request.purpose.edit or {}
    value: Data = edit.get("value") or {}
    spent = minutes(opened.history)
    return Found(spent, counts(opened.history), bool(accepted), baseline, winner, value)


def side(name: str, trials: Iterable[Trial], opened: Opened) -> Side:
    """One config's times to the target."""
    own = list(trials)
    reached: Sequence[Crossing] = [
        found for trial in own if (found := scores(trial, opened.exploration.objective).to_target)
    ]
    return Side(
        name,
        [round(crossing.seconds, 2) for crossing in reached],
        sum(crossing.censored for crossing in reached),
        [crossing.tokens and round(crossing.tokens) for crossing in reached],
        int(own[0].inventory["parameters"]),
    )


def report(found: dict[str, Found], target: Any, before: Data) -> Data:
    """Everything as plain data, without a path of this machine; with what was kept from before."""
    today = date.today().isoformat()
    return {
        "command": "python -m benchmarks.time_to_target --text tinyshakespeare.txt",
        "target": target,
        "clock": "train seconds, one thread per trial, two trials at a time",
        **{name: before[name] for name in SEARCHES if name in before},
        **{
            name: {"run": today, "times_faster": round(one.faster, 2), **asdict(one)}
            for name, one in found.items()
        },
    }


def main() -> int:
    """Run both searches and tell how the bar is met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="a higher target, seconds of search")
    parser.add_argument("--searches", default=",".join(SEARCHES), help="which to run")
    parser.add_argument("--out", type=Path, help="keep the studies here, and go on with them")
    options = parser.parse_args()
    text = options.text.resolve(strict=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.out or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        names = options.searches.split(",")
        found = {name: search(name, text, folder, options.quick) for name in names}
    target = QUICK_TARGET if options.quick else yaml.read(EXPLORATION).data["objective"]["target"]
    before = yaml.read(RESULT).data if RESULT.exists() and not options.quick else {}
    told = report(found, target, before)
    full = yaml.dump(told)
    print(full)
    if not options.quick:
        RESULT.write_text(full, encoding="utf-8")
    ours, theirs = (told.get(name, {}) for name in SEARCHES)
    faster, minutes_taken = ours.get("times_faster", 0.0), ours.get("minutes", math.inf)
    bar = 1.0 if options.quick else BAR
    print(
        f"{faster:.1f} times faster to {target:g} than nanoGPT's CPU configuration in "
        f"{minutes_taken:.0f} min (bar {bar:g} in {MINUTES:g} min); "
        f"TPE {theirs.get('times_faster', math.nan):.1f}"
    )
    fine = faster >= bar and minutes_taken <= MINUTES and math.isfinite(faster)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
