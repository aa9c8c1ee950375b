"""Heads: what turns the last activations into logits."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from spec.family import Component, Family
from trainer.components.linear import Linear, linear


class Head(Component):
    """Options of a head."""

    @abstractmethod
    def build(self, n_embd: int, vocab_size: int) -> nn.Module:
        """The module."""


heads = Family[Head]("head", "(B, T, C) and the token table (V, C) in, logits (B, T, V) out")


@heads.variant("tied")
class Tied(Head):
    """Compares with the token table itself (Press and Wolf 2016, arXiv 1608.05859)."""

    def build(self, n_embd: int, vocab_size: int) -> nn.Module:
        return _TiedHead()


@heads.variant("untied")
class Untied(Head):
    """A matrix of its own."""

    bias: bool = False
    """Whether a learned logit is added to each token."""

    def build(self, n_embd: int, vocab_size: int) -> nn.Module:
        return _UntiedHead(n_embd, vocab_size, self.bias)


class _TiedHead(nn.Module):
    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        return linear(x, table)


class _UntiedHead(nn.Module):
    def __init__(self, n_embd: int, vocab_size: int, bias: bool) -> None:
        super().__init__()
        self.product = Linear(n_embd, vocab_size, bias)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        return self.product(x)
