import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from search.moves import Edit, Space, check_paths, neighbours
from spec.errors import InputError

FULL = {
    "layers": [
        {"norm": {"kind": "rms", "eps": 1e-5}, "hidden": 64, "heads": 2},
        {"norm": {"kind": "rms", "eps": 1e-5}, "hidden": 128, "heads": 2},
    ],
    "width": 4,
    "rate": 1e-3,
    "tied": True,
}


def space(**rules):
    return TypeAdapter(Space).validate_python(
        {key.replace("__", "."): rule for key, rule in rules.items()}
    )


def moves(rule, path):
    return {
        edit.move: edit.value
        for edit in neighbours(TypeAdapter(Space).validate_python({path: rule}), FULL)
    }


def test_a_step_goes_both_ways_and_each_layer_on_its_own():
    edits = neighbours(TypeAdapter(Space).validate_python({"layers[*].hidden": {"step": 32}}), FULL)
    assert [(edit.path, edit.value) for edit in edits] == [
        ("layers[0].hidden", 96),
        ("layers[0].hidden", 32),
        ("layers[1].hidden", 160),
        ("layers[1].hidden", 96),
    ]


def test_all_layers_move_together_and_one_at_its_bound_stays():
    assert moves({"step": 64, "max": 128}, "layers[:].hidden")["+64"] == [128, 128]


def test_a_range_keeps_its_ends():
    assert moves({"step": 1, "min": 3, "max": 5}, "width") == {"+1": 5, "-1": 3}  # behaviours 33
    assert moves({"step": 1, "min": 4, "max": 4}, "width") == {}


def test_a_factor_keeps_whole_values_whole_and_there_and_back_is_one_value():
    assert moves({"scale": 1.5}, "width") == {"x1.5": 6, "/1.5": 3}
    assert moves({"scale": 1.5, "multiple_of": 4}, "width") == {"x1.5": 8}
    there = moves({"scale": 1.5}, "rate")["/1.5"]
    back = neighbours(TypeAdapter(Space).validate_python({"rate": {"scale": 1.5}}), {"rate": there})
    assert back[0].value == 1e-3


def test_choices_leave_out_what_is_there_by_name_or_by_options():
    assert moves({"choices": ["rms", "layer"]}, "layers[0].norm") == {"layer": "layer"}
    assert list(
        moves(
            {"choices": [{"kind": "rms", "eps": 1e-5}, {"kind": "rms", "eps": 0.1}]},
            "layers[0].norm",
        )
    ) == ["rms(eps=0.1)"]
    assert moves({"choices": [True, False]}, "tied") == {"False": False}
    assert moves({"choices": ["rms", "layer"]}, "layers[:].norm") == {"layer": ["layer", "layer"]}


def test_layers_are_duplicated_and_dropped_within_bounds():
    both = {"duplicate": "each", "drop": "last", "min": 2, "max": 3}
    edits = neighbours(TypeAdapter(Space).validate_python({"layers": both}), FULL)
    assert [(edit.path, edit.op) for edit in edits] == [
        ("layers[0]", "duplicate"),
        ("layers[1]", "duplicate"),
    ]
    grown = edits[0].apply(FULL)
    assert [layer["hidden"] for layer in grown["layers"]] == [64, 64, 128]
    fewer = Edit("layers[0]", "drop").apply(grown)
    assert fewer == FULL


@given(st.sampled_from(["layers[*].hidden", "layers[:].heads", "width"]), st.integers(1, 50))
def test_no_edit_changes_nothing_and_every_step_can_be_undone(path, step):
    rules = TypeAdapter(Space).validate_python({path: {"step": step}})
    for edit in neighbours(rules, FULL):
        changed = edit.apply(FULL)
        assert changed != FULL
        assert FULL in [back.apply(changed) for back in neighbours(rules, changed)]


def test_a_move_has_the_same_name_wherever_it_starts():
    rules = TypeAdapter(Space).validate_python({"width": {"step": 2}})
    assert (
        neighbours(rules, {"width": 4})[0].key
        == neighbours(rules, {"width": 8})[0].key
        == "width +2"
    )


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"stepp": 1}, "did you mean 'step'"),
        ({"step": 1, "maxx": 2}, "did you mean 'max'"),
        ({"step": 0}, "greater than 0"),
        ({"scale": 1}, "greater than 1"),
        ({"step": 1, "min": 3, "max": 2}, "max 2 is below min 3"),
        ({"choices": []}, "at least 1"),
        (3, "is no rule"),
        ({}, "keys none"),
    ],
)
def test_a_wrong_rule_is_refused_with_the_way_out(rule, said):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Space).validate_python({"width": rule})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("tied", {"step": 1}),
        ("layers[0].norm", {"scale": 2}),
        ("width", {"duplicate": "each"}),
    ],
)
def test_a_rule_that_does_not_fit_the_value_is_told(path, rule):
    with pytest.raises(InputError, match=r"tied|norm|width"):
        neighbours(TypeAdapter(Space).validate_python({path: rule}), FULL)


def test_a_path_that_leads_nowhere_is_told_unless_a_choice_may_lead_there():
    rules = TypeAdapter(Space).validate_python({"widht": {"step": 1}})
    with pytest.raises(InputError, match="did you mean 'width'"):
        check_paths(rules, FULL)
    option = {"layers[*].norm.groups": {"step": 1}}
    with pytest.raises(InputError, match="groups"):
        check_paths(TypeAdapter(Space).validate_python(option), FULL)
    norms = {"layers[:].norm": {"choices": ["rms", "group"]}}
    rules = TypeAdapter(Space).validate_python({**norms, **option})
    check_paths(rules, FULL)
    assert {edit.move for edit in neighbours(rules, FULL)} == {"group"}
