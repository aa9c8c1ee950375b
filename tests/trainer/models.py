"""Small models for tests: one for every variant, and some whose options interact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spec.config import Data
from trainer.components.activation import activations
from trainer.components.attention import attentions
from trainer.components.head import heads
from trainer.components.mlp import mlps
from trainer.components.norm import norms
from trainer.components.position import Slot, positions
from trainer.config import ModelConfig
from trainer.model import GPT

VOCAB = 29


def model_config(block: Data | None = None, **model: Any) -> ModelConfig:
    """A model of two layers, 16 wide, looking back on 12 tokens."""
    defaults = {"n_layer": 2, "n_embd": 16, "block_size": 12, "vocab_size": VOCAB}
    return ModelConfig.model_validate({**defaults, "block": block or {}, **model})


def build(config: ModelConfig, seed: int = 1) -> GPT:
    """An initialised model, its weights large enough for every token to matter."""
    model = GPT(config)
    model.initialize(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(10)
    return model.eval()


def some_tokens(rows: int = 2, length: int = 12, seed: int = 0) -> Tensor:
    """Random tokens (rows, length)."""
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def _causal(**options: Any) -> Data:
    return {"attention": {"kind": "causal", **options}}


def _of_every_variant() -> Iterator[tuple[str, ModelConfig]]:
    for kind in attentions:
        yield f"attention {kind}", model_config({"attention": kind})
    for kind in mlps:
        yield f"mlp {kind}", model_config({"mlp": kind})
    for kind in norms:
        yield f"norm {kind}", model_config({"norm": kind, **_causal(qk_norm=kind)}, norm=kind)
    for kind in activations:
        yield f"activation {kind}", model_config({"mlp": {"kind": "mlp", "activation": kind}})
    for kind in heads:
        yield f"head {kind}", model_config(head=kind)
    for kind in positions:
        if Slot.INPUT in positions[kind].slots:
            yield (
                f"position {kind} at the input",
                model_config(_causal(position="none"), position=kind),
            )
        if Slot.ATTENTION in positions[kind].slots:
            yield f"position {kind} in attention", model_config(_causal(position=kind))


def _of_options_together() -> Iterator[tuple[str, ModelConfig]]:
    biased = {"kind": "layernorm", "bias": True}
    yield "grouped queries", model_config(_causal(n_kv_head=2))
    yield "one head of keys", model_config(_causal(n_kv_head=1, qk_norm="rmsnorm"))
    yield "heads wider than the model", model_config(_causal(n_head=3, head_dim=10))
    yield "odd heads without rope", model_config(_causal(n_head=2, head_dim=5, position="none"))
    yield (
        "all biases",
        model_config(
            {"norm": biased, "mlp": {"kind": "swiglu", "bias": True}, **_causal(bias=True)},
            norm=biased,
            head={"kind": "untied", "bias": True},
            position="learned",
        ),
    )
    yield (
        "layers that differ",
        model_config(
            n_layer=3,
            per_layer={
                "attention.n_head": [1, 2, 4],
                "mlp": ["swiglu", "mlp", {"kind": "mlp", "hidden": 7}],
            },
        ),
    )


MODELS = dict([*_of_every_variant(), *_of_options_together()])
"""By what is special about them."""
