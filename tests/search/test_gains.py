import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.gains import (
    Gain,
    Noise,
    best,
    compare,
    crossing,
    floored,
    pooled_noise,
    smallest_detectable,
)
from spec.records import Eval


def curve(*losses, every=10.0):
    return tuple(
        Eval(step=10 * i, tokens=100 * i, train_seconds=every * i, val_loss=loss)
        for i, loss in enumerate(losses, 1)
    )


def test_the_crossing_lies_between_the_evaluations_around_it():
    found = crossing(curve(3.0, 2.0, 1.0), 1.5)
    assert (found.seconds, found.tokens, found.steps, found.censored) == (25.0, 250.0, 25.0, False)


def test_the_crossing_moves_little_when_evaluations_are_twice_as_rare():
    def loss(t):  # behaviours 10
        return 1.5 + 2.0 * math.exp(-t / 40)

    fine = tuple(Eval(step=t, train_seconds=t, val_loss=loss(t)) for t in range(5, 205, 5))
    exact = 40 * math.log(2.0 / 0.5)
    assert crossing(fine, 2.0).seconds == pytest.approx(exact, rel=0.01)
    assert crossing(fine[1::2], 2.0).seconds == pytest.approx(exact, rel=0.01)


def test_first_and_sustained_differ_for_a_curve_that_comes_back():
    noisy = curve(3.0, 1.9, 2.2, 1.8, 1.7)  # behaviours 11
    assert crossing(noisy, 2.0, "first").seconds < 20.0
    assert 30.0 < crossing(noisy, 2.0, "sustained").seconds < 40.0


def test_a_missed_target_is_censored_at_the_end_of_the_curve():
    found = crossing(curve(3.0, 2.5), 2.0)  # behaviours 9
    assert found.censored
    assert found.seconds == 20.0
    assert crossing((), 2.0) is None


@given(
    st.lists(st.floats(0.1, 10) | st.just(math.nan) | st.just(math.inf), max_size=8),
    st.floats(0.5, 5),
)
def test_a_crossing_is_always_a_finite_time_on_the_curve(losses, target):
    found = crossing(curve(*losses), target)
    if losses:
        assert 0 < found.seconds <= 10.0 * len(losses)
        assert found.censored or any(loss <= target for loss in losses)


def test_the_best_evaluation_is_finite():
    assert best(curve(3.0, math.nan, 2.0, math.inf)).val_loss == 2.0
    assert best(curve(math.nan)) is None


def world(configs, seeds, deviation, seed_effect=1.0, rng=None):
    rng = rng or random.Random(1)
    effects = {seed: rng.gauss(0, seed_effect) for seed in seeds}
    return {
        f"c{i}": {seed: i + effects[seed] + rng.gauss(0, deviation) for seed in seeds}
        for i in range(configs)
    }


def test_noise_is_what_is_left_when_config_and_seed_are_known():
    noise = pooled_noise(world(40, range(10), 0.3, seed_effect=5.0))
    assert noise.paired
    assert noise.freedom == 39 * 9
    assert noise.deviation == pytest.approx(0.3, rel=0.1)


def test_noise_at_small_n_is_unbiased_over_many_studies():
    rng = random.Random(2)
    found = [pooled_noise(world(3, range(3), 1.0, rng=rng)).deviation ** 2 for _ in range(600)]
    assert statistics.mean(found) == pytest.approx(1.0, rel=0.1)


def test_repeats_of_one_config_alone_give_noise_that_is_not_paired():
    noise = pooled_noise({"a": {1: 1.0, 2: 3.0}, "b": {3: 1.0}})
    assert noise == Noise(math.sqrt(2.0), 1, paired=False)
    assert pooled_noise({"a": {1: 1.0}, "b": {1: 2.0}}) is None
    assert pooled_noise({}) is None


def test_the_noise_does_not_depend_on_the_order_of_arrival():
    table = world(5, range(4), 0.3)
    shuffled = {config: dict(reversed(row.items())) for config, row in reversed(table.items())}
    assert pooled_noise(shuffled) == pooled_noise(table)


def test_a_gain_takes_only_common_seeds_and_its_error_shrinks_with_them():
    noise = Noise(1.0, 30)
    one = compare({1: 2.0, 9: 99.0}, {1: 1.0, 2: 5.0}, noise)  # behaviours 6, 7
    four = compare(dict.fromkeys(range(4), 2.0), dict.fromkeys(range(4), 1.0), noise)
    assert (one.mean, one.seeds) == (1.0, 1)
    assert four.error == pytest.approx(one.error / 2)
    assert compare({1: 1.0}, {2: 1.0}, noise) is None


def test_a_missed_target_is_worse_than_every_hit_and_never_nan():
    # behaviours 9
    table = floored({"a": {1: -math.inf, 2: -2.0}, "b": {1: -3.0, 2: -2.0}, "c": {1: -math.inf}})
    assert table["a"][1] == table["c"][1] == pytest.approx(-3.0 - math.log(2))
    assert table["b"] == {1: -3.0, 2: -2.0}
    assert compare(table["a"], table["b"], None).mean < 0
    assert compare(table["a"], table["c"], None).mean == 0.0
    assert floored({"a": {1: -math.inf}}) == {"a": {1: 0.0}}


def test_bounds_and_p_agree():
    gain = Gain(1.0, 0.5, 7, 3)
    at = gain.low(1 - gain.p_value())
    assert at == pytest.approx(0.0, abs=1e-9)
    assert gain.low() < 1.0 < gain.high()
    assert Gain(1.0, None, 0, 1).p_value() is None
    assert gain.p_value(margin=-1.0) < gain.p_value()


def test_the_smallest_detectable_effect_is_found_at_the_stated_power():
    rng, noise = random.Random(3), Noise(1.0, 10_000)
    effect = smallest_detectable(noise, 4, 0.05, power=0.8)
    found = 0
    for _ in range(2000):
        ours = {s: effect + rng.gauss(0, 1) for s in range(4)}
        theirs = {s: rng.gauss(0, 1) for s in range(4)}
        found += compare(ours, theirs, noise).p_value() <= 0.05
    assert found / 2000 == pytest.approx(0.8, abs=0.03)


def test_a_config_that_is_noisier_than_the_pool_is_judged_by_its_own_noise():
    rng, pool, rounds = np.random.default_rng(0), Noise(1.0, 20), 4000
    wrong, plain = 0, 0
    for _ in range(rounds):
        wild, calm = rng.normal(0.0, 3.0, 6), rng.normal(0.0, 1.0, 6)
        gap = dict(enumerate(wild - calm))
        own = pooled_noise({"one": gap})
        gain = compare(dict(enumerate(wild)), dict(enumerate(calm)), pool)
        plain += gain.p_value() <= 0.05
        wrong += gain.with_own(pool, own).p_value() <= 0.05
    assert plain / rounds > 0.2
    assert wrong / rounds < 0.07


def test_a_config_as_noisy_as_the_pool_is_judged_by_the_pool():
    gain, pool = compare({1: 2.0, 2: 2.1}, {1: 1.0, 2: 1.0}, Noise(1.0, 20)), Noise(1.0, 20)
    assert gain.with_own(pool, Noise(1.5, 1)) == gain
    assert gain.with_own(pool, None) == gain
    assert gain.with_own(Noise(0.0, 20), Noise(0.1, 1)).freedom == 1
