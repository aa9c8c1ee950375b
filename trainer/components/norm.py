"""Norms: what brings activations to a common scale."""

from __future__ import annotations

from abc import abstractmethod

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from spec.family import Component, Family


class Norm(Component):
    """Options of a norm."""

    eps: float = Field(default=1e-5, gt=0)
    """Added to the mean square before the root."""

    @abstractmethod
    def build(self, width: int) -> nn.Module:
        """The module for vectors of ``width`` numbers."""


norms = Family[Norm]("norm", "(..., C) in, (..., C) out; every vector by itself")


@norms.variant("rmsnorm")
class RMSNorm(Norm):
    """Divides by the root mean square and scales (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    def build(self, width: int) -> nn.Module:
        return _RMSNorm(width, eps=self.eps)


@norms.variant("layernorm")
class LayerNorm(Norm):
    """Subtracts the mean, divides by the deviation, scales (Ba et al. 2016, arXiv 1607.06450)."""

    bias: bool = False
    """Whether a learned vector is added, as in GPT-2."""

    def build(self, width: int) -> nn.Module:
        return nn.LayerNorm(width, eps=self.eps, bias=self.bias)


class _RMSNorm(nn.RMSNorm):
    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.type_as(
            x
        )  # under autocast queries are narrower than it: mixed types are slow
        return F.rms_norm(x, self.normalized_shape, weight, self.eps)
