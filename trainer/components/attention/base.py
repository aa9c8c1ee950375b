"""The contract of attention."""

from __future__ import annotations

from abc import abstractmethod

from torch import nn

from spec.config import Fault
from spec.family import Component, Family
from trainer.components.linear import Linear


class AttentionModule(nn.Module):
    """What an attention builds."""

    out: Linear
    """The last product; it writes into the residual stream."""
    cached_features: int
    """How many numbers per token must be kept while generating text."""


class Attention(Component):
    """Options of an attention."""

    @abstractmethod
    def build(self, n_embd: int, block_size: int) -> AttentionModule:
        """The module for at most ``block_size`` tokens."""

    def check(self, n_embd: int) -> list[Fault]:
        """What is wrong with these options in a model of this width."""
        return []


attentions = Family[Attention](
    "attention", "(B, T, C) in, (B, T, C) out; token t reads tokens 0 to t, itself included"
)
