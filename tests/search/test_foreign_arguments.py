"""How a config reaches a script: every style and rule, and every value unchanged."""

import argparse
import itertools
import json
import re
import subprocess
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.trainers.arguments import Args, check, expand, leaves, placeholders
from spec.errors import ConfigError, InputError
from spec.yaml import Document
from tests.search.foreign import TOYS, interpreter

BOOLEAN_RULES = get_args(Args.model_fields["booleans"].annotation)
LIST_RULES = get_args(Args.model_fields["lists"].annotation)
STYLES = ("--{key} {value}", "--{key}={value}", "{key}={value}", "++{key}={value}")
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
HARD = st.sampled_from(["-1", "--x", "a b", "a=b", "'\"", "{rate}", "{{", "$HOME", "ü→", "", "*"])
TEXTS = WORDS | HARD
NUMBERS = st.integers() | st.floats(allow_nan=False)
CONFIGS = st.dictionaries(st.sampled_from("abcdef"), TEXTS | NUMBERS, max_size=6)


def seen(*words):
    """What a real process finds in its argv."""
    done = subprocess.run(
        [*interpreter(), str(TOYS / "argv.py"), *words], capture_output=True, check=True
    )
    return json.loads(done.stdout)


def read_back(words, style):
    """The options as pairs, by the shape of the style alone."""
    before, _, after = style.partition("{key}")
    joint = after.removesuffix("{value}")
    if joint == " ":
        pairs = list(zip(words[::2], words[1::2], strict=True))
    else:
        pairs = [(word.split(joint, 1)[0], word.split(joint, 1)[1]) for word in words]
    return {key.removeprefix(before): value for key, value in pairs}


@pytest.mark.parametrize("style", STYLES)
@given(config=CONFIGS)
@settings(max_examples=12)
def test_every_value_arrives_unchanged_in_a_real_process(style, config):
    argv = expand(("{args}", "{{as}} is"), {}, config, Args(style=style))
    *words, last = seen(*argv)  # behaviours 36
    assert read_back(words, style) == {key: str(value) for key, value in config.items()}
    assert last == "{as} is"


@pytest.mark.parametrize("style", STYLES)
@given(config=CONFIGS)
def test_every_number_keeps_its_value(style, config):
    told = read_back(Args(style=style).write(config), style)
    for key, value in config.items():
        assert type(value)(told[key]) == value


@given(value=TEXTS)
def test_a_placeholder_takes_any_value_as_it_is(value):
    assert expand(("x{name}y",), {}, {"name": value}, Args()) == (f"x{value}y",)


@pytest.mark.parametrize(
    ("rule", "on", "off"),
    [
        ("value", ["--x=True"], ["--x=False"]),
        ("lower", ["--x=true"], ["--x=false"]),
        ("pair", ["--x"], ["--no-x"]),
        ("flag", ["--x"], []),
    ],
)
def test_booleans_are_written_by_their_rule(rule, on, off):
    args = Args(booleans=rule)  # behaviours 35
    assert args.write({"x": True}) == on
    assert args.write({"x": False}) == off


@pytest.mark.parametrize(
    ("style", "rule", "words"),
    [
        ("--{key}={value}", "comma", ["--x=1,a b"]),
        ("--{key}={value}", "repeated", ["--x=1", "--x=a b"]),
        ("--{key} {value}", "repeated", ["--x", "1", "--x", "a b"]),
        ("--{key} {value}", "joined", ["--x", "1", "a b"]),
        ("{key}={value}", "brackets", ["x=[1,a b]"]),
    ],
)
def test_lists_are_written_by_their_rule(style, rule, words):
    assert Args(style=style, lists=rule).write({"x": [1, "a b"]}) == words  # behaviours 35


@pytest.mark.parametrize("lists", ["comma", "brackets"])
def test_a_list_that_commas_would_spoil_is_refused_with_the_way_out(lists):
    with pytest.raises(InputError, match="use lists: repeated"):
        Args(lists=lists).write({"x": ["a,b", "c"]})


def test_lists_of_lists_stand_in_brackets_only():
    assert Args(lists="brackets").write({"x": [[1, 2], [3]]}) == ["--x=[[1,2],[3]]"]
    with pytest.raises(InputError, match="use lists: repeated"):
        Args().write({"x": [[1, 2], [3]]})


ITEMS = (TEXTS | NUMBERS).filter(lambda item: not re.search("^-|,", str(item)))
LISTS = st.lists(ITEMS, min_size=1, max_size=3)
LEAVES = TEXTS | NUMBERS | st.booleans() | st.none() | LISTS
TREES = st.dictionaries(
    st.sampled_from("abc"), LEAVES | st.dictionaries(st.sampled_from("xyz"), LEAVES), max_size=4
)


