"""What a model costs: known models, and the cached count against the count of the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from spec import yaml
from tests.trainer.models import MODELS, model_config
from trainer import inventory as counting
from trainer.config import ModelConfig, TrainerConfig
from trainer.inventory import inventory
from trainer.model import GPT


def config(model: ModelConfig, **rest: Any) -> TrainerConfig:
    return TrainerConfig(model=model, **rest)


def test_gpt2_small_costs_what_it_is_known_to_cost(repository: Path) -> None:
    gpt2 = TrainerConfig.read(yaml.read(repository / "explorations" / "baselines" / "gpt2.yaml"))
    found = inventory(gpt2)
    assert found.parameters == 124_439_808
    assert found.forward_flops == 291_648_307_200
    assert found.parameters_by_component == {
        "embedding": 38_597_376 + 786_432,
        "attention": 21_233_664 + 27_648 + 7_077_888 + 9_216,
        "mlp": 28_311_552 + 36_864 + 28_311_552 + 9_216,
        "norm": 4 * 9_216 + 2 * 768,
        "head": 0,
    }
    assert found.kv_bytes_per_token == 36_864  # in a 16-bit type
    assert found.kv_bytes == 37_748_736
    assert found.weight_bytes == 2 * 124_439_808


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_the_sum_over_layers_is_the_count_of_the_whole_model(model: ModelConfig) -> None:
    found = inventory(config(model))
    with torch.device("meta"):
        whole = GPT(model).eval()
        tokens = torch.zeros(1, model.block_size, dtype=torch.long)
    assert found.parameters == sum(p.numel() for p in whole.parameters())
    assert found.parameters == sum(p.numel() for p in GPT(model).parameters())
    assert found.forward_flops == counting.count_flops(whole, tokens)
    assert sum(found.parameters_by_component.values()) == found.parameters
    assert found.weight_bytes == 4 * found.parameters


def test_only_the_layer_that_changed_is_counted_again() -> None:
    hidden = [33, 33, 33]
    inventory(config(model_config(n_layer=3, per_layer={"mlp.hidden": hidden})))
    before = counting._count_layer.cache_info().misses
    found = inventory(config(model_config(n_layer=3, per_layer={"mlp.hidden": [33, 34, 33]})))
    assert counting._count_layer.cache_info().misses == before + 1
    assert found.planned_steps == TrainerConfig().max_steps


def test_layers_that_differ_in_kind_only_are_counted_apart() -> None:
    def parameters(norm: str, head: str) -> int:
        return inventory(config(model_config({"norm": norm}, norm=norm, head=head))).parameters

    assert parameters("rmsnorm", "tied") == parameters("layernorm", "tied")
    assert parameters("rmsnorm", "untied") == parameters("rmsnorm", "tied") + 29 * 16


def test_fewer_heads_of_keys_and_values_keep_fewer_bytes() -> None:
    def kv_bytes(n_kv_head: int, dtype: str) -> int:
        model = model_config({"attention": {"kind": "causal", "n_kv_head": n_kv_head}})
        return inventory(config(model, dtype=dtype)).kv_bytes

    assert (
        kv_bytes(4, "float32") == 2 * 2 * 16 * 12 * 4
    )  # layers, keys and values, n_embd, block_size, bytes
    assert kv_bytes(1, "float32") * 4 == kv_bytes(4, "float32")
    assert kv_bytes(4, "bfloat16") * 2 == kv_bytes(4, "float32")


def test_operations_may_be_left_uncounted() -> None:
    with_flops, without = (
        inventory(config(model_config()), flops=flops) for flops in (True, False)
    )
    assert without == with_flops.model_copy(update={"forward_flops": None, "flops_per_token": None})
