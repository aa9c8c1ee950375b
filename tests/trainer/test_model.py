"""What every model keeps, whatever it is made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from spec import yaml
from tests.trainer.models import MODELS, VOCAB, build, model_config, some_tokens
from trainer.config import ModelConfig
from trainer.model import GPT

every_model = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())


@every_model
def test_logits_are_one_row_per_token(config: ModelConfig) -> None:
    logits = build(config)(some_tokens(rows=3, length=7))
    assert logits.shape == (3, 7, VOCAB)
    assert logits.isfinite().all()


@every_model
def test_never_looks_ahead(config: ModelConfig) -> None:
    model, tokens = build(config), some_tokens()
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % VOCAB
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(before[:, 6:], after[:, 6:], rtol=1e-2, atol=1e-2)


@every_model
def test_a_prefix_alone_gets_the_same_logits(config: ModelConfig) -> None:
    model, tokens = build(config), some_tokens()
    whole = model(tokens)
    for length in (1, 5):
        torch.testing.assert_close(
            model(tokens[:, :length]), whole[:, :length], rtol=1e-4, atol=1e-4
        )


@every_model
def test_the_first_token_sees_itself(config: ModelConfig) -> None:
    every_token = torch.arange(VOCAB)[:, None]
    logits = build(config)(every_token)[:, 0]
    assert len(logits.round(decimals=2).unique(dim=0)) == VOCAB


@every_model
def test_the_last_token_reads_the_first(config: ModelConfig) -> None:
    model, tokens = build(config), some_tokens()
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % VOCAB
    assert not torch.allclose(model(tokens)[:, -1], model(changed)[:, -1], rtol=1e-4, atol=1e-4)


@every_model
def test_rows_of_a_batch_do_not_meet(config: ModelConfig) -> None:
    model, tokens = build(config), some_tokens(rows=3)
    torch.testing.assert_close(model(tokens)[1:2], model(tokens[1:2]), rtol=1e-4, atol=1e-4)


@every_model
def test_a_gradient_reaches_every_parameter(config: ModelConfig) -> None:
    model, tokens = build(config).train(), some_tokens(rows=4)
    model(tokens, tokens.roll(-1, dims=1)).backward()
    assert [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()
    ] == []


@every_model
def test_the_same_seed_gives_the_same_model(config: ModelConfig) -> None:
    first, second, other = (build(config, seed) for seed in (7, 7, 8))
    tokens = some_tokens()
    assert torch.equal(first(tokens), second(tokens))
    assert not torch.allclose(first(tokens), other(tokens))


@every_model
def test_parameters_on_the_meta_device_are_the_real_ones(config: ModelConfig) -> None:
    with torch.device("meta"):
        meta = GPT(config)
    shapes = {name: p.shape for name, p in GPT(config).named_parameters()}
    assert {name: p.shape for name, p in meta.named_parameters()} == shapes
    assert all(p.is_meta for p in [*meta.parameters(), *meta.buffers()])


@every_model
def test_a_config_survives_a_yaml_file(config: ModelConfig) -> None:
    assert ModelConfig.read(yaml.parse(yaml.dump(config.full()))) == config


@every_model
def test_initialisation_leaves_no_number_to_chance(config: ModelConfig) -> None:
    model = GPT(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 or name.endswith("bias"):
                parameter.fill_(torch.nan)
    model.initialize(3)
    assert all(p.isfinite().all() for p in model.parameters())


@every_model
def test_reduced_precision_runs_and_agrees(config: ModelConfig) -> None:
    model, tokens = GPT(config), some_tokens()
    model.initialize(1)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(tokens, tokens)
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss, model(tokens, tokens), rtol=0.01, atol=0.01)


def test_the_loss_is_the_mean_cross_entropy() -> None:
    model, tokens, targets = build(model_config()), some_tokens(), some_tokens(seed=1)
    chances = model(tokens).softmax(-1).gather(-1, targets[..., None])
    torch.testing.assert_close(model(tokens, targets), -chances.log().mean())


def test_a_fresh_model_knows_nothing() -> None:
    model = GPT(model_config(n_embd=64, n_layer=4, head="untied"))
    model.initialize(0)
    loss = model(some_tokens(64), some_tokens(64, seed=1))
    torch.testing.assert_close(loss, torch.tensor(VOCAB).log(), rtol=0.02, atol=0)


def test_products_into_the_residual_stream_start_smaller_with_depth() -> None:
    model = GPT(model_config(n_layer=8, n_embd=64))
    model.initialize(0)
    layer: Any = model.layers[3]
    for written, read in (
        (layer.attention.out, layer.attention.qkv),
        (layer.mlp.out, layer.mlp.up),
    ):
        torch.testing.assert_close(read.weight.std(), torch.tensor(0.02), rtol=0.05, atol=0)
        torch.testing.assert_close(written.weight.std(), torch.tensor(0.02 / 4), rtol=0.05, atol=0)


def test_layers_do_not_start_alike() -> None:
    model = GPT(model_config())
    model.initialize(0)
    first, second = (dict(layer.named_parameters()) for layer in model.layers)
    matrices = [name for name, parameter in first.items() if parameter.ndim == 2]
    assert not any(torch.equal(first[name], second[name]) for name in matrices)


def test_neighbours_start_alike_where_they_are_alike() -> None:
    wide, narrow = (
        GPT(model_config(per_layer={"mlp.hidden": [32, hidden]})) for hidden in (64, 48)
    )
    wide.initialize(5), narrow.initialize(5)
    same = [
        n for n, p in wide.named_parameters() if torch.equal(p, dict(narrow.named_parameters())[n])
    ]
    changed = {n for n, _ in wide.named_parameters()} - set(same)
    assert changed == {"layers.1.mlp.up.weight", "layers.1.mlp.out.weight"}


def test_dropout_acts_in_training_only() -> None:
    config = model_config(
        {"dropout": 0.5, "attention": {"kind": "causal", "dropout": 0.5}}, dropout=0.5
    )
    model, tokens = build(config), some_tokens()
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))


def test_a_sequence_longer_than_block_size_is_refused() -> None:
    with pytest.raises(ValueError, match="13 tokens are more than block_size 12"):
        build(model_config())(some_tokens(length=13))


def test_a_model_without_a_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="vocab_size is null"):
        GPT(model_config(vocab_size=None))


def test_a_checkpoint_holds_parameters_only() -> None:
    model = build(model_config())
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
