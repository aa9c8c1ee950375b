"""Which tokens a step trains on and an evaluation reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from spec.dataset import Meta, load_tokenizer, prepared_folder, read_meta
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

    def bytes_per_token(self, evaluated: EvaluationSet) -> float:
        """Of the predicted tokens: what turns their loss into bits per byte.

        Raises:
            InputError: When the tokenizer's file is missing or damaged.
        """
        if evaluated.is_whole:
            return self.meta.bytes_per_token
        folder = prepared_folder(self.meta.dataset, self.meta.tokenizer)
        return evaluated.bytes_per_token(load_tokenizer(folder).byte_lengths())


def open_dataset(data: DataConfig) -> Dataset:
    """Open a data set, prepared as ``fresh_meta`` does it.

    Raises:
        InputError: When it cannot be prepared.
    """
    meta = fresh_meta(data)
    folder = prepared_folder(data.dataset, data.tokenizer)
    train, val = (
        np.memmap(folder / f"{name}.bin", meta.numpy_dtype, "r") for name in ("train", "val")
    )
    return Dataset(meta, train, val)


def fresh_meta(data: DataConfig) -> Meta:
    """The facts of a data set; prepares it when it is not, or when its text has changed since.

    Raises:
        InputError: When it cannot be prepared.
    """
    folder = prepared_folder(data.dataset, data.tokenizer)
    if folder.is_dir():
        meta = read_meta(folder)
        if not meta.is_stale:
            return meta
    _prepare(data)
    return read_meta(folder)


def _prepare(data: DataConfig) -> None:
    command = [sys.executable, "-m", "data.prepare", data.dataset, "--tokenizer", data.tokenizer]
    stderr = 2  # what preparing says is progress, and no result of this command
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stderr, check=False)
    if result.returncode:
        raise InputError(
            f"data set {data.dataset!r} is not prepared, or its text has changed since, and "
            "preparing it failed (see above); "
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
        _refuse_short("training", tokens, block_size)
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


_SPAN = 1024  # tokens that an evaluation reads in one piece


class EvaluationSet:
    """The fixed tokens that every evaluation predicts, whatever the block and batch size.

    Fewer than all are spread over the split: spans of 1024 tokens at a fixed stride, the last one
    maybe shorter, are read one behind the other as if they were one text. Each predicted token is
    the one that really follows; where two spans meet, what a model looks back on is of another
    place, as it is where two files meet.

    Args:
        tokens: The validation split.
        limit: Most tokens to predict; None for all after the very first.
        block_size: Tokens per sequence.
        device: Where batches go.

    Raises:
        InputError: When the split is shorter than one sequence.
    """

    def __init__(
        self, tokens: Tokens, limit: int | None, block_size: int, device: torch.device
    ) -> None:
        _refuse_short("validation", tokens, block_size)
        followed = len(tokens) - 1
        self._tokens, self._block_size, self._device = tokens, block_size, device
        self._count = min(limit or followed, followed)
        self._gap = (followed - self._count) // -(-self._count // _SPAN)
        self.is_whole = self._count == followed

    def batches(self, rows: int) -> Iterator[Batch]:
        """Adjacent sequences, ``rows`` at a time; the last one may be shorter."""
        step = rows * self._block_size
        whole = self._count - self._count % self._block_size
        for start, end in pairwise([*range(0, whole, step), whole, self._count]):
            if end > start:
                at = self._places(start, end)
                shape = -1, min(self._block_size, end - start)
                tokens, targets = (_to(self._device, self._tokens[at + i]) for i in (0, 1))
                yield tokens.view(shape), targets.view(shape)

    def bytes_per_token(self, lengths: Sequence[int]) -> float:
        """Mean bytes of the predicted tokens, given those of every id."""
        targets = self._tokens[self._places(0, self._count) + 1]
        return float(np.asarray(lengths)[targets].mean())

    def _places(self, start: int, end: int) -> NDArray[np.int64]:
        """Where in the split the tokens number ``start`` to ``end`` of the set lie."""
        numbers = np.arange(start, end)
        return numbers + numbers // _SPAN * self._gap


def _refuse_short(split: str, tokens: Tokens, block_size: int) -> None:
    if len(tokens) <= block_size:
        raise InputError(
            f"the {split} split has {len(tokens)} tokens, and block_size {block_size} needs "
            f"{block_size + 1} or more; choose a smaller block_size or more text"
        )


def _to(device: torch.device, tokens: Tokens) -> Tensor:
    found = torch.from_numpy(tokens.astype(np.int64))
    if device.type == "cuda":  # pinned memory travels while the GPU computes
        found = found.pin_memory().to(device, non_blocking=True)
    return found
