"""MLPs: what a layer does with every token by itself."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Self

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from spec.family import Component, Family
from trainer.components.activation import GELU, Activation, activations
from trainer.components.linear import Linear


class MLP(Component):
    """Options of an MLP."""

    hidden: int | None = Field(default=None, ge=1)
    """Width between the matrix products; null in the short form is the variant's usual one."""
    bias: bool = False
    """Whether the matrix products add a learned vector."""

    @abstractmethod
    def usual_hidden(self, n_embd: int) -> int:
        """The hidden width when none is given."""

    @abstractmethod
    def build(self, n_embd: int) -> nn.Module:
        """The module; its last product is named ``out`` and writes into the residual stream."""

    def resolve(self, n_embd: int) -> Self:
        """The same options with the hidden width written out."""
        return self.model_copy(update={"hidden": self.hidden or self.usual_hidden(n_embd)})


mlps = Family[MLP]("mlp", "(B, T, C) in, (B, T, C) out; every token by itself")


@mlps.variant("mlp")
class Plain(MLP):
    """Widen, activate, narrow."""

    activation: Annotated[Activation, activations] = Field(default_factory=GELU)

    def usual_hidden(self, n_embd: int) -> int:
        return 4 * n_embd

    def build(self, n_embd: int) -> nn.Module:
        hidden = self.hidden or self.usual_hidden(n_embd)
        return _PlainMLP(n_embd, hidden, self.bias, self.activation.build())


@mlps.variant("swiglu")
class SwiGLU(MLP):
    """Two products widen, one gates the other through SiLU (Shazeer 2020, arXiv 2002.05202)."""

    def usual_hidden(self, n_embd: int) -> int:
        return (
            -(-8 * n_embd // 24) * 8
        )  # 8/3 n_embd: as many parameters as the plain one; whole eights

    def build(self, n_embd: int) -> nn.Module:
        return _SwiGLU(n_embd, self.hidden or self.usual_hidden(n_embd), self.bias)


class _PlainMLP(nn.Module):
    def __init__(self, n_embd: int, hidden: int, bias: bool, activation: nn.Module) -> None:
        super().__init__()
        self.up = Linear(n_embd, hidden, bias, keep_half=True)
        self.activation = activation
        self.out = Linear(hidden, n_embd, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.activation(self.up(x)))


class _SwiGLU(nn.Module):
    def __init__(self, n_embd: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.gate = Linear(n_embd, hidden, bias, keep_half=True)
        self.up = Linear(n_embd, hidden, bias, keep_half=True)
        self.out = Linear(hidden, n_embd, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.silu(self.gate(x)) * self.up(x))
