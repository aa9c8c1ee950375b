"""Checkpoints: safetensors and one JSON file in a folder; loading one can run no code."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spec.errors import InputError
from trainer.config import TrainerConfig

FORMAT = 1
STATE = "state.json"

Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """How far a trial has come.

    Attributes:
        step: Optimizer steps done.
        train_seconds: Wall time of training.
        cpu_seconds: CPU time of training.
        loss_sum: Sum of the steps' training losses since the last evaluation.
        loss_steps: Number of those steps.
        evaluated_step: Step of the last evaluation; 0 before the first.
        best_val_loss: Lowest validation loss so far.
        best_step: Its step.
    """

    step: int = 0
    train_seconds: float = 0.0
    cpu_seconds: float = 0.0
    loss_sum: float = 0.0
    loss_steps: int = 0
    evaluated_step: int = 0
    best_val_loss: float | None = None
    best_step: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds.

    Attributes:
        config: Full form of the trial's config.
        seed: The trial's seed.
        progress: How far it had come.
        kernel: Who multiplied its matrices on the CPU (see ``trainer.components.linear``); None on
            a GPU.
        model: The model's tensors by name.
        optimizer: The optimizer's tensors by name; empty in a checkpoint that is not for resuming.
        scaler: State of float16's loss scaling.
    """

    config: TrainerConfig
    seed: int
    progress: Progress
    kernel: str | None
    model: Tensors
    optimizer: Tensors = dataclasses.field(default_factory=dict)
    scaler: dict[str, Any] = dataclasses.field(default_factory=dict)


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint in a folder.

    Replacing ``state.json`` is the commit: it names the files that belong to it, which are new
    ones, so a process killed at any instant leaves the old checkpoint or the new one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"model": checkpoint.model, "optimizer": checkpoint.optimizer}
    files = {
        kind: f"{kind}-{checkpoint.progress.step}.safetensors"
        for kind, found in tensors.items()
        if found
    }
    for kind, file in files.items():
        _replace(folder / file, lambda path, kind=kind: save_file(_plain(tensors[kind]), path))
    state = {
        "format": FORMAT,
        "files": files,
        "seed": checkpoint.seed,
        "kernel": checkpoint.kernel,
        "progress": dataclasses.asdict(checkpoint.progress),
        "scaler": checkpoint.scaler,
        "config": checkpoint.config.full(),
    }
    _replace(folder / STATE, lambda path: path.write_text(json.dumps(state, indent=1) + "\n"))
    for old in folder.glob("*.safetensors*"):
        if old.name not in files.values():
            old.unlink()


def load(
    folder: Path, device: torch.device | str = "cpu", *, optimizer: bool = False
) -> Checkpoint:
    """Read a checkpoint.

    Args:
        folder: Such as ``trial/checkpoints/last``.
        device: Where the tensors go.
        optimizer: Whether the optimizer's tensors are read too.

    Raises:
        InputError: When there is no checkpoint, or it is damaged or of another format.
    """
    state = _read_state(folder)
    kinds = ["model", "optimizer"] if optimizer else ["model"]
    try:
        tensors = {
            kind: load_file(folder / state["files"][kind], device=str(device))
            for kind in kinds
            if kind in state["files"]
        }
        return Checkpoint(
            config=TrainerConfig.model_validate(state["config"]),
            seed=state["seed"],
            progress=Progress(**state["progress"]),
            kernel=state["kernel"],
            scaler=state["scaler"],
            **tensors,
        )
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise InputError(
            f"{folder}: damaged checkpoint ({error}); train again, or take another one"
        ) from error


def discard(folder: Path) -> None:
    """Remove all checkpoints of a trial, where there are any.

    Args:
        folder: Such as ``trial/checkpoints``.
    """
    if folder.is_dir():
        shutil.rmtree(folder)


def exists(folder: Path) -> bool:
    """Whether a folder holds a checkpoint."""
    return (folder / STATE).is_file()


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state = json.loads((folder / STATE).read_text())
    except FileNotFoundError:
        raise InputError(
            f"{folder}: no checkpoint; give a folder such as trial/checkpoints/last"
        ) from None
    except ValueError as error:
        raise InputError(f"{folder / STATE}: not JSON ({error}); take another checkpoint") from None
    if state.get("format") != FORMAT:
        raise InputError(
            f"{folder / STATE}: format {state.get('format')!r}, this version reads {FORMAT}"
        )
    return state


def _replace(file: Path, write: Any) -> None:
    """Write beside the file, then take its place: a reader sees all of it or nothing."""
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    write(beside)
    beside.replace(file)


def _plain(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
