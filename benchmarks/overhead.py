"""What a search adds to its trials: wall time beyond model build, training and evaluation.

python -m benchmarks.overhead [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from search.summary import open_study
from spec import yaml
from spec.config import Data

BAR = 0.15
"""Seconds per trial that a search may add."""
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def baseline() -> Data:
    """The tiny baseline with a warm-up that ten steps have room for."""
    config: Data = yaml.read(ROOT / "explorations" / "baselines" / "tiny.yaml").data
    return {**config, "schedule": {**config["schedule"], "warmup_steps": 2}}


def exploration(folder: Path, start: str, trials: int) -> Path:
    """Ten-step trials of the tiny baseline that differ in their learning rate, one at a time."""
    rates = [round(1e-3 * 1.03**i, 8) for i in range(trials)]
    asked = {
        "study": start,
        "baseline": baseline(),
        "budget": {"max_steps": 10},
        "space": {"optimizer.learning_rate": {"choices": rates}},
        "seeds": {"screen": 1, "max": 1, "confirm": 0},
        "executor": {"kind": "local", "workers": 1, "device": "cpu", "start": start},
        "report": False,
    }
    file = folder / f"{start}.yaml"
    file.write_text(yaml.dump(asked), encoding="utf-8")
    return file


def search_seconds(folder: Path, start: str, trials: int) -> tuple[float, float]:
    """Mean wall and train seconds per trial, from the first launch to the last record."""
    command = [sys.executable, "-m", "search.run", str(exploration(folder, start, trials))]
    subprocess.run(
        [*command, "--out", str(folder), "--max-trials", str(trials)],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
    )
    done = [t for t in open_study(folder / start).history if t.state == "finished" and t.ended]
    assert len(done) == trials, f"{len(done)} of {trials} trials finished"
    # the first trial waits for the fork server, once per search
    done = done[1:]
    wall = max(t.ended or 0.0 for t in done) - min(t.started for t in done)
    train = statistics.mean(trial.curve[-1].train_seconds for trial in done)
    return wall / len(done), train


def core_seconds(folder: Path, trials: int) -> float:
    """Mean seconds of model build, training and evaluation alone, in one warm process."""
    code = (
        "import sys, benchmarks.overhead as o; from pathlib import Path; "
        f"o.train_here(Path(sys.argv[1]), {trials})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return statistics.mean(json.loads(done.stdout))


def train_here(folder: Path, trials: int) -> None:
    """Train one trial after the other in this process and print the seconds of each."""
    import torch

    from trainer import preload  # noqa: F401  # the state the fork server is in
    from trainer.batches import open_dataset
    from trainer.config import TrainerConfig, resolve
    from trainer.facts import Facts
    from trainer.loop import Training

    config = TrainerConfig.read(yaml.Document(baseline()))
    dataset = open_dataset(config.data)
    config = resolve(config, dataset.meta)
    seconds = []
    for number in range(trials + 2):
        out = folder / f"core{number}"
        out.mkdir()
        facts = Facts(seed=number, device=torch.device("cpu"), threads=1, max_steps=10)
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            Training(config, dataset, out, facts).run({})
        seconds.append(time.perf_counter() - started)
    print(json.dumps(seconds[2:]))  # read by the parent; the first two warm up


def main() -> int:
    """Run the benchmark and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer trials; keeps no result")
    quick = parser.parse_args().quick
    trials, fresh_trials = (15, 4) if quick else (40, 40)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        core = core_seconds(folder, trials)
        rows = {
            start: search_seconds(folder, start, n)
            for start, n in (("fork", trials), ("spawn", fresh_trials))
        }
    lines = [
        f"{'how a trial starts':<22} {'wall':>8} {'training':>9} {'added':>8}   seconds per trial"
    ]
    for start, (wall, train) in rows.items():
        how = "fork server" if start == "fork" else "fresh interpreter"
        lines.append(f"{how:<22} {wall:8.3f} {train:9.3f} {wall - core:8.3f}")
    added = rows["fork"][0] - core
    lines.append(f"model build, training and evaluation in a warm process: {core:.3f} s")
    lines.append(f"added by the search: {added:.3f} s per trial (bar: below {BAR} s)")
    text = "\n".join(lines)
    print(text)  # the figure
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        command = "python -m benchmarks.overhead"
        (RESULTS / "overhead.txt").write_text(f"{command}\n\n{text}\n", encoding="utf-8")
    return int(added >= BAR)


if __name__ == "__main__":
    sys.exit(main())
