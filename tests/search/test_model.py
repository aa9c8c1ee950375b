"""The parts of guided search: the space as a lattice, the model of quality, and the climb on it."""

from __future__ import annotations

import itertools
import math
from functools import partial
from statistics import fmean

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from search.moves import Space
from search.strategies.draws import lattice_of
from search.strategies.model.ascent import Climb, Moves
from search.strategies.model.axes import axes
from search.strategies.model.conjugate import GAINS, SCALE, SHAPE
from search.strategies.model.ensemble import Ensemble, View
from search.strategies.model.features import Features
from search.strategies.model.forms import Array, Bumps, Waves, matern, squared
from search.strategies.model.lattice import Lattice, Points
from search.strategies.model.own import BELIEFS, RATIOS, Own, spreads
from search.strategies.model.process import Process
from search.strategies.model.relevance import _cost, lengths, typical
from search.strategies.model.seeds import SeedEffects, seed_effects
from search.strategies.model.surrogate import PRIORS, TYPICAL, Surrogate
from search.strategies.model.tariff import Tariff, price
from spec.errors import InputError
from tests.search.landscape import SPACE, Hill


@pytest.fixture(scope="module")
def lattice() -> Lattice:
    return lattice_of(Hill().problem())


def test_the_baseline_is_a_point_without_changes(lattice: Lattice):
    assert lattice.edit(lattice.start) is None
    assert lattice.config(lattice.start) is lattice.baseline


def test_a_config_and_its_point_lead_to_each_other(lattice: Lattice):
    points = lattice.scattered(np.random.default_rng(1), 200)
    known = 0
    for point, answer in zip(points, lattice.described(points), strict=True):
        if answer is None:
            continue
        known += 1
        active = lattice.active(point[None])[0]
        gone = answer.config["layers"][0]["mlp"]["kind"] == "none"
        for axis in lattice.axes:
            span = lattice.coordinates(axis)
            if not (gone and axis.name.endswith("hidden")):
                assert (lattice.encode(answer)[span] == point[span])[active[span]].all()
    assert known > 100


def test_options_follow_the_component_that_has_them(lattice: Lattice):
    point = lattice.start.copy()
    (mlp,) = (axis for axis in lattice.axes if axis.name == "layers[:].mlp")
    point[lattice.coordinates(mlp)] = mlp.levels.index("none")
    assert lattice.config(point)["layers"] == [{"heads": 1, "mlp": {"kind": "none"}}] * 2
    point[lattice.coordinates(mlp)] = mlp.levels.index("gated")
    layers = lattice.config(point)["layers"]
    assert layers == [{"heads": 1, "mlp": {"kind": "gated", "hidden": 64}}] * 2


def test_layers_that_are_not_there_have_no_effect(lattice: Lattice):
    features = Features(lattice)
    point = lattice.start.copy()
    other = point.copy()
    (heads,) = (axis for axis in lattice.axes if axis.name == "layers[*].heads")
    other[lattice.coordinates(heads).stop - 1] = 2
    assert (features(point[None]) == features(other[None])).all()
    assert lattice.config(point) == lattice.config(other)


@pytest.mark.parametrize("rule", [{"step": 16, "min": 16}, {"scale": 2, "max": 1e9}])
def test_a_rule_without_an_end_is_refused_with_a_way_out(rule: dict[str, float]):
    world = Hill(space={**SPACE, "width": rule, "layers": {"duplicate": "each"}})
    with pytest.raises(InputError, match="give the rule a max"):
        lattice_of(world.problem())


def test_costs_are_known_without_describing_every_point(lattice: Lattice):
    tariff = Tariff(lattice, ["parameters"], seed=1)
    points = lattice.scattered(np.random.default_rng(2), 300)
    guessed = tariff.costs["parameters"](lattice.marks(points))
    pairs = zip(guessed, lattice.described(points), strict=True)
    errors = [abs(g / price("parameters", a) - 1) for g, a in pairs if a is not None]
    assert np.quantile(errors, 0.9) < 0.1


def _effects(features: Features, points: Points, rng: np.random.Generator) -> Array:
    scale = [1.0 if group == "main" else 0.05 for group in features.groups]
    weights: Array = rng.standard_normal(len(features.groups)) * scale
    values: Array = features(points) @ weights
    return values


