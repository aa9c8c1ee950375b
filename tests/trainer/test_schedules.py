"""Every schedule rises in its warm-up, never rises afterwards, and depends on progress alone."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.components.schedule import schedules

every_schedule = pytest.mark.parametrize("kind", list(schedules))
horizons = st.integers(1, 300)
warmups = st.integers(0, 20)


def factors(schedule, planned):
    return [schedule.factor(step, planned) for step in range(planned)]


@every_schedule
@given(planned=horizons, warmup=warmups)
def test_every_step_has_a_factor_between_zero_and_one(kind, planned, warmup):
    found = factors(schedules.parse({"kind": kind, "warmup_steps": warmup}), planned)
    assert all(0 < factor <= 1 for factor in found)


@every_schedule
@given(planned=horizons, warmup=warmups)
def test_the_rate_rises_in_the_warm_up_and_never_afterwards(kind, planned, warmup):
    found = factors(schedules.parse({"kind": kind, "warmup_steps": warmup}), planned)
    rise, rest = found[:warmup], found[warmup:]
    assert all(one < two for one, two in pairwise(rise))
    assert all(one >= two for one, two in pairwise(rest))
    assert not rest or rest[0] == 1


@every_schedule
@given(planned=horizons, step=st.integers(0, 299), times=st.integers(1, 9))
def test_a_longer_horizon_stretches_the_same_shape(kind, planned, step, times):
    schedule = schedules.parse(kind)
    step %= planned
    assert schedule.factor(step, planned) == schedule.factor(step * times, planned * times)


@pytest.mark.parametrize("final", [0.0, 0.25])
@pytest.mark.parametrize("kind", ["cosine", "wsd"])
def test_decay_ends_at_the_floor(kind, final):
    schedule = schedules.parse({"kind": kind, "final": final})
    assert schedule.factor(9_999, 10_000) == pytest.approx(final, abs=1e-3)


def test_the_cosine_is_half_way_down_in_the_middle():
    schedule = schedules.parse({"kind": "cosine", "final": 0.2})
    assert schedule.factor(50, 100) == pytest.approx(0.6)


@pytest.mark.parametrize(("shape", "middle"), [("linear", 0.5), ("sqrt", 1 - math.sqrt(0.5))])
def test_wsd_is_flat_and_then_falls_in_its_last_share(shape, middle):
    schedule = schedules.parse({"kind": "wsd", "decay": 0.2, "decay_shape": shape})
    assert factors(schedule, 100)[:81] == [1.0] * 81
    assert schedule.factor(90, 100) == pytest.approx(middle)


def test_a_full_decay_falls_from_the_first_step():
    schedule = schedules.parse({"kind": "wsd", "decay": 1.0})
    assert factors(schedule, 4) == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_constant_is_constant_after_the_warm_up():
    schedule = schedules.parse({"kind": "constant", "warmup_steps": 3})
    assert factors(schedule, 5) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
