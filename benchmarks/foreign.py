"""Searches over real training scripts, unmodified, killed in the middle, checked line by line.

    python -m benchmarks.foreign --nanogpt DIR --text FILE [--reallmasic DIR --reallmasic-python PY]

DIR is a checkout of karpathy/nanoGPT or of ReaLLMASIC/nanoGPT, FILE a text such as tinyshakespeare,
PY the Python of an environment with ReaLLMASIC's requirements. Each is copied to a scratch folder,
prepares its data with its own script, and is searched with the exploration of
``explorations/foreign`` at a size that takes seconds on one CPU core. The search is killed with -9
once three trials have started, then resumed.

What counts: at least six trials finished, none trained twice, every recorded evaluation is a line
the script printed, and no file of the script has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.history import Trial
from search.summary import open_study
from spec import yaml

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "foreign.yaml"
TRIALS = 8
STEPS = 40
DATA = "data/shakespeare_char"
SIZE: Mapping[str, Any] = {
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 32,
    "block_size": 32,
    "batch_size": 8,
    "eval_interval": 20,
    "eval_iters": 4,
    "warmup_iters": 10,
}


@dataclass(frozen=True)
class Script:
    """One training script of somebody else.

    Attributes:
        name: The exploration's name too.
        source: Its checkout.
        python: The interpreter it runs in.
        prepare: Arguments of its own data preparation.
    """

    name: str
    source: Path
    python: str
    prepare: tuple[str, ...]


def main() -> int:
    """Search every script that is there; 1 when something does not agree."""
    options = _options()
    found = [script for script in _scripts(options) if script is not None]
    if not found:
        print("skipped: give --nanogpt DIR or --reallmasic DIR, and --text FILE")
        return 0
    told = {script.name: _measure(script, options.text) for script in found}
    text = yaml.dump({"command": "python -m benchmarks.foreign", "scripts": told})
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(text, encoding="utf-8")
    print(text)
    return 0 if all(not result["problems"] for result in told.values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--reallmasic", type=Path, help="a checkout of ReaLLMASIC/nanoGPT")
    parser.add_argument("--reallmasic-python", default=sys.executable, help="its interpreter")
    parser.add_argument("--text", type=Path, help="the text to train on")
    return parser.parse_args()


def _scripts(options: argparse.Namespace) -> tuple[Script | None, ...]:
    if options.text is None or not options.text.is_file():
        return ()
    other = options.reallmasic_python
    return (
        _there("nanogpt", options.nanogpt, sys.executable, ()),
        _there("reallmasic", options.reallmasic, other, ("-t", "input.txt", "--method", "char")),
    )


def _there(name: str, source: Path | None, python: str, prepare: tuple[str, ...]) -> Script | None:
    if source is None or not (source / "train.py").is_file():
        print(f"{name}: skipped, no checkout with a train.py was given")
        return None
    return Script(name, source, python, prepare)


def _measure(script: Script, text: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / script.name
        ignored = shutil.ignore_patterns(".git", "__pycache__")
        shutil.copytree(script.source, folder, symlinks=True, ignore=ignored)
        before = _checksums(folder)
        _prepare(script, folder / DATA, text)
        out = Path(scratch) / "searches"
        command = _command(script, folder, out)
        killed = _killed(command, out / script.name)
        resumed = subprocess.run([*command, "--max-trials", str(TRIALS)], cwd=ROOT, check=False)
        history = list(open_study(out / script.name).history)
        problems = [f"the resumed search ended with {resumed.returncode}"] * bool(
            resumed.returncode
        )
        problems += _disagreements(history, out / script.name)
        after = {name: checksum for name, checksum in _checksums(folder).items() if name in before}
        problems += ["a file of the script has changed"] * (after != before)
        return _told(history, killed, problems)


def _prepare(script: Script, folder: Path, text: Path) -> None:
    shutil.copyfile(text, folder / "input.txt")
    subprocess.run(
        [script.python, "prepare.py", *script.prepare], cwd=folder, check=True, capture_output=True
    )


def _command(script: Script, folder: Path, out: Path) -> list[str]:
    settings = {
        "trainer.cwd": folder,
        "trainer.command[0]": script.python,
        "budget.max_steps": STEPS,
        "executor.workers": 1,
        "executor.device": "cpu",
        "report": "false",
        **{f"baseline.{key}": value for key, value in SIZE.items()},
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    file = ROOT / "explorations" / "foreign" / f"{script.name}.yaml"
    return [sys.executable, "-m", "search.run", str(file), "--out", str(out), *words]


def _killed(command: list[str], study: Path) -> int:
    """Kill the search with -9 when its third trial has started; how many trials it had recorded."""
    process = subprocess.Popen(command, cwd=ROOT)
    while process.poll() is None and not (study / "trials" / "0002" / "metrics.jsonl").exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(open_study(study).history)


def _disagreements(history: list[Trial], study: Path) -> list[str]:
    """What a trial's record says otherwise than the lines its script printed."""
    found = []
    done = [(trial.config_id, trial.seed) for trial in history if trial.state == "finished"]
    if len(done) < 6:
        found.append(f"only {len(done)} trials finished")
    if len(set(done)) < len(done):
        found.append("a trial was trained twice")
    for trial in history:
        log = study / "trials" / f"{trial.number:04d}" / "output.log"
        recorded = [(point.step, point.val_loss) for point in trial.curve]
        if trial.state == "finished" and recorded != _printed(log):
            found.append(f"trial {trial.number} recorded {recorded}, printed {_printed(log)}")
    return found


def _printed(log: Path) -> list[tuple[int, float]]:
    """Steps and losses by plain splitting, independent of the exploration's patterns."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("step ") and " val loss " in line:
            step = line.removeprefix("step ").partition(":")[0]
            loss = line.partition(" val loss ")[2].partition(",")[0]
            found.append((int(step), float(loss)))
    return found


def _told(history: list[Trial], killed: int, problems: list[str]) -> dict[str, Any]:
    finished = [trial for trial in history if trial.state == "finished"]
    return {
        "trials_before_the_kill": killed,
        "finished": len(finished),
        "interrupted": [t.failure.reason for t in history if t.failure].count("interrupted"),
        "evaluations_checked": sum(len(trial.curve) for trial in finished),
        "parameters": sorted({trial.inventory.get("parameters") for trial in finished}),
        "best_val_loss": min((p.val_loss for t in finished for p in t.curve), default=None),
        "seconds_per_trial": round(
            sum((t.ended or 0.0) - t.started for t in finished) / max(len(finished), 1), 1
        ),
        "script": finished[0].facts["environment"]["script"] if finished else None,
        "cores": os.cpu_count(),
        "problems": problems,
    }


def _checksums(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*.py"))
        if file.is_file()
    }


if __name__ == "__main__":
    sys.exit(main())
