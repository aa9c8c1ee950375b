"""What a foreign trial ran: git commit, script, interpreter, packages; and whether it changed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from search.history import Trial
from spec.config import Data

_LIST_PACKAGES = """
import importlib.metadata, json, sys
found = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
print(json.dumps({"python": sys.version.split()[0], "packages": found}))
"""
_LAUNCHERS = ("torchrun", "accelerate", "deepspeed")
"""Python programs that stand beside the interpreter they use."""
PATIENCE = 60.0
"""Seconds a question about the environment may take."""


def environment(command: Sequence[str], cwd: Path) -> tuple[Data, Data]:
    """What a command would run now.

    Returns:
        Facts to keep with every trial, and the versions of all packages, which they hold as a hash.
    """
    facts: Data = {"git": _git(cwd), "script": _script(command, cwd)}
    interpreter = _interpreter(command[0], cwd)
    packages: Data = {}
    if interpreter is not None:
        told = _packages(interpreter)
        packages = told.get("packages", {})
        facts |= {"python": told.get("python"), "packages": _digest(json.dumps(packages))}
    return {name: value for name, value in facts.items() if value is not None}, packages


def changes(trials: Iterable[Trial]) -> list[str]:
    """What differs between the environments of a study's trials, one sentence each."""
    known: dict[str, Any] = {}
    found = []
    for trial in trials:
        for name, value in _conditions(trial).items():
            before = known.setdefault(name, value)
            if before != value:
                found.append(
                    f"{name} changed with trial {trial.number}: {_word(before)} -> {_word(value)}; "
                    "what was measured before and after may not be comparable"
                )
                known[name] = value
    return found


def _conditions(trial: Trial) -> Data:
    """What a foreign trial ran, and on what; nothing of a trial of our own trainer."""
    ran = trial.facts.get("environment")
    return {**ran, **{name: trial.facts[name] for name in ("device", "threads")}} if ran else {}


def _word(value: Any) -> str:
    return ", ".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def _git(cwd: Path) -> Data | None:
    """Commit of the working directory and a hash of what differs from it; None outside of git."""
    commit = _ask(["git", "-C", str(cwd), "rev-parse", "HEAD"])
    if commit is None:
        return None
    difference = _ask(["git", "-C", str(cwd), "diff", "HEAD"]) or ""
    return {
        "commit": commit.strip(),
        "dirty": bool(difference),
        **({"difference": _digest(difference)} if difference else {}),
    }


def _script(command: Sequence[str], cwd: Path) -> Data | None:
    """Checksum of the first file of the command below the working directory, or of its module."""
    words = list(command[1:])
    if "-m" in words[:-1]:
        module = words[words.index("-m") + 1].replace(".", "/")
        words = [f"{module}.py", f"{module}/__main__.py", *words]
    for word in (*words, command[0]):
        file = cwd / word
        if len(word) < 4096 and "\0" not in word and _is_file(file):
            return {"file": word, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    return None


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a long option is no file name
        return False


def _interpreter(program: str, cwd: Path) -> str | None:
    """The Python that a command uses: itself, or the one beside a script such as torchrun."""
    path = Path((None if "/" in program else shutil.which(program)) or cwd / program)
    beside = path.with_name("python")
    if path.name.startswith("python"):
        return str(path)
    return str(beside) if beside.exists() and path.name in _LAUNCHERS else None


@cache
def _packages(interpreter: str) -> Data:
    # isolated: a json.py in the working directory is not the one that is meant
    said = _ask([interpreter, "-I", "-c", _LIST_PACKAGES])
    told: Data = json.loads(said) if said else {}
    return told


def _ask(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, errors="replace", check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
