"""Attentions: what a layer does to let tokens read from earlier ones."""

from trainer.components.attention.base import Attention, AttentionModule, attentions
from trainer.components.attention.causal import Causal

__all__ = ["Attention", "AttentionModule", "Causal", "attentions"]
