"""Which tokens a step trains on and an evaluation reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from spec.dataset import Meta, prepared_folder, read_meta
from spec.errors import InputError
from trainer.config import DataConfig

Tokens = NDArray[Any]
"""The tokens of one split, as they lie on the disk: uint16 or uint32."""

Batch = tuple[Tensor, Tensor]
"""Tokens (B, T), and the token that follows each."""


@dataclass(frozen=True)
class Dataset:
    """A prepared data set, opened."""

    meta: Meta
    train: Tokens
    val: Tokens


def open_dataset(data: DataConfig) -> Dataset:
    """Open a data set, and prepare it first when that was not done yet.

    Raises:
        InputError: When it cannot be prepared.
    """
    folder = prepared_folder(data.dataset, data.tokenizer)
    if not folder.is_dir():
        _prepare(data)
    meta = read_meta(folder)
    train, val = (
        np.memmap(folder / f"{name}.bin", meta.numpy_dtype, "r") for name in ("train", "val")
    )
    return Dataset(meta, train, val)


def _prepare(data: DataConfig) -> None:
    command = [sys.executable, "-m", "data.prepare", data.dataset, "--tokenizer", data.tokenizer]
    stderr = 2  # what preparing says is progress, and no result of this command
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stderr, check=False)
    if result.returncode:
        raise InputError(
            f"data set {data.dataset!r} is not prepared, and preparing it failed (see above); "
            f"try: python -m data.prepare {data.dataset} --tokenizer {data.tokenizer}"
        )


class Sampler:
    """Random windows of the training split.

    Candidates with the same block size meet the same windows in the same order; those with the same
    batch size as well meet the same batches.

    Args:
        tokens: The training split.
        block_size: Tokens per sequence.
        seed: The trial's seed.
        device: Where batches go.

    Raises:
        InputError: When the split is shorter than one sequence.
    """

    def __init__(self, tokens: Tokens, block_size: int, seed: int, device: torch.device) -> None:
        if len(tokens) <= block_size:
            raise InputError(
                f"the training split has {len(tokens)} tokens, and block_size {block_size} needs "
                f"{block_size + 1} or more; choose a smaller block_size or more text"
            )
        self._windows = sliding_window_view(tokens, block_size + 1)
        self._seed = seed
        self._device = device

    def batches(self, step: int, count: int, batch_size: int) -> list[Batch]:
        """The batches of one step, ``count`` of ``batch_size`` sequences.

        The generator is counter-based and keyed by seed and step, so any step can be asked for at
        any time (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
        """
        random = np.random.Philox(key=[self._seed, step]).random_raw(count * batch_size)
        starts = random % len(self._windows)
        sequences = [
            _to(self._device, self._windows[starts[i : i + batch_size]])
            for i in range(0, len(starts), batch_size)
        ]
        return [(both[:, :-1], both[:, 1:]) for both in sequences]


def windows(
    tokens: Tokens, limit: int | None, block_size: int, rows: int, device: torch.device
) -> Iterator[Batch]:
    """The fixed evaluation set, cut into adjacent sequences; the last one may be shorter.

    Whatever the block size, the same tokens are predicted: the first ``limit`` after the very
    first.

    Args:
        tokens: The validation split.
        limit: Most tokens to predict; None for all.
        block_size: Tokens per sequence.
        rows: Sequences per batch.
        device: Where batches go.
    """
    predicted = min(limit or len(tokens), len(tokens) - 1)
    whole = predicted - predicted % block_size
    edges = [*range(0, whole, rows * block_size), whole, predicted]
    for start, end in pairwise(edges):
        if end > start:
            both = _to(device, tokens[start : end + 1])
            shape = -1, min(block_size, end - start)
            yield both[:-1].view(shape), both[1:].view(shape)


def _to(device: torch.device, tokens: Tokens) -> Tensor:
    found = torch.from_numpy(tokens.astype(np.int64))
    if device.type == "cuda":  # pinned memory travels while the GPU computes
        found = found.pin_memory().to(device, non_blocking=True)
    return found
