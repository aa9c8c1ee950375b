"""What a model costs, counted on a build of it: parameters, floating-point operations, bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spec.config import Config
from trainer.config import ModelConfig, TrainerConfig
from trainer.layers import Layer, LayerConfig
from trainer.model import GPT

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
COMPONENTS = ("embedding", "attention", "mlp", "norm", "head")
META = torch.device("meta")


class Inventory(Config):
    """The cost of one config."""

    parameters: int
    parameters_by_component: dict[str, int]
    """Keys: ``COMPONENTS``. A tied head has none of its own."""
    forward_flops: int | None
    """Matrix products of one sequence of ``block_size`` tokens, two for each multiplication and
    addition. Attention is charged in full, block_size by block_size, as PaLM and nanoGPT do.
    None: not counted."""
    flops_per_token: float | None
    """forward_flops / block_size."""
    weight_bytes: int
    """All parameters in the config's dtype."""
    kv_bytes_per_token: int
    """What generation keeps of each token, in the config's dtype."""
    kv_bytes: int
    """The same for ``block_size`` tokens."""
    tokens_per_step: int
    """Training tokens per optimizer step."""
    planned_steps: int
    """Optimizer steps of the training."""


@dataclass(frozen=True)
class _Count:
    """What was counted on one build.

    Attributes:
        parameters: By component.
        flops: Of one sequence.
        cached_features: Numbers kept per token while generating.
    """

    parameters: Counter[str]
    flops: int
    cached_features: int = 0


def inventory(config: TrainerConfig, *, flops: bool = True) -> Inventory:
    """Count a config's costs, each distinct layer once per process.

    Args:
        config: A full form.
        flops: Whether operations are counted too. The first count of a process loads torch's
            compiler, a second that a small trial would rather train.
    """
    model = config.model
    counts = [_count_ends(model.model_copy(update={"layers": ()}), flops)]
    counts += [_count_layer(layer, model.n_embd, model.block_size, flops) for layer in model.layers]
    parameters = sum((count.parameters for count in counts), Counter[str]())
    forward_flops = sum(count.flops for count in counts) if flops else None
    width = BYTES[config.dtype]
    kv_bytes_per_token = width * sum(count.cached_features for count in counts)
    return Inventory(
        parameters=parameters.total(),
        parameters_by_component={name: parameters[name] for name in COMPONENTS},
        forward_flops=forward_flops,
        flops_per_token=None if forward_flops is None else forward_flops / model.block_size,
        weight_bytes=width * parameters.total(),
        kv_bytes_per_token=kv_bytes_per_token,
        kv_bytes=kv_bytes_per_token * model.block_size,
        tokens_per_step=config.tokens_per_step,
        planned_steps=config.max_steps,
    )


def count_flops(module: nn.Module, x: Tensor) -> int:
    """Operations of ``module(x)``, both on the meta device: elsewhere fused kernels are missed."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(x)
    return counter.get_total_flops()


def count_parameters(module: nn.Module) -> Counter[str]:
    """Parameters by component: the child they belong to, ``attention_norm`` being a norm."""
    counts: Counter[str] = Counter()
    for name, parameter in module.named_parameters():
        child = name.partition(".")[0]
        counts["norm" if child.endswith("_norm") else child] += parameter.numel()
    return counts


@lru_cache(maxsize=4096)
def _count_layer(config: LayerConfig, n_embd: int, block_size: int, flops: bool) -> _Count:
    with META:
        layer = Layer(config, n_embd, block_size).eval()
        x = torch.zeros(1, block_size, n_embd)
    return _Count(
        count_parameters(layer),
        count_flops(layer, x) if flops else 0,
        layer.attention.cached_features,
    )


@lru_cache(maxsize=4096)
def _count_ends(config: ModelConfig, flops: bool) -> _Count:
    """What stands around the layers: no valid config, but a model that can be counted."""
    with META:
        ends = GPT(config).eval()
        tokens = torch.zeros(1, config.block_size, dtype=torch.long)
    return _Count(count_parameters(ends), count_flops(ends, tokens) if flops else 0)
