"""The validation loss of a model over fixed tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from trainer.batches import Batch


@torch.no_grad()
def mean_loss(
    model: Callable[..., Tensor],
    batches: Iterable[Batch],
    precision: AbstractContextManager[Any],
    interrupted: Callable[[], bool] = lambda: False,
) -> float | None:
    """Mean negative log-likelihood, nats per token; every token weighs the same.

    Args:
        model: ``model(tokens, targets)`` is a batch's mean loss; a module in evaluation mode.
        batches: The evaluation set.
        precision: The context of a forward pass.
        interrupted: Asked before each batch.

    Returns:
        None when it was interrupted.
    """
    losses, counts = [], []
    for tokens, targets in batches:
        if interrupted():
            break
        with precision:
            losses.append(model(tokens, targets))
        counts.append(targets.numel())
    else:
        weights = torch.tensor(counts, dtype=torch.float64)
        total = torch.stack(losses).to("cpu", torch.float64) @ weights
        return float(total / weights.sum())
    return None


def bits_per_byte(loss: float, bytes_per_token: float) -> float:
    """Nats per token as bits per byte of text, which compares models of different tokenizers."""
    return loss / math.log(2) / bytes_per_token
