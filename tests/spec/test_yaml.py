import math
from pathlib import Path

import pytest
import yaml as pyyaml  # noqa: TID251  # what the ancestor's viewers read with
from hypothesis import given
from hypothesis import strategies as st

from spec import yaml
from spec.errors import ConfigError, InputError

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False)
    | st.text(
        st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Co", "Cn"]), max_size=12
    ),
    lambda below: (
        st.lists(below, max_size=4) | st.dictionaries(st.text("abc", min_size=1), below, max_size=4)
    ),
    max_leaves=10,
)


def test_scalars_keep_the_meaning_a_person_expects():
    text = "[1e-4, 1e6, off, no, 0123, 2:30, 2_000_000, yes, ~, true]"  # behaviours 34
    expected = [1e-4, 1e6, "off", "no", 123, "2:30", 2_000_000, "yes", None, True]
    data = yaml.parse(text).data
    assert data == expected
    assert [type(item) for item in data] == [type(item) for item in expected]


@given(values)
def test_what_is_written_reads_back_alike_here_and_in_pyyaml(value):
    text = yaml.dump({"value": value})
    assert yaml.parse(text).data == {"value": value}
    assert pyyaml.safe_load(text) == {"value": value}


WORDS = """off no y 2:30 0123 1e-4 1_000 null ~ = 0x1f 12:30:45 .5 1. +1 2001-01-01 true .nan"""


@pytest.mark.parametrize("word", [*WORDS.split(), ""])
def test_words_that_look_like_something_else_stay_words(word):
    text = yaml.dump([word, {"key": word}])
    assert yaml.parse(text).data == [word, {"key": word}]
    assert pyyaml.safe_load(text) == [word, {"key": word}]


def test_infinity_and_nan_survive():
    text = yaml.dump([math.inf, -math.inf, math.nan])
    for data in (yaml.parse(text).data, pyyaml.safe_load(text)):
        assert data[:2] == [math.inf, -math.inf]
        assert math.isnan(data[2])


def test_a_place_is_found_also_for_a_key_with_dots_and_for_the_nearest_written_parent():
    document = yaml.parse("a:\n  b.c: 1\n  d: [1, 2]\n", Path("f.yaml"))
    assert document.place(("a", "b.c")) == "f.yaml:2:3"
    assert document.place(("a", "d", 1)) == "f.yaml:3:10"
    assert document.place(("a", "unwritten")) == "f.yaml:1:1"


@pytest.mark.parametrize("text", ["a: [1\nb: 2", "a: 1\na: 2", "a: b: c", "\t- x", "a: *nowhere"])
def test_broken_yaml_is_told_with_its_line(text):
    with pytest.raises(ConfigError, match=r"f\.yaml:\d+:\d+: not YAML"):
        yaml.parse(text, Path("f.yaml"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        yaml.read(tmp_path / "none.yaml")
