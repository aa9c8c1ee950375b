"""Explorations over the toy script that knows nothing of us."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from spec import yaml
from spec.config import Data

TOYS = Path(__file__).parent.parent / "toys"
PYTHON = ["{python}", "-S", "-E"]
PLAIN = r"step (?P<step>\d+):.* val loss (?P<val_loss>\S+)"
TRAINER: Data = {
    "command": [*PYTHON, "script.py", "{args}"],
    "cwd": str(TOYS),
    "metrics": [{"regex": [PLAIN, r"number of parameters: (?P<parameters>\S+)"]}],
    "seed": "seed",
    "budget": {"max_steps": "steps"},
}


def exploration(folder: Path, trainer: Data | None = None, **changes: Any) -> Path:
    """Write an exploration and return its file; ``trainer`` replaces options of the trainer."""
    data: Data = {
        "trainer": {**TRAINER, **(trainer or {})},
        "baseline": {"rate": 1.0, "width": 4},
        "budget": {"max_steps": 3},
        "space": {
            "width": {"step": 2, "min": 2, "max": 16},
            "rate": {"scale": 2, "min": 0.25, "max": 16},
        },
        "strategy": {"kind": "greedy", "max_rounds": 1},
        "seeds": {"screen": 1, "max": 2, "confirm": 1},
        "executor": {"kind": "local", "workers": 2, "start": "spawn", "device": "cpu", "grace": 5},
        "report": False,
        **changes,
    }
    file = folder / "toy.yaml"
    file.write_text(yaml.dump(data), encoding="utf-8")
    return file


def interpreter() -> tuple[str, ...]:
    """The quickest Python that runs a toy."""
    return (sys.executable, "-S", "-E")