def argparse_of(config, booleans, lists):
    """A parser as a script would have it, for the keys of a config."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    flags: Any = {"pair": argparse.BooleanOptionalAction, "flag": "store_true"}
    many: Any = {"repeated": {"action": "append"}, "joined": {"nargs": "+"}}
    for key, value in leaves(config):
        how: Any = {}
        if isinstance(value, bool):
            how = {"action": flags[booleans]} if booleans in flags else {}
        elif isinstance(value, list):
            how = many.get(lists, {})
        parser.add_argument(f"--{key}", **how)
    return parser


def as_read(value, booleans, lists):
    """What argparse makes of a value."""
    if isinstance(value, bool) and booleans in ("pair", "flag"):
        return value
    if isinstance(value, bool):
        return str(value).lower() if booleans == "lower" else str(value)
    if isinstance(value, list):
        words = [str(item) for item in value]
        joint = ",".join(words)
        return {"comma": joint, "brackets": f"[{joint}]"}.get(lists, words)
    return str(value)


def dashed(value):
    """Whether argparse may take a value that stands alone for an option: only ``=`` helps."""
    inside = dict(leaves({"x": value})).values()
    return any(str(item).startswith("-") for item in inside)


@given(config=TREES)
@settings(max_examples=15)
def test_any_config_is_what_argparse_reads_in_a_real_process(config):
    written = []
    for booleans, lists in itertools.product(BOOLEAN_RULES, LIST_RULES):
        style = "--{key} {value}" if lists == "joined" else "--{key}={value}"
        safe = {k: v for k, v in config.items() if lists != "joined" or not dashed(v)}
        args = Args(style=style, booleans=booleans, lists=lists)
        written.append((safe, booleans, lists, expand(("{args}",), {}, safe, args)))
    arrived = iter(seen(*(word for *_, words in written for word in words)))
    for safe, booleans, lists, words in written:
        own = [next(arrived) for _ in words]
        told = vars(argparse_of(safe, booleans, lists).parse_args(own))
        assert told == {key: as_read(value, booleans, lists) for key, value in leaves(safe)}


def test_nested_keys_are_dotted_or_flat_and_null_is_left_out():
    config = {"model": {"depth": 2, "width": None}, "rate": None}  # behaviours 37
    assert Args().write(config) == ["--model.depth=2"]
    assert Args(keys="flat").write(config) == ["--depth=2"]


def test_flat_keys_that_collide_are_refused():
    with pytest.raises(InputError, match=r"a\.x and b\.x are both --x"):
        Args(keys="flat").write({"a": {"x": 1}, "b": {"x": 2}})


def test_what_has_a_placeholder_is_not_in_args_again():
    argv = expand(("{data}", "{args}"), {}, {"data": "text", "rate": 1.5}, Args())
    assert argv == ("text", "--rate=1.5")


def test_an_argument_whose_value_is_null_is_left_out():
    assert expand(("--a={a}", "--b={b}"), {}, {"a": None, "b": 1}, Args()) == ("--b=1",)


def test_facts_come_before_keys_of_the_same_name():
    assert expand(("{seed}",), {"seed": "7"}, {"seed": 1}, Args()) == ("7",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("--lr={rtae}", "did you mean 'rate'"),
        ("{model.dept}", "did you mean 'model.depth'"),
        ("x{args}", "needs one of its own"),
        ("{", "write a literal brace twice"),
        ('{"json": 1}', "a literal brace is written twice"),
    ],
)
def test_a_wrong_placeholder_is_named_with_the_way_out(text, told):
    assert told in check(text, {"rate": 1, "model": {"depth": 2}})


@pytest.mark.parametrize("text", ["{rate}", "{model.depth}", "{{x}}", "{out}/{seed}", "{config}"])
def test_a_right_placeholder_is_let_through(text):
    assert check(text, {"rate": 1, "model": {"depth": 2}}) == ""


def test_doubled_braces_hold_no_placeholder():
    assert placeholders("{{rate}} {x}") == ["x"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"style": "--{value}"}, "write {key}, then {value}"),
        ({"style": "--{key} : {value}"}, "write {key}, then {value}"),
        ({"lists": "joined"}, "joined lists need a space"),
        ({"style": "{key}={value}", "booleans": "pair"}, "a bare flag starts with --"),
    ],
)
def test_a_style_that_cannot_work_is_refused(options, told):
    with pytest.raises(ConfigError, match=told.replace("{", r"\{")):
        Args.read(Document(options))


def test_a_zero_byte_is_refused():
    with pytest.raises(InputError, match="zero byte"):
        expand(("{args}",), {}, {"x": "a\0b"}, Args())