def test_a_form_is_what_the_features_come_to(lattice: Lattice):
    features, rng = Features(lattice), np.random.default_rng(8)
    points, weights = lattice.scattered(rng, 50), rng.standard_normal(len(features.groups))
    kinds = np.array(features.groups)
    crossed = np.zeros(len(features.crossed))
    crossed[features.crossed] = weights[kinds == "cross"]
    single = weights[kinds != "cross"]
    form = features.table.form(single, squared(crossed, features.mains), 0.5)
    assert np.allclose(form(lattice.marks(points)), 0.5 + features(points) @ weights)


def test_smooth_parts_of_a_form_are_functions_of_the_common_effects(lattice: Lattice):
    features, rng = Features(lattice), np.random.default_rng(8)
    points, mains = lattice.scattered(rng, 50), features.mains
    waves = Waves(rng.standard_normal((mains, 7)), rng.standard_normal(7), rng.standard_normal(7))
    bumps = Bumps(rng.uniform(0.5, 2.0, mains), rng.standard_normal((3, mains)), np.arange(3.0))
    told = features.smooth(0.5, waves, bumps)(lattice.marks(points))
    for value, point in zip(told, features.common(points), strict=True):
        whole = 0.5 + np.cos(point @ waves.along + waves.phases) @ waves.heights
        for centre, height in zip(bumps.centres, bumps.heights, strict=True):
            far = math.sqrt(5.0 * float((((point - centre) * bumps.rates) ** 2).sum()))
            whole += height * (1.0 + far + far**2 / 3.0) * math.exp(-far)
        assert value == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_model_learns_effects_from_few_points(lattice: Lattice, noise: float):
    rng = np.random.default_rng(3)
    features, points = Features(lattice), lattice.scattered(rng, 260)
    values = _effects(features, points, np.random.default_rng(4))
    seen, unseen = slice(0, 60), slice(60, None)
    noisy = values[seen] + noise * values.std() * rng.standard_normal(60)
    model = Surrogate(features, points[seen], noisy)
    guessed = model.mean()(lattice.marks(points[unseen]))
    left = ((guessed - values[unseen]) ** 2).mean() / values[unseen].var()
    assert left < (0.05 if noise == 0.0 else 0.15)


def test_draws_agree_where_much_was_measured_and_differ_elsewhere(lattice: Lattice):
    rng = np.random.default_rng(5)
    features, points = Features(lattice), lattice.scattered(rng, 120)
    narrow = points.copy()
    (width,) = (axis for axis in lattice.axes if axis.name == "width")
    narrow[:, lattice.coordinates(width)] = lattice.start[lattice.coordinates(width)]
    model = Surrogate(features, narrow, _effects(features, narrow, np.random.default_rng(6)))
    draws = [model.sample(np.random.default_rng(seed)) for seed in range(40)]
    spread = [np.std([draw(lattice.marks(p)) for draw in draws], axis=0) for p in (narrow, points)]
    assert spread[0].mean() < spread[1].mean() / 3


