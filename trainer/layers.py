"""One layer of the model: attention, then an MLP, each added to the residual stream."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field
from torch import Tensor, nn

from spec.config import Config, Fault
from trainer.components.attention import Attention, Causal, attentions
from trainer.components.mlp import MLP, Plain, mlps
from trainer.components.norm import Norm, RMSNorm, norms


class LayerConfig(Config):
    """What one layer is made of."""

    norm: Annotated[Norm, norms] = Field(default_factory=RMSNorm)
    """Before the attention and, with weights of its own, before the MLP."""
    attention: Annotated[Attention, attentions] = Field(default_factory=Causal)
    mlp: Annotated[MLP, mlps] = Field(default_factory=Plain)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of what is added to the residual stream that is dropped in training."""

    def resolve(self, n_embd: int) -> Self:
        """The same layer with every width written out."""
        return self.model_copy(update={"mlp": self.mlp.resolve(n_embd)})

    def check(self, n_embd: int) -> list[Fault]:
        """What is wrong with this layer in a model of width ``n_embd``."""
        return [
            (("attention", *loc), value, why) for loc, value, why in self.attention.check(n_embd)
        ]


class Layer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): (B, T, C) in, (B, T, C) out."""

    def __init__(self, config: LayerConfig, n_embd: int, block_size: int) -> None:
        super().__init__()
        self.attention_norm = config.norm.build(n_embd)
        self.attention = config.attention.build(n_embd, block_size)
        self.mlp_norm = config.norm.build(n_embd)
        self.mlp = config.mlp.build(n_embd)
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))
