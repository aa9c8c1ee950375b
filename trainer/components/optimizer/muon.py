"""Muon: momentum, made orthogonal, for the matrices of the layers; AdamW for everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor

from trainer.components.optimizer.adamw import AdamW
from trainer.components.optimizer.base import (
    Decay,
    Named,
    Optimizer,
    Rate,
    Share,
    Updater,
    is_hidden_matrix,
    optimizers,
)

# Steepest at zero among the quintics that keep the singular values near one: Keller Jordan 2024,
# "Muon: An optimizer for hidden layers in neural networks",
# https://kellerjordan.github.io/posts/muon/
_QUINTIC = (3.4445, -4.7750, 2.0315)


@optimizers.variant("muon")
class Muon(Optimizer):
    """Keller Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/."""

    learning_rate: Rate = 0.02
    """Peak learning rate of the layers' matrices."""
    momentum: Share = 0.95
    """Memory of the gradient."""
    nesterov: bool = True
    """Whether the step looks one gradient ahead."""
    ns_steps: int = Field(5, ge=1)
    """Newton-Schulz iterations."""
    weight_decay: Decay = 0.1
    """Share of a layer's matrix taken away per step, times the learning rate."""
    adamw_ratio: Rate = 0.15
    """Learning rate of embeddings, head, norms and biases, as a share of ``learning_rate``."""

    def build(self, named: Iterable[Named]) -> MuonUpdater:
        return MuonUpdater(self, named)


class MuonUpdater(Updater):
    """Momentum per matrix of the layers; an AdamW updater for the rest."""

    def __init__(self, config: Muon, named: Iterable[Named]) -> None:
        self._config = config
        hidden: list[Named] = []
        rest: list[Named] = []
        for name, parameter in named:
            (hidden if is_hidden_matrix(name, parameter) else rest).append((name, parameter))
        self._hidden = [
            (name, parameter, torch.zeros_like(parameter)) for name, parameter in hidden
        ]
        self._rest = AdamW(learning_rate=config.learning_rate * config.adamw_ratio).build(rest)

    def step(self, factor: float) -> None:
        self._rest.step(factor)
        self._step_hidden(self._config.learning_rate * factor)

    @torch.no_grad()
    def _step_hidden(self, learning_rate: float) -> None:
        by_shape = defaultdict(list)
        for _, parameter, momentum in self._hidden:
            if parameter.grad is not None:
                by_shape[parameter.shape].append((parameter, momentum))
        for shape, members in by_shape.items():
            directions = orthogonalize(
                torch.stack([self._direction(*m) for m in members]), self._config.ns_steps
            )
            # A tall matrix takes a longer step: its output is to change as much as a square one's.
            scale = max(1.0, shape[-2] / shape[-1]) ** 0.5
            for (parameter, _), direction in zip(members, directions, strict=True):
                parameter.mul_(1 - learning_rate * self._config.weight_decay)
                parameter.add_(direction.to(parameter.dtype), alpha=-learning_rate * scale)

    def _direction(self, parameter: Tensor, momentum: Tensor) -> Tensor:
        assert parameter.grad is not None
        momentum.lerp_(parameter.grad, 1 - self._config.momentum)
        if not self._config.nesterov:
            return momentum
        return torch.lerp(parameter.grad, momentum, self._config.momentum)

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}.momentum": momentum for name, _, momentum in self._hidden
        } | self._rest.state()


def orthogonalize(matrices: Tensor, steps: int) -> Tensor:
    """Replace the singular values of any number of matrices by ones between about 0.7 and 1.2.

    Newton-Schulz iteration with the quintic of Keller Jordan 2024. It forgives bfloat16, which is
    used where the hardware multiplies it fast.

    Args:
        matrices: (..., rows, columns).
        steps: Iterations; five are enough for singular values down to a thousandth of the largest.

    Returns:
        The same shape, in the dtype that was used.
    """
    a, b, c = _QUINTIC
    tall = matrices.size(-2) > matrices.size(-1)
    x = matrices.to(_iteration_dtype(matrices.device))
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def _iteration_dtype(device: torch.device) -> torch.dtype:
    fast = device.type != "cpu" or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if fast else torch.float32
