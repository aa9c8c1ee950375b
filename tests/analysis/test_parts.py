"""The parts of a report: numbers, windows, samples, the Pareto front, differences."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.blocks import Table
from analysis.figures.front import Spot, undominated
from analysis.figures.rounds import attempts_table
from analysis.style import duration, number, safe, signed, thin, window
from analysis.summary import differences

VALUES = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_the_front_is_exactly_what_nothing_beats(points):
    spots = [Spot((), float(cost), float(value)) for cost, value in points]
    edge = {(spot.cost, spot.value) for spot in undominated(spots)}

    def beaten(spot: Spot) -> bool:
        return any(
            (other.cost, other.value) != (spot.cost, spot.value)
            and other.cost <= spot.cost
            and other.value <= spot.value
            for other in spots
        )

    assert edge == {(spot.cost, spot.value) for spot in spots if not beaten(spot)}


@given(st.lists(st.integers(), max_size=60, unique=True), st.integers(1, 40), st.data())
def test_a_sample_keeps_what_is_important_and_the_order(numbers, most, data):
    items = [[value] for value in numbers]
    important = data.draw(st.lists(st.sampled_from(items), max_size=5)) if items else []
    kept = thin(items, important, most)
    assert kept == [item for item in items if item in kept]
    assert all(item in kept for item in important)
    assert len(kept) <= max(most, len(important) + 1)


@given(st.lists(VALUES, max_size=30), st.lists(VALUES, max_size=5))
def test_a_window_is_finite_and_holds_what_must_be_seen(values, always):
    found = window(values, always)
    if found is None:
        assert not any(map(math.isfinite, [*values, *always]))
        return
    assert found[0] < found[1] or max(map(abs, found)) > 1e300
    assert all(found[0] <= value <= found[1] for value in always if abs(value) < 1e300)


def test_a_few_wild_values_do_not_stretch_a_window():
    low, high = window([2.0, 2.01, 2.02, 2.03, 2.04, 2.05, 2.06, 900.0]) or (0, 0)
    assert low < 2.0
    assert high < 3


@given(st.text())
def test_a_safe_text_holds_no_markup(text):
    assert "<" not in safe(text)
    assert ">" not in safe(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "–"), (math.inf, "∞"), (0.123456, "0.1235"), (158336, "158,336"),
     (1.5e9, "1,500,000,000"), (2.0, "2")],
)  # fmt: skip
def test_numbers_are_for_people(value, text):
    assert number(value) == text


def test_differences_have_a_sign():
    assert (signed(12.0), signed(-0.5), signed(0.0)) == ("+12", "−0.5", "0")


def test_a_duration_is_in_its_natural_unit():
    told = [duration(seconds).replace("\u00a0", " ") for seconds in (4.2, 300, 7200, 864000)]
    assert told == ["4.2 s", "5 min", "2 h", "10 d"]


def test_a_confirmation_of_times_shows_medians_and_misses_and_no_loss():
    side = {"seconds": 8.25, "missed": False, "misses": 0, "seeds": 3}
    late = {"seconds": 61.0, "missed": True, "misses": 2, "seeds": 3}
    losses = {"incumbent_loss": 1.9, "loss": 1.8}
    time = {"candidate": side, "incumbent": late, "rank_p": 0.05}
    attempt = {"key": "a", "gain": None, "confirmed": True, **losses}
    (table,) = attempts_table([], [{**attempt, "time": time}], "median seconds")
    assert isinstance(table, Table)
    assert isinstance(table.caption, str)
    assert table.rows[0][5] == "over 61 s (2 of 3 missed) → 8.25 s"
    assert "p = 0.05" in table.caption
    (plain,) = attempts_table([], [attempt], "loss on the fresh seeds")
    assert isinstance(plain, Table)
    assert plain.rows[0][5] == "1.9000 → 1.8000"


def test_differences_name_the_leaves():
    before = {"model": {"layers": [{"mlp": 1}, {"mlp": 2}]}, "rate": 0.1, "old": 1}
    after = {"model": {"layers": [{"mlp": 1}, {"mlp": 3}]}, "rate": 0.2, "new": None}
    assert list(differences(before, after)) == [
        ("model.layers[1].mlp", "2", "3"),
        ("rate", "0.1", "0.2"),
        ("old", "1", "–"),
        ("new", "–", "None"),
    ]


def test_lists_of_other_lengths_are_counted():
    found = list(differences({"layers": [{}, {}]}, {"layers": [{}, {}, {}]}))
    assert found == [("layers", "2 items", "3 items, see the YAML")]
