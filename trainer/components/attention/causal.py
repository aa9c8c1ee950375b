"""Causal softmax attention with many query heads, and as many or fewer heads of keys and values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from spec.config import Fault
from trainer.components.attention.base import Attention, AttentionModule, attentions
from trainer.components.linear import Linear
from trainer.components.norm import Norm, norms
from trainer.components.position import Position, RoPE, Slot, positions


@attentions.variant("causal")
class Causal(Attention):
    """Scaled dot products (Vaswani et al. 2017, arXiv 1706.03762).

    Grouped queries are from Ainslie et al. 2023 (arXiv 2305.13245).
    """

    n_head: int = Field(default=4, ge=1)
    """Heads of queries."""
    n_kv_head: int | None = Field(default=None, ge=1)
    """Heads of keys and values; a divisor of n_head. Null: n_head."""
    head_dim: int | None = Field(default=None, ge=1)
    """Width of a head. Null: n_embd / n_head, exactly."""
    position: Annotated[Position, positions] = Field(default_factory=RoPE)
    """Turns queries and keys."""
    qk_norm: Annotated[Norm, norms] | None = None
    """Norm of each query and key (Henry et al. 2020, arXiv 2010.04245)."""
    bias: bool = False
    """Whether the matrix products add a learned vector."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of attention weights dropped in training."""

    def check(self, n_embd: int) -> list[Fault]:
        return [*self._heads(n_embd), *self._positions(n_embd)]

    def build(self, n_embd: int, block_size: int) -> AttentionModule:
        return _CausalAttention(self, n_embd, block_size)

    def _heads(self, n_embd: int) -> Iterable[Fault]:
        n_head, n_kv_head = self.n_head, self.n_kv_head
        if self.head_dim is None and n_embd % n_head:
            message = f"does not divide n_embd {n_embd}; set head_dim to decouple them"
            yield ("n_head",), n_head, f"n_head {n_head} {message}"
        if n_kv_head and n_head % n_kv_head:
            message = (
                f"does not divide n_head {n_head}; every head of keys and values serves the same "
                f"number of queries: choose one of {_divisors(n_head)}"
            )
            yield ("n_kv_head",), n_kv_head, f"n_kv_head {n_kv_head} {message}"

    def _positions(self, n_embd: int) -> Iterable[Fault]:
        for loc, value, message in self.position.check(Slot.ATTENTION, self._head_dim(n_embd)):
            yield ("position", *loc), value, message

    def _head_dim(self, n_embd: int) -> int | None:
        if self.head_dim is None and n_embd % self.n_head:
            return None
        return self.head_dim or n_embd // self.n_head


def _divisors(n: int) -> str:
    return ", ".join(str(d) for d in range(1, n + 1) if n % d == 0)


class _CausalAttention(AttentionModule):
    def __init__(self, config: Causal, n_embd: int, block_size: int) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.n_kv_head = config.n_kv_head or config.n_head
        self.head_dim = config.head_dim or n_embd // config.n_head
        self.dropout = config.dropout
        self.cached_features = 2 * self.n_kv_head * self.head_dim
        width = self.n_head * self.head_dim
        self.qkv = Linear(n_embd, width + self.cached_features, config.bias)
        self.out = Linear(width, n_embd, config.bias)
        self.position = config.position.build(block_size, self.head_dim)
        self.q_norm = config.qk_norm.build(self.head_dim) if config.qk_norm else nn.Identity()
        self.k_norm = config.qk_norm.build(self.head_dim) if config.qk_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).unflatten(-1, (-1, self.head_dim))  # (B, T, H, D), queries first
        q, k, v = heads.split([self.n_head, self.n_kv_head, self.n_kv_head], dim=2)
        q, k = self.position(self.q_norm(q)), self.position(self.k_norm(k))
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=True,
            enable_gqa=self.n_kv_head != self.n_head,
        )
        return self.out(y.transpose(1, 2).flatten(2))
