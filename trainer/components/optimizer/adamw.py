"""AdamW, all parameters in one fused call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainer.components.optimizer.base import (
    Decay,
    Named,
    Optimizer,
    Rate,
    Share,
    Updater,
    optimizers,
)


@optimizers.variant("adamw")
class AdamW(Optimizer):
    """Adam, with weight decay apart (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

    beta1: Share = 0.9
    """Memory of the gradient."""
    beta2: Share = 0.95
    """Memory of its square."""
    eps: Rate = 1e-8
    """Added to the root of the second moment."""
    weight_decay: Decay = 0.1
    """Share of a matrix taken away per step, times the learning rate; vectors keep theirs."""

    def build(self, named: Iterable[Named]) -> AdamWUpdater:
        return AdamWUpdater(self, named)


class AdamWUpdater(Updater):
    """Two moments per parameter, one count of steps for all."""

    def __init__(self, config: AdamW, named: Iterable[Named]) -> None:
        self._config = config
        self._moments = [
            _Moments(name, parameter, torch.zeros_like(parameter), torch.zeros_like(parameter))
            for name, parameter in named
        ]
        device = self._moments[0].parameter.device if self._moments else None
        self._steps = torch.zeros((), device=device)

    @torch.no_grad()
    def step(self, factor: float) -> None:
        self._steps += 1
        live = [moments for moments in self._moments if moments.parameter.grad is not None]
        self._update([m for m in live if m.parameter.ndim >= 2], factor, self._config.weight_decay)
        self._update([m for m in live if m.parameter.ndim < 2], factor, 0.0)

    def state(self) -> dict[str, Tensor]:
        tensors = {"steps": self._steps}
        for name, _, first, second in self._moments:
            tensors |= {f"{name}.first": first, f"{name}.second": second}
        return tensors

    def _update(self, moments: list[_Moments], factor: float, weight_decay: float) -> None:
        if not moments:
            return
        config = self._config
        torch._fused_adamw_(
            [parameter for _, parameter, _, _ in moments],
            [parameter.grad for _, parameter, _, _ in moments],  # type: ignore[misc]  # none is None
            [first for _, _, first, _ in moments],
            [second for _, _, _, second in moments],
            [],
            [self._steps] * len(moments),
            lr=config.learning_rate * factor,
            beta1=config.beta1,
            beta2=config.beta2,
            weight_decay=weight_decay,
            eps=config.eps,
            amsgrad=False,
            maximize=False,
        )


class _Moments(NamedTuple):
    name: str
    parameter: nn.Parameter
    first: Tensor
    second: Tensor