@pytest.mark.parametrize(("own", "noise"), [(0.0, 0.3), (0.3, 0.1), (0.3, 0.3), (0.3, 1e-4)])
def test_what_configs_are_worth_of_their_own_is_told_from_noise(
    lattice: Lattice, own: float, noise: float
):
    """Sixty configs, every third measured four times."""
    features, counts = Features(lattice), np.where(np.arange(60) % 3 == 0, 4.0, 1.0)
    often = counts > 1.0
    shares, doubts, errors, plain = [], [], [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        points = lattice.scattered(rng, 60)
        common = _effects(features, points, rng)
        worth = common / common.std() + own * rng.standard_normal(60)
        values = worth + noise * rng.standard_normal(60) / np.sqrt(counts)
        known = SeedEffects({}, noise**2 * rng.chisquare(60) / 60, 60)
        model = Surrogate(features, points, values, counts, known)
        left = values - model.mean()(lattice.marks(points))
        shares.append([model.own.shares[~often][0], model.own.shares[often][0]])
        doubts.append([model.own.doubts(left)[part].mean() for part in (~often, often)])
        errors.append(np.std(values - left + model.own.shares * left - worth))
        plain.append(np.std(values - worth))
    for place, count in enumerate((1, 4)):
        true = own**2 / (own**2 + noise**2 / count)
        assert fmean(row[place] for row in shares) == pytest.approx(true, abs=0.3)
        doubt = math.sqrt(true / count) * noise
        assert fmean(row[place] for row in doubts) == pytest.approx(
            doubt, rel=0.6, abs=0.15 * noise
        )
    assert fmean(errors) <= (0.9 if noise >= own else 1.1) * fmean(plain)


def test_doubt_is_the_deviation_over_all_that_the_ratio_may_be():
    rng = np.random.default_rng(1)
    odds = np.where(np.arange(len(RATIOS)) < 4, 0.25, 0.0)
    noise, left, counts = 0.04 / (1.0 + RATIOS), np.array([0.5, -0.1]), np.array([1.0, 3.0])
    own = Own(counts, odds, noise)
    which = rng.choice(len(RATIOS), p=odds, size=200_000)
    for config in range(2):
        share = RATIOS[which] / (RATIOS[which] + 1.0 / counts[config])
        deviation = np.sqrt(noise[which] * share / counts[config])
        drawn = share * left[config] + deviation * rng.standard_normal(len(which))
        assert own.shares[config] * left[config] == pytest.approx(drawn.mean(), abs=0.003)
        assert own.doubts(left)[config] == pytest.approx(drawn.std(), rel=0.02)


def test_the_evidence_for_own_effects_is_that_of_the_whole_covariance(lattice: Lattice):
    """By an orthonormal basis of all that the intercept leaves, and nothing decomposed."""
    rng = np.random.default_rng(2)
    features, points = Features(lattice), lattice.scattered(rng, 9)
    counts, freedom, variance = np.array([3.0, 1, 1, 2, 1, 4, 1, 1, 1]), 6, 0.05
    values = rng.standard_normal(9)
    told = Surrogate(features, points, values, counts, SeedEffects({}, variance, freedom)).own
    widths = np.array([TYPICAL[group] for group in features.groups])
    design = features(points) * widths
    basis = np.linalg.svd(np.eye(9) - 1 / 9)[0][:, :8]
    evidence = []
    for ratio, belief, spread in zip(RATIOS, BELIEFS, spreads(counts), strict=True):
        likely = []
        for gain in GAINS:
            whole = basis.T @ (np.diag(spread) + gain * design @ design.T) @ basis
            heights = basis.T @ values
            inside = freedom * variance * (1 + ratio)
            rate = (heights @ np.linalg.solve(whole, heights) + inside) / 2
            shape = SHAPE + (8 + freedom) / 2
            volume = np.linalg.slogdet(whole)[1] - freedom * math.log(1 + ratio)
            likely.append(-volume / 2 - shape * math.log(rate))
        evidence.append(np.logaddexp.reduce(likely) + math.log(belief))
    odds = np.exp(np.array(evidence) - max(evidence))
    assert told.odds == pytest.approx(odds / odds.sum(), abs=2e-3)


def test_weights_and_intercept_are_those_of_generalised_least_squares(lattice: Lattice):
    rng = np.random.default_rng(3)
    features, points = Features(lattice), lattice.scattered(rng, 30)
    counts = np.where(np.arange(30) < 10, 9.0, 1.0)
    values = _effects(features, points, rng) + rng.standard_normal(30) / np.sqrt(counts)
    model = Surrogate(features, points, values, counts, SeedEffects({}, 1.0, 500))
    precision, design = model.own.precision, np.hstack([np.ones((30, 1)), features(points)])
    assert precision[0] > 3.0 * precision[-1]
    fits = []
    for fit in model._fits:
        wide = fit.widths > 0.0  # what is left out has no finite prior
        kept = np.append(True, wide)
        rows = design[:, kept]
        for gain in GAINS:
            prior = np.append(0.0, 1.0 / (gain * fit.widths[wide] ** 2))
            weights = np.linalg.solve(
                (rows.T * precision) @ rows + np.diag(prior), (rows.T * precision) @ values
            )
            fits.append(rows @ weights)
    mixed = model._odds.ravel() @ np.array(fits)
    assert model.mean()(lattice.marks(points)) == pytest.approx(mixed, abs=1e-6)


def test_a_config_measured_more_often_tells_the_model_more(lattice: Lattice):
    rng = np.random.default_rng(8)
    features, points = Features(lattice), lattice.scattered(rng, 60)
    values = _effects(features, points, rng)
    counts = np.where(np.arange(60) < 15, 16.0, 1.0)
    errors = np.zeros(2)
    for _ in range(10):
        noise = values.std() * rng.standard_normal(60) / np.sqrt(counts)
        known = SeedEffects({}, values.var(), 100)
        for place, told in enumerate((counts, None)):
            model = Surrogate(
                features, points, values + noise, told, None if told is None else known
            )
            errors[place] += np.var(model.mean()(lattice.marks(points)) - values)
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.slow
def test_the_posterior_covers_the_truth_as_often_as_it_says(lattice: Lattice):
    features = Features(lattice)
    inside = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        points = lattice.scattered(rng, 41)
        values = _effects(features, points, rng)
        noisy = values + 0.05 * values.std() * rng.standard_normal(41)
        model = Surrogate(features, points[:40], noisy[:40])
        draws = [float(model.sample(rng)(lattice.marks(points[40:]))[0]) for _ in range(60)]
        low, high = np.quantile(draws, [0.1, 0.9])
        inside.append(low <= values[40] <= high)
    assert 0.55 <= np.mean(inside) <= 0.97  # of 30; 0.8 is nominal


def test_a_climb_finds_the_best_point_under_a_cap():
    space = {key: SPACE[key] for key in ("width", "layers", "layers[:].mlp.hidden", "rate")}
    lattice = lattice_of(Hill(space=space).problem())
    everything = np.array(list(itertools.product(*(range(size) for size in lattice.sizes))))
    features, tariff = Features(lattice), Tariff(lattice, ["parameters"], 1)
    costs = tariff.costs["parameters"](lattice.marks(everything))
    missed = 0
    for seed in range(20):
        points = lattice.scattered(np.random.default_rng(seed), 30)
        values = _effects(features, points, np.random.default_rng(seed))
        wish = Surrogate(features, points, values).mean()
        climb = Climb(
            lattice, Moves(lattice), wish, [partial(tariff.share, "parameters", 30_000.0)]
        )
        best = climb.run([lattice.start, np.zeros_like(lattice.start)])[0]
        fits = wish(lattice.marks(everything))[costs <= 30_000.0]
        missed += float(wish(lattice.marks(best[None]))[0]) < fits.max() - 0.02 * np.ptp(fits)
    assert missed <= 2


# -- what seeds do ---------------------------------------------------------------------------------


def _measured(shared: float, noise: float, seed: int = 3) -> dict[str, dict[int, float]]:
    """Twelve configs on up to four seeds, which add the same to all."""
    rng = np.random.default_rng(seed)
    weather = shared * rng.standard_normal(4)
    counts = [1, 2, 3, 4] * 3
    return {
        f"c{index}": {s: 3.0 * index + weather[s] + noise * rng.standard_normal() for s in range(n)}
        for index, n in enumerate(counts)
    }


def test_what_seeds_do_to_all_is_told_from_noise():
    found = seed_effects(_measured(shared=0.3, noise=0.01))
    weather = 0.3 * np.random.default_rng(3).standard_normal(4)
    told = np.array([found.effects[seed] for seed in range(4)])
    assert told - told.mean() == pytest.approx(weather - weather.mean(), abs=0.05)
    assert found.variance == pytest.approx(0.01**2, rel=0.8)
    rows = _measured(shared=0.3, noise=0.01)
    level = [found.levelled(row) - 3.0 * index for index, row in enumerate(rows.values())]
    assert np.ptp(level) < 0.1 < np.ptp([np.mean(list(r.values())) - 3.0 * i
                                         for i, r in enumerate(rows.values())])  # fmt: skip


def test_seeds_that_do_nothing_are_left_alone_and_the_noise_is_told_right():
    variances, moved = [], []
    for seed in range(40):
        found = seed_effects(_measured(shared=0.0, noise=1.0, seed=seed))
        variances.append(found.variance)
        moved.append(np.std(list(found.effects.values())))
    assert 0.75 < np.mean(variances) < 1.15
    assert np.mean(moved) < 0.25


def test_without_repeats_nothing_is_known_of_seeds():
    found = seed_effects({"a": {0: 1.0}, "b": {0: 2.0}})
    assert (found.effects, found.variance, found.freedom) == ({}, None, 0)
    assert found.levelled({0: 1.5}) == 1.5


# -- which axes matter -----------------------------------------------------------------------------


def _two_of_six(count: int) -> tuple[Array, NDArray[np.intp], Array]:
    """Features of six axes, the last with two columns; values by the first and the last alone."""
    rng = np.random.default_rng(4)
    mains, owners = rng.uniform(-0.5, 0.5, (count, 7)), np.array([0, 1, 2, 3, 4, 5, 5])
    values = np.sin(4.0 * mains[:, 0]) + 2.0 * mains[:, 5] * mains[:, 6]
    return mains, owners, values + 0.02 * rng.standard_normal(count)


@pytest.mark.parametrize("count", [40, 400])
def test_axes_that_matter_are_told_from_those_that_do_not(count: int):
    found = lengths(*_two_of_six(count))
    assert 4.0 * max(found[0], found[5]) < min(found[1:5])


def test_relevance_does_not_depend_on_order_shift_or_scale():
    mains, owners, values = _two_of_six(40)
    found = lengths(mains, owners, values)
    order = np.random.default_rng(5).permutation(40)
    assert lengths(mains[order], owners, values[order]) == pytest.approx(found, rel=0.02)
    assert lengths(mains, owners, 7.0 * values - 3.0) == pytest.approx(found, rel=0.02)


def test_values_that_are_alike_tell_no_relevance():
    mains, owners, values = _two_of_six(40)
    assert lengths(mains, owners, np.ones(40)).tolist() == [typical(6)] * 6
    assert lengths(mains[:3], owners, values[:3]).tolist() == [typical(6)] * 6


def test_the_slopes_of_the_evidence_are_those_of_its_differences():
    mains, owners, values = _two_of_six(25)
    columns = [mains[:, owners == axis] for axis in range(6)]
    apart = np.array([((c[:, None] - c[None]) ** 2).sum(axis=2).ravel() for c in columns])
    args = apart, values - values.mean(), np.zeros(7), np.ones(7)
    place = np.random.default_rng(6).normal(-0.5, 0.3, 7)
    _, slopes = _cost(place, *args)
    for axis, step in enumerate(1e-5 * np.eye(7)):
        there, back = _cost(place + step, *args)[0], _cost(place - step, *args)[0]
        assert slopes[axis] == pytest.approx((there - back) / 2e-5, rel=1e-4, abs=1e-6)


def test_a_model_of_many_axes_learns_more_when_it_weighs_them():
    space = {f"knob{number}": {"step": 1, "min": 0, "max": 8} for number in range(14)}
    baseline = dict.fromkeys(space, 4)
    lattice = Lattice(
        TypeAdapter(Space).validate_python(space), baseline, lambda configs: [None] * len(configs)
    )
    features, errors = Features(lattice), np.zeros(2)
    for seed in range(5):
        points = lattice.scattered(np.random.default_rng(seed), 240)
        x = points[:, 3] / 8.0 - 0.5
        values = np.sin(5.0 * x) - 3.0 * (points[:, 7] / 8.0 - 0.5 - x) ** 2
        views = features, features.weighed(points[:40], values[:40])
        for place, view in enumerate(views):
            model = Surrogate(view, points[:40], values[:40])
            guessed = model.mean()(lattice.marks(points[40:]))
            errors[place] += ((guessed - values[40:]) ** 2).mean()
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("smooth", [False, True])
def test_an_ensemble_draws_from_two_views_and_tells_the_likeliest(lattice: Lattice, smooth: bool):
    rng = np.random.default_rng(9)
    features, points = Features(lattice), lattice.scattered(rng, 90)
    values = _effects(features, points, rng)
    if smooth:
        values = np.sin(5.0 * features.common(points)[:, :3].sum(axis=1))
    known = values, np.ones(90), SeedEffects()
    model, weighed = Ensemble(features, points, *known), features.weighed(points, values)
    alike, linear = Surrogate(features, points, *known), Surrogate(weighed, points, *known)
    process = Process(weighed, points, values, linear.own)
    views: list[View] = [alike, linear, process]
    likeliest = max(views, key=lambda view: view.evidence)
    assert (likeliest is process) == smooth
    marks = lattice.marks(lattice.scattered(rng, 5))
    assert model.mean()(marks) == pytest.approx(likeliest.mean()(marks))
    drawn = {float(model.sample(np.random.default_rng(k), 1e-9)(marks)[0]) for k in range(30)}
    for view in (alike, process if smooth else linear):
        own = {float(view.sample(np.random.default_rng(k), 1e-9)(marks)[0]) for k in range(200)}
        assert any(abs(a - b) < 1e-6 for a in drawn for b in own)


# -- the process -----------------------------------------------------------------------------------


def _process(lattice: Lattice, count: int) -> tuple[Process, Features, Points, Array]:
    rng = np.random.default_rng(12)
    features, points = Features(lattice), lattice.scattered(rng, count)
    values = np.sin(4.0 * features.common(points)[:, :2].sum(axis=1))
    values += 0.1 * rng.standard_normal(count)
    odds = np.eye(len(RATIOS))[2]
    counts = np.where(np.arange(count) < count // 3, 6.0, 1.0)
    own = Own(counts, odds, np.full(len(RATIOS), 0.01))
    return Process(features, points, values, own), features, points, values


def _covariance(features: Features, points: Points) -> Array:
    there = features.common(points) * features.rates
    return matern(((there[:, None] - there[None]) ** 2).sum(axis=2))


def test_a_process_is_that_of_the_whole_covariance(lattice: Lattice):
    """Mean and evidence by kriging with a free level, nothing decomposed."""
    model, features, points, values = _process(lattice, 24)
    new = lattice.scattered(np.random.default_rng(13), 10)
    kernel = _covariance(features, np.vstack([points, new]))
    precision, ones = model.own.precision, np.ones(24)
    basis = np.linalg.svd(np.eye(24) - 1 / 24)[0][:, :23]
    share = precision / precision.sum()
    heights = np.sqrt(precision) * (values - share @ values)
    scale = SCALE * float(heights @ heights) / 24
    shape = SHAPE + 23 / 2
    evidence, means = [], []
    for gain in GAINS:
        whole = gain * kernel[:24, :24] + np.diag(1.0 / precision)
        inverse = np.linalg.inv(whole)
        level = (ones @ inverse @ values) / (ones @ inverse @ ones)
        means.append(level + gain * kernel[24:, :24] @ inverse @ (values - level))
        inner = basis.T @ whole @ basis
        square = float((basis.T @ values) @ np.linalg.solve(inner, basis.T @ values))
        evidence.append(-np.linalg.slogdet(inner)[1] / 2 - shape * math.log(scale + square / 2))
    whole = np.logaddexp.reduce(evidence)
    odds = np.exp(np.array(evidence) - whole)
    assert model.mean()(lattice.marks(new)) == pytest.approx(odds @ np.array(means), abs=1e-6)
    told = whole - math.log(len(GAINS)) + SHAPE * math.log(scale) - math.log(24) / 2
    assert model.evidence == pytest.approx(told, abs=1e-6)


def test_draws_of_a_process_have_its_mean_and_covariance(lattice: Lattice):
    """Under one gain, beside the whole covariance of what is above the data's weighted mean."""
    model, features, points, _ = _process(lattice, 30)
    new = lattice.scattered(np.random.default_rng(14), 6)
    number = int(model._odds.argmax())
    model._odds = np.eye(len(GAINS))[number]
    rng = np.random.default_rng(15)
    drawn = np.array([model.sample(rng)(lattice.marks(new)) for _ in range(4000)])
    centred, root = np.eye(36), np.sqrt(model.own.precision)
    centred[:, :30] -= model.own.precision / model.own.precision.sum()
    prior = GAINS[number] * centred @ _covariance(features, np.vstack([points, new])) @ centred.T
    seen, across = root[:, None] * prior[:30, :30] * root, prior[30:, :30] * root
    left = prior[30:, 30:] - across @ np.linalg.solve(seen + np.eye(30), across.T)
    spread = model._posterior.rates[number] / (model._posterior.shape - 1.0)
    deviations = np.sqrt(spread * np.diag(left))
    mean = model.mean()(lattice.marks(new))
    assert (np.abs(drawn.mean(axis=0) - mean) < 0.1 * deviations).all()
    assert drawn.std(axis=0) == pytest.approx(deviations, rel=0.1)
    timid = np.array([model.sample(rng, 1e-9)(lattice.marks(new)) for _ in range(20)])
    assert timid == pytest.approx(np.tile(mean, (20, 1)), abs=1e-5)


def test_before_any_data_a_draw_has_the_kernels_covariance(lattice: Lattice):
    model, features, points, _ = _process(lattice, 20)
    rng = np.random.default_rng(16)
    mains = features.common(points[:8])
    drawn = np.array([model._prior(rng, 1.5)(mains) for _ in range(4000)])
    assert np.cov(drawn.T) == pytest.approx(1.5**2 * _covariance(features, points[:8]), abs=0.2)


# -- first configs ---------------------------------------------------------------------------------


def test_balanced_points_share_out_every_axis(lattice: Lattice):
    points = lattice.balanced(np.random.default_rng(2), 12)
    assert points.shape == (12, len(lattice))
    for axis in lattice.axes:
        own = points[:, lattice.coordinates(axis)]
        assert (own == own[:, :1]).all()
        counts = np.bincount(own[:, 0], minlength=len(axis.levels))
        assert counts.max() - counts.min() <= 1
    other = lattice.balanced(np.random.default_rng(3), 12)
    assert (other != points).any()


def test_numbers_that_are_listed_have_an_order():
    space = {**SPACE, "width": {"choices": [64, 16, 48]}}
    (width,) = (a for a in lattice_of(Hill(space=space).problem()).axes if a.name == "width")
    assert (width.kind, width.levels, width.start) == ("number", (16, 32, 48, 64), (1,))
    assert np.all(np.diff(width.positions) > 0)


def test_words_and_flags_have_no_order():
    space = {"on": {"choices": [True, False]}, "size": {"choices": [8, None]}}
    rules = TypeAdapter(Space).validate_python(space)
    found = axes(rules, {"on": False, "size": 8})
    assert [axis.kind for axis in found] == ["choice", "choice"]


def test_listed_numbers_from_zero_on_keep_their_distances():
    def positions(choices: list[float]) -> Array:
        rules = TypeAdapter(Space).validate_python({"x": {"choices": choices}})
        return axes(rules, {"x": choices[0]})[0].positions

    assert positions([0.0, 1e-4, 1e-3, 1e-2, 1e-1]) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    assert positions([0.0, 0.1, 0.2, 0.3]) == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0])
    assert positions([-1.0, 0.0, 3.0]) == pytest.approx([0.0, 0.25, 1.0])


