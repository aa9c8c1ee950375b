"""How a config reaches a script: every style and rule, and every value unchanged."""

import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.trainers.arguments import Args, check, expand, placeholders
from spec.errors import ConfigError, InputError
from spec.yaml import Document
from tests.search.foreign import TOYS, interpreter

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


def test_a_list_that_commas_would_spoil_is_refused_with_the_way_out():
    with pytest.raises(InputError, match="use lists: repeated"):
        Args().write({"x": ["a,b", "c"]})


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
