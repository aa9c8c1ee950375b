"""The parts of a model against their formulas."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.trainer.models import build, model_config, some_tokens
from trainer.components.activation import activations
from trainer.components.attention import Causal, attentions
from trainer.components.head import heads
from trainer.components.mlp import mlps
from trainer.components.norm import LayerNorm, RMSNorm, norms
from trainer.components.position import RoPE, positions

FAMILIES = [norms, activations, positions, heads, mlps, attentions]


@pytest.fixture(autouse=True)
def _same_numbers_in_every_run() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_variant_works_without_options_and_says_what_it_is(family) -> None:
    for kind in family:
        assert family.parse(kind) == family.parse({"kind": kind}) == family[kind]()
        assert family[kind].__doc__


@pytest.mark.parametrize("kind", list(norms))
def test_a_norm_forgets_the_scale_of_a_vector(kind: str) -> None:
    norm, x = norms[kind]().build(32), torch.randn(3, 5, 32)
    torch.testing.assert_close(norm(x), norm(1000 * x), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(norm(x).square().mean(-1), torch.ones(3, 5), rtol=1e-3, atol=1e-3)


def test_rmsnorm_keeps_the_mean_and_layernorm_removes_it() -> None:
    x = torch.randn(4, 32) + 3
    by_hand = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(RMSNorm().build(32)(x), by_hand)
    torch.testing.assert_close(LayerNorm().build(32)(x).mean(-1), torch.zeros(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("relu", [0.0, 0.0, 2.0]),
        ("relu2", [0.0, 0.0, 4.0]),
        ("silu", [-1 / (1 + math.e), 0.0, 2 / (1 + math.exp(-2))]),
        ("gelu", [-(1 - math.erf(1 / math.sqrt(2))) / 2, 0.0, 1 + math.erf(math.sqrt(2))]),
    ],
)
def test_activations_at_known_points(kind: str, expected: list[float]) -> None:
    found = activations[kind]().build()(torch.tensor([-1.0, 0.0, 2.0]))
    torch.testing.assert_close(found, torch.tensor(expected))


def test_the_two_forms_of_gelu_differ_a_little() -> None:
    x = torch.linspace(-3, 3, 61)
    exact, tanh = (
        activations.parse({"kind": "gelu", "approximate": a}).build()(x) for a in ("none", "tanh")
    )
    assert 0 < (exact - tanh).abs().max() < 1e-3


def test_rope_keeps_lengths_and_leaves_the_first_token() -> None:
    x = torch.randn(2, 9, 3, 8)
    turned = RoPE().build(20, 8)(x)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, 0], x[:, 0])
    assert not torch.allclose(turned[:, 1], x[:, 1])


def test_rope_turns_the_first_pair_by_one_radian_a_token_and_the_last_by_the_base() -> None:
    x = torch.tensor([1.0, 0.0] * 3).expand(1, 4, 1, 6)
    pairs = RoPE(base=1000.0).build(4, 6)(x)[0, 3, 0].unflatten(-1, (3, 2))
    angles = torch.atan2(pairs[:, 1], pairs[:, 0])
    torch.testing.assert_close(angles, 3 * torch.tensor([1, 1000 ** (-1 / 3), 1000 ** (-2 / 3)]))


def test_rope_turns_alike_when_it_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    rope, x = RoPE().build(9, 8), torch.randn(2, 9, 3, 8)
    eager = rope(x)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(rope(x), eager)


def test_rope_makes_scores_depend_on_distance_only() -> None:
    rope = RoPE(base=100.0).build(20, 8)
    q, k = (torch.randn(8).expand(1, 20, 1, 8) for _ in range(2))
    scores = rope(q)[0, :, 0] @ rope(k)[0, :, 0].T  # (T, T)
    for distance in (0, 1, 7):
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("n_kv_head", "qk_norm"), [(4, None), (2, None), (1, None), (2, "rmsnorm")]
)
def test_attention_is_the_softmax_of_scores_over_the_past(
    n_kv_head: int, qk_norm: str | None
) -> None:
    config = attentions.parse(
        {
            "kind": "causal",
            "n_kv_head": n_kv_head,
            "qk_norm": qk_norm,
            "position": "none",
            "head_dim": 6,
        }
    )
    attention: Any = config.build(16, 9)
    x = torch.randn(2, 9, 16)
    torch.nn.init.normal_(attention.qkv.weight), torch.nn.init.eye_(attention.out.weight)
    found = attention(x)
    by_hand = _attention_by_hand(attention, x, qk_norm)[..., :16]
    torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-4)


def _attention_by_hand(attention: Any, x: Tensor, qk_norm: str | None) -> Tensor:
    heads_of = (x @ attention.qkv.weight.T).unflatten(-1, (-1, 6))
    n_kv = (heads_of.size(2) - 4) // 2
    q, k, v = heads_of[:, :, :4], heads_of[:, :, 4 : 4 + n_kv], heads_of[:, :, 4 + n_kv :]
    if qk_norm:
        q, k = F.rms_norm(q, (6,), eps=1e-5), F.rms_norm(k, (6,), eps=1e-5)
    out = torch.zeros(*x.shape[:2], 4, 6)
    for head in range(4):
        mine = head * n_kv // 4
        for t in range(x.size(1)):
            scores = (k[:, : t + 1, mine] @ q[:, t, head, :, None]).squeeze(-1) / 6**0.5
            out[:, t, head] = (scores.softmax(-1)[..., None] * v[:, : t + 1, mine]).sum(1)
    return out.flatten(2)


def test_without_positions_one_layer_cannot_tell_the_order_of_the_past() -> None:
    tokens = some_tokens()
    swapped = tokens[:, [1, 0, *range(2, 12)]]

    def differs(model_position: str, attention_position: str) -> bool:
        block = {"attention": {"kind": "causal", "position": attention_position}}
        model = build(model_config(block, n_layer=1, position=model_position))
        return not torch.allclose(model(tokens)[:, -1], model(swapped)[:, -1], rtol=1e-3, atol=1e-3)

    assert not differs("none", "none")
    assert differs("none", "rope")
    assert differs("learned", "none")


@pytest.mark.parametrize(("n_embd", "hidden"), [(48, 128), (128, 344), (768, 2048)])
def test_swiglu_is_as_large_as_a_plain_mlp_and_a_multiple_of_eight(
    n_embd: int, hidden: int
) -> None:
    assert mlps["swiglu"]().usual_hidden(n_embd) == hidden
    assert mlps["mlp"]().usual_hidden(n_embd) == 4 * n_embd


def test_swiglu_gates_one_product_by_another() -> None:
    mlp: Any = mlps["swiglu"](hidden=8).build(4)
    x = torch.randn(2, 3, 4)
    for product in (mlp.gate, mlp.up, mlp.out):
        torch.nn.init.normal_(product.weight)
    gate, up = x @ mlp.gate.weight.T, x @ mlp.up.weight.T
    torch.testing.assert_close(mlp(x), (gate * gate.sigmoid() * up) @ mlp.out.weight.T)


def test_a_width_in_the_config_is_the_width_in_the_matrix() -> None:
    attention: Any = Causal(n_head=3, n_kv_head=1, head_dim=10).build(16, 12)
    assert attention.qkv.weight.shape == (50, 16)
    assert attention.out.weight.shape == (16, 30)
    assert attention.cached_features == 20
    mlp: Any = mlps["mlp"](hidden=37).build(16)
    assert mlp.up.weight.shape == (37, 16)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_table_in_the_docs_names_every_variant(family, repository: Path) -> None:
    docs = (repository / "docs" / "05-trainer" / "README.md").read_text()
    table = docs.partition("## What a model can be made of")[2].partition("## ")[0]
    assert f"| `{family.name}` |" in table
    assert [kind for kind in family if f"`{kind}`" not in table] == []
