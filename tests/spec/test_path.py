from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.path import Path, PathError

CONFIG: Any = {
    "layers": [{"norm": {"kind": "a", "n": 3}}, {"norm": {"kind": "b", "n": 4}}],
    "lr": 0.1,
}

keys = st.text("abcdefgh_-0", min_size=1, max_size=6)
trees = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda below: (
        st.lists(below, min_size=1, max_size=3)
        | st.dictionaries(keys, below, min_size=1, max_size=3)
    ),
    max_leaves=12,
)


def leaves(data, steps=()):
    if isinstance(data, dict):
        return [leaf for key, item in data.items() for leaf in leaves(item, (*steps, key))]
    if isinstance(data, list):
        return [leaf for i, item in enumerate(data) for leaf in leaves(item, (*steps, i))]
    return [Path(steps)] if steps and isinstance(steps[0], str) else []


@given(trees)
def test_every_leaf_can_be_written_parsed_read_and_replaced(tree):
    for path in leaves(tree):
        assert Path.parse(str(path)) == path
        changed = path.set(tree, "new")
        assert path.get(changed) == "new"
        assert path.set(changed, path.get(tree)) == tree


def test_each_stands_for_one_path_per_item_and_all_for_one_together():
    each = Path.parse("layers[*].norm.n").expand(CONFIG)
    assert [str(path) for path in each] == ["layers[0].norm.n", "layers[1].norm.n"]
    together = Path.parse("layers[:].norm.n")
    assert together.expand(CONFIG) == [together]
    assert together.get(CONFIG) == [3, 4]
    assert together.get(together.set(CONFIG, [7, 8])) == [7, 8]


def test_setting_leaves_the_original_alone():
    Path.parse("layers[0].norm.n").set(CONFIG, 9)
    assert CONFIG["layers"][0]["norm"]["n"] == 3


def test_put_makes_the_keys_that_are_missing():
    assert Path.parse("a.b.c").put({"a": {"x": 1}}, 2) == {"a": {"x": 1, "b": {"c": 2}}}
    with pytest.raises(PathError, match="lr"):
        Path.parse("lr.x").put(CONFIG, 1)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("layers[*].nrm", "did you mean 'norm'"),
        ("blox", "no key 'blox'"),
        ("layers[9]", "past the 2 items"),
        ("lr[*]", "needs a list"),
        ("layers[:].norm.q", "known: kind, n"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_left_the_way(text, rule):
    def values():
        return [path.get(CONFIG) for path in Path.parse(text).expand(CONFIG)]

    with pytest.raises(PathError, match=rule):
        values()


@pytest.mark.parametrize("text", ["", ".a", "a..b", "[x]", "a[", "a[-1]", "a[0]b"])
def test_what_is_no_path_is_refused(text):
    with pytest.raises(PathError):
        Path.parse(text)
