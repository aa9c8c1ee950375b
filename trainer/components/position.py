"""Positions: how a model learns where a token stands."""

from __future__ import annotations

from abc import abstractmethod
from enum import Enum
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from spec.config import Fault
from spec.family import Component, Family


class Slot(Enum):
    """The two places of a model that can tell positions apart."""

    INPUT = "model.position"
    """Token embeddings, (B, T, n_embd)."""
    ATTENTION = "attention.position"
    """Queries and keys, (B, T, H, head_dim)."""


class Position(Component):
    """Options of a position."""

    slots: ClassVar[frozenset[Slot]]
    """Where the variant can stand."""
    way_out: ClassVar[str] = ""
    """What to write instead when it stands elsewhere."""

    @abstractmethod
    def build(self, block_size: int, width: int) -> nn.Module:
        """The module for at most ``block_size`` tokens of vectors of ``width`` numbers."""

    def check(self, slot: Slot, width: int | None = None) -> list[Fault]:
        """What is wrong with this position in ``slot``, for vectors of ``width`` if it is known."""
        if slot in self.slots:
            return []
        return [(("kind",), self.kind, f"{self.kind!r} cannot be {slot.value}: {self.way_out}")]


positions = Family[Position](
    "position", "(B, T, ..., C) in, the same shape out; tells token t from its place in T"
)


@positions.variant("none")
class NoPosition(Position):
    """Leaves it to causal attention to find out."""

    slots = frozenset(Slot)

    def build(self, block_size: int, width: int) -> nn.Module:
        return nn.Identity()


@positions.variant("learned")
class Learned(Position):
    """One learned vector per place, added, as in GPT-2."""

    slots = frozenset({Slot.INPUT})
    way_out = "learned positions are added to the token embeddings; set model.position: learned"

    def build(self, block_size: int, width: int) -> nn.Module:
        return _LearnedPosition(block_size, width)


@positions.variant("rope")
class RoPE(Position):
    """Turns pairs of numbers, the further the later (Su et al. 2021, arXiv 2104.09864)."""

    slots = frozenset({Slot.ATTENTION})
    way_out = "rope turns queries and keys; set attention.position: rope in the layers"

    base: float = Field(default=10_000.0, gt=1)
    """The slowest pair turns by about 1 / base a token, the fastest by 1."""

    def build(self, block_size: int, width: int) -> nn.Module:
        return _Rotation(block_size, width, self.base)

    def check(self, slot: Slot, width: int | None = None) -> list[Fault]:
        faults = super().check(slot, width)
        if width is not None and width % 2:
            way_out = "set an even head_dim, or another position"
            message = f"rope turns pairs, and head_dim {width} is odd; {way_out}"
            faults.append(((), self.kind, message))
        return faults


class _LearnedPosition(nn.Module):
    def __init__(self, block_size: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(block_size, width))

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C)
        return x + self.weight[: x.size(1)]


class _Rotation(nn.Module):
    table: Tensor

    def __init__(self, block_size: int, width: int, base: float) -> None:
        super().__init__()
        cpu = torch.device(
            "cpu"
        )  # on the meta device arange would load sympy, which takes half a second
        pairs = torch.arange(0, width, 2, dtype=torch.float64, device=cpu)
        places = torch.arange(block_size, dtype=torch.float64, device=cpu)
        angles = places[:, None, None] * base ** (-pairs / width)
        table = torch.stack((angles.cos(), angles.sin()), dim=-1).to(
            torch.get_default_device(), torch.float32
        )
        self.register_buffer("table", table, persistent=False)  # (T, 1, C / 2, 2)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, H, C)
        table = self.table[: x.size(1)]
        pairs = x.float().unflatten(-1, (-1, 2))
        turned = _real_product if torch.compiler.is_compiling() else _complex_product
        return turned(pairs, table).flatten(-2).type_as(x)


def _complex_product(a: Tensor, b: Tensor) -> Tensor:
    """One kernel: on a CPU about half the time of the same arithmetic on real numbers."""
    return torch.view_as_real(torch.view_as_complex(a) * torch.view_as_complex(b))


def _real_product(a: Tensor, b: Tensor) -> Tensor:
    """The same, for torch's compiler, which fuses it and generates no code for complex numbers."""
    (ar, ai), (br, bi) = a.unbind(-1), b.unbind(-1)
    return torch.stack((ar * br - ai * bi, ar * bi + ai * br), dim=-1)