@pytest.mark.parametrize("odd", [math.inf, 10**400])
def test_numbers_without_a_place_on_a_scale_are_choices(odd: float):
    space = {**SPACE, "rate": {"choices": [0.01, 0.02, odd]}}
    (rate,) = (a for a in lattice_of(Hill(space=space).problem()).axes if a.name == "rate")
    assert rate.kind == "choice"


def test_the_evidence_of_a_view_is_that_of_the_whole_covariance(lattice: Lattice):
    rng = np.random.default_rng(11)
    features, points = Features(lattice), lattice.scattered(rng, 25)
    counts = np.array([9.0, 4.0, *[1.0] * 23])
    seeds = SeedEffects({}, 0.3, 11)
    values = _effects(features, points, rng) + 0.5 * rng.standard_normal(25) / np.sqrt(counts)
    told, direct = [], []
    for view in (features, features.weighed(points, values)):
        model = Surrogate(view, points, values, counts, seeds)
        told.append(model.evidence)
        kinds = {widths.tobytes(): widths for widths in map(view.widths, PRIORS)}
        direct.append(
            np.logaddexp.reduce(
                [
                    _evidence(view(points) * widths, values, model.own.precision, gain)
                    for widths in kinds.values()
                    for gain in GAINS
                ]
            )
        )
    assert told[1] - told[0] == pytest.approx(direct[1] - direct[0], abs=1e-6)


def _evidence(design: Array, values: Array, precision: Array, gain: float) -> float:
    """By the dense covariance, the flat intercept projected out; up to a constant."""
    count = len(values)
    basis = np.linalg.qr(np.column_stack([np.ones(count), np.eye(count)[:, 1:]]))[0][:, 1:]
    alone = np.diag(1.0 / precision)
    spread = basis.T @ (alone + gain * design @ design.T) @ basis
    left = basis.T @ values
    start = SCALE * float(left @ np.linalg.solve(basis.T @ alone @ basis, left)) / count
    rate = start + float(left @ np.linalg.solve(spread, left)) / 2
    shape = SHAPE + (count - 1) / 2
    volume = float(np.linalg.slogdet(spread)[1])
    return -volume / 2 - shape * math.log(rate) + SHAPE * math.log(start)
