from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import yaml
from spec.config import Config, Seq, identity
from spec.errors import ConfigError
from spec.family import Component, Family


class Norm(Component):
    pass


norms: Family[Norm] = Family("norm", "(B, T, C) in, (B, T, C) out")


@norms.variant("rms")
class Rms(Norm):
    eps: float = 1e-5
    groups: int = 1


@norms.variant("plain")
class Plain(Norm):
    pass


class Block(Config):
    norm: Annotated[Norm, norms] = Rms()
    n_head: int = 4


class Up(Config):
    by: int


class Down(Config):
    by: int
    floor: int = 0


class Model(Config):
    blocks: Seq[Block] = (Block(),)
    lr: float = 1e-3
    size: int | float = 1
    sizes: Seq[int | Literal["auto"]] = ()
    move: Up | Down = Up(by=1)


def read(text):
    return Model.read(yaml.parse(text, Path("model.yaml")))


def complaint(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


def test_defaults_written_or_not_key_order_and_one_and_one_point_zero_are_one_id():
    ids = {  # behaviours 38
        identity(read(text).full())
        for text in (
            "{}",
            "lr: 0.001",
            "blocks: [{}]\nlr: 1e-3",
            "blocks: [{n_head: 4.0, norm: rms}]",
            "blocks: [{norm: {groups: 1, kind: rms, eps: 1.0e-05}, n_head: 4}]",
        )
    }
    assert len(ids) == 1
    assert identity({"a": 1, "b": 2}) == identity({"b": 2.0, "a": 1})


def test_another_key_with_the_same_value_is_another_id():
    assert identity({"a": 1}) != identity({"b": 1})  # behaviours 38
    assert identity({"a": {"b": 1}}) != identity({"a": 1, "b": 1})
    assert identity({"a": True}) != identity({"a": 1})


@given(st.integers(1, 8), st.floats(1e-6, 1), st.sampled_from(["rms", "plain"]))
def test_the_full_form_is_a_fixed_point(n_head, lr, norm):
    model = Model.model_validate({"lr": lr, "blocks": [{"n_head": n_head, "norm": norm}]})
    again = read(yaml.dump(model.full()))
    assert again == model
    assert again.full() == model.full()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "blocks:\n- n_haed: 3",
            "model.yaml:2:3: blocks[0].n_haed: unknown key 'n_haed'; did you mean 'n_head'?",
        ),
        (
            "blocks:\n- norm: rmss",
            "model.yaml:2:3: blocks[0].norm.kind: unknown norm 'rmss'; did you mean 'rms'?",
        ),
        ("blocks: [{norm: {kind: rms, epz: 1}}]", "unknown key 'epz'; did you mean 'eps'?"),
        ("lr: '3'", "model.yaml:1:1: lr: '3' (str) should be a number"),
        ("blocks: [{n_head: true}]", "n_head: True (bool) should be an integer"),
        ("blocks: [{n_head: 2.5}]", "n_head: 2.5 (float) should be an integer"),
        ("blocks: [3]", "blocks[0]: 3 (int) should be a mapping"),
        ("size: x", "model.yaml:1:1: size: 'x' (str) should be an integer or a number"),
        ("sizes: [1, x]", "sizes[1]: 'x' (str) should be an integer or 'auto'"),
        ("blocks: [{norm: {eps: 1}}]", "blocks[0].norm: a norm needs a kind"),
        ("blocks: [{norm: [rms]}]", "is no norm"),
    ],
)
def test_a_problem_names_place_path_value_rule_and_way_out(text, said):
    assert said in complaint(text)


def test_what_all_members_of_a_union_ask_alike_is_told_once():
    assert complaint("move: {by: x}") == "model.yaml:1:8: move.by: 'x' (str) should be an integer"


def test_every_problem_is_told_at_once():
    assert len(complaint("lr: x\nblocks: [{n_head: y}, {norm: z}]").splitlines()) == 3


def test_configs_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Model().lr = 2.0


def test_a_variant_is_registered_once():
    with pytest.raises(ValueError, match="registered twice"):
        norms.variant("rms")(Plain)
    assert list(norms) == ["plain", "rms"]


def test_a_component_of_another_family_does_not_fit():
    others: Family[Norm] = Family("position", "")
    with pytest.raises(ValueError, match="is no position"):
        others.parse(Rms())
