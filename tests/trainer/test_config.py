"""The trainer's config: short form, full form, identity, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import yaml
from spec.config import Data, identity
from spec.dataset import Meta
from spec.errors import ConfigError
from spec.yaml import Document
from tests.trainer.models import MODELS
from trainer.config import TrainerConfig, resolve
from trainer.model import GPT

META = Meta(
    dataset="pystdlib",
    tokenizer="bytes",
    vocab_size=256,
    dtype="uint16",
    train_tokens=900,
    val_tokens=100,
    train_bytes=900,
    val_bytes=100,
    bytes_per_token=1.0,
    fingerprint="0123456789abcdef",
    sources=(),
)


def read(text: str) -> TrainerConfig:
    return TrainerConfig.read(yaml.parse(text, Path("trial.yaml")))


def config_id(data: Data) -> str:
    return identity(TrainerConfig.read(Document(data)).full())


@pytest.mark.parametrize("name", ["tiny", "nanogpt_cpu", "shakespeare_fast", "gpt2"])
def test_a_baseline_in_full_form_is_itself(name: str, repository: Path) -> None:
    config = TrainerConfig.read(
        yaml.read(repository / "explorations" / "baselines" / f"{name}.yaml")
    )
    full = config.full()
    again = TrainerConfig.read(yaml.parse(yaml.dump(full)))
    assert again == config
    assert again.full() == full
    assert identity(again.full()) == identity(full)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_the_full_form_is_a_fixed_point(model: Any) -> None:
    config = TrainerConfig(model=model)
    full = config.full()
    assert TrainerConfig.read(Document(full)).full() == full


def test_the_full_form_writes_every_decision_out() -> None:
    full = read("model: {n_layer: 2, block: {mlp: swiglu}}").full()
    assert set(full["model"]) == {
        *("n_embd", "block_size", "vocab_size", "dropout", "position", "layers", "norm", "head")
    }
    assert [set(layer) for layer in full["model"]["layers"]] == [
        {"norm", "attention", "mlp", "dropout"}
    ] * 2
    assert full["model"]["layers"][0]["mlp"] == {"kind": "swiglu", "hidden": 344, "bias": False}
    assert full["optimizer"]["kind"] == "adamw"
    assert full["schedule"]["kind"] == "cosine"


def test_columns_give_each_layer_its_own_value() -> None:
    config = read("""
        model:
          n_layer: 3
          per_layer:
            attention.n_head: [4, 2, 1]
            mlp: [mlp, swiglu, {kind: mlp, activation: relu}]
            norm.eps: [1e-5, 1e-6, 1]
    """)
    layers = config.full()["model"]["layers"]
    assert [layer["attention"]["n_head"] for layer in layers] == [4, 2, 1]
    assert [layer["mlp"]["kind"] for layer in layers] == ["mlp", "swiglu", "mlp"]
    assert [layer["norm"]["eps"] for layer in layers] == [1e-5, 1e-6, 1]


def test_short_and_full_form_of_one_model_have_one_id() -> None:
    layer = {"attention": {"kind": "causal", "n_head": 2}}
    short = {"model": {"n_layer": 2, "block": layer}}
    assert config_id(short) == config_id({"model": {"layers": [layer, layer]}})


# behaviours 38
def test_neither_key_order_nor_number_type_nor_written_defaults_change_the_id() -> None:
    full = TrainerConfig().full()
    turned = {key: full[key] for key in reversed(full)}
    floats = {**full, "batch_size": float(full["batch_size"]), "grad_clip": int(full["grad_clip"])}
    ids = {config_id(data) for data in ({}, full, turned, floats)}
    assert len(ids) == 1


# behaviours 38
def test_another_key_of_equal_value_is_another_id() -> None:
    base = {"model": {"n_layer": 1}}
    heads = {"model": {"n_layer": 1, "block": {"attention": {"kind": "causal", "n_kv_head": 4}}}}
    assert config_id(base) != config_id(heads)
    assert config_id({"batch_size": 2}) != config_id({"gradient_accumulation_steps": 2})


@given(
    n_head=st.integers(1, 6),
    n_kv_head=st.none() | st.integers(1, 6),
    head_dim=st.none() | st.integers(1, 9),
    n_embd=st.integers(1, 48),
)
def test_a_config_is_refused_at_its_place_or_builds(
    n_head: int, n_kv_head: int | None, head_dim: int | None, n_embd: int
) -> None:
    attention = {"kind": "causal", "n_head": n_head, "n_kv_head": n_kv_head, "head_dim": head_dim}
    data = {"model": {"n_embd": n_embd, "layers": [{"attention": attention}], "vocab_size": 5}}
    try:
        config = TrainerConfig.read(Document(data))
    except ConfigError as error:
        for problem in error.problems:
            assert problem.path.startswith("model.layers[0].attention")
        width = head_dim or n_embd / n_head
        assert width % 2 or n_head % (n_kv_head or n_head)
    else:
        GPT(config.model)


REFUSED = {
    "n_head 5 does not divide n_embd 64; set head_dim to decouple them": (
        "model: {n_embd: 64, block: {attention: {kind: causal, n_head: 5}}}",
        "model.block.attention.n_head",
    ),
    "n_kv_head 4 does not divide n_head 6; every head of keys and values serves the same number "
    "of queries: choose one of 1, 2, 3, 6": (
        "model: {n_embd: 96, block: {attention: {kind: causal, n_head: 6, n_kv_head: 4}}}",
        "model.block.attention.n_kv_head",
    ),
    "rope turns pairs, and head_dim 5 is odd; set an even head_dim, or another position": (
        "model: {block: {attention: {kind: causal, head_dim: 5}}}",
        "model.block.attention.position",
    ),
    "'learned' cannot be attention.position: learned positions are added to the token embeddings; "
    "set model.position: learned": (
        "model: {block: {attention: {kind: causal, position: learned}}}",
        "model.block.attention.position.kind",
    ),
    "'rope' cannot be model.position: rope turns queries and keys; "
    "set attention.position: rope in the layers": (
        "model: {position: rope}",
        "model.position.kind",
    ),
    "a model needs at least one layer; write one item per layer, or n_layer": (
        "model: {layers: []}",
        "model.layers",
    ),
    "layers says it all; remove it, or n_layer and block": (
        "model: {layers: [{}], n_layer: 1, block: {}}",
        "model.layers",
    ),
    "2 values for n_layer 3; a column has one value per layer: write 3": (
        "model: {n_layer: 3, per_layer: {mlp.hidden: [64, 64]}}",
        "model.per_layer.mlp.hidden",
    ),
    "mlp.hiden: no key 'hiden' in mlp; did you mean 'hidden'?": (
        "model: {n_layer: 1, per_layer: {mlp.hiden: [64]}}",
        "model.per_layer.mlp.hiden",
    ),
    "unknown key 'n_layers'; did you mean 'n_layer'?": ("model: {n_layers: 2}", "model.n_layers"),
    "unknown mlp 'swiglue'; did you mean 'swiglu'?": (
        "model: {block: {mlp: swiglue}}",
        "model.block.mlp.kind",
    ),
    "0 (int) should be greater than or equal to 1": ("model: {block_size: 0}", "model.block_size"),
    "'4' (str) should be an integer": ("model: {n_embd: '4'}", "model.n_embd"),
    "warmup_steps 9 does not end before max_steps 9, so the rate never reaches its peak; "
    "write 8 or less, or set a larger max_steps": (
        "{max_steps: 9, schedule: {kind: wsd, warmup_steps: 9}}",
        "schedule.warmup_steps",
    ),
    "1.0 (float) should be less than 1": ("model: {dropout: 1.0}", "model.dropout"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_an_impossible_config_is_refused_with_place_path_rule_and_way_out(message: str) -> None:
    text, path = REFUSED[message]
    with pytest.raises(ConfigError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert (problem.message, problem.path) == (message, path)
    assert problem.place.startswith("trial.yaml:1:")


def test_a_problem_of_a_column_is_shown_in_the_column() -> None:
    with pytest.raises(ConfigError) as caught:
        read("model:\n  n_layer: 2\n  per_layer:\n    attention.n_head: [4, 5]")
    (problem,) = caught.value.problems
    assert problem.path == "model.per_layer.attention.n_head[1]"
    assert problem.place == "trial.yaml:4:27"


def test_a_problem_of_one_layer_of_a_full_form_names_the_layer() -> None:
    layer = {"attention": {"kind": "causal", "n_head": 3}}
    with pytest.raises(
        ConfigError, match=r"model\.layers\[1\]\.attention\.n_head: n_head 3 does not divide"
    ):
        TrainerConfig.read(Document({"model": {"layers": [{}, layer]}}))


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read("batch_size: 0\ndtype: fp8\ndata: {tokenizer: letters}")
    assert [problem.path for problem in caught.value.problems] == [
        "data.tokenizer",
        "batch_size",
        "dtype",
    ]


def test_the_vocabulary_comes_from_the_data() -> None:
    config = resolve(read("model: {n_layer: 1}"), META)
    assert config.model.vocab_size == 256
    assert resolve(config, META) == config


def test_a_vocabulary_may_be_padded_but_not_cut() -> None:
    assert resolve(read("model: {vocab_size: 320}"), META).model.vocab_size == 320
    with pytest.raises(
        ConfigError, match=r"model\.vocab_size: vocab_size 255 is less than the 256 tokens"
    ):
        resolve(read("model: {vocab_size: 255}"), META)


def test_tokens_per_step_counts_accumulated_batches() -> None:
    config = read("{batch_size: 3, gradient_accumulation_steps: 5, model: {block_size: 7}}")
    assert config.tokens_per_step == 105
