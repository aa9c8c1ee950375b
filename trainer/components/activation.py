"""Activations: the nonlinear step between two matrix products."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from spec.family import Component, Family


class Activation(Component):
    """Options of an activation."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The module."""


activations = Family[Activation]("activation", "(...) in, (...) out; every number by itself")


@activations.variant("gelu")
class GELU(Activation):
    """Hendrycks and Gimpel 2016, arXiv 1606.08415."""

    approximate: Literal["none", "tanh"] = "none"
    """``tanh`` is what GPT-2 was trained with."""

    def build(self) -> nn.Module:
        return nn.GELU(self.approximate)


@activations.variant("relu")
class ReLU(Activation):
    """max(x, 0)."""

    def build(self) -> nn.Module:
        return nn.ReLU()


@activations.variant("relu2")
class ReLU2(Activation):
    """The square of ReLU (So et al. 2021, "Primer", arXiv 2109.08668)."""

    def build(self) -> nn.Module:
        return _SquaredReLU()


@activations.variant("silu")
class SiLU(Activation):
    """x sigmoid(x)."""

    def build(self) -> nn.Module:
        return nn.SiLU()


class _SquaredReLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()
