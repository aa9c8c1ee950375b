"""The parts of guided search: the lattice, the model, the climb, and what they find together."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from search.history import Description, Failure, History, Purpose, Request, Trial
from search.objective import Budget, Objective
from search.simulation import Outcome, Simulation, single
from search.strategies.base import Run
from search.strategies.explored import Explored
from search.strategies.guided import Guided, belief_of
from search.strategies.lessons import lessons
from search.strategies.model.ascent import Climb, Moves
from search.strategies.model.features import Features
from search.strategies.model.forms import Array, squared
from search.strategies.model.lattice import Lattice, Points
from search.strategies.model.own import BELIEFS, RATIOS, Own, spreads
from search.strategies.model.seeds import SeedEffects, seed_effects
from search.strategies.model.surrogate import GAINS, SHAPE, TYPICAL, Surrogate
from search.strategies.model.tariff import Tariff, price
from search.strategies.random import Random
from search.strategies.sampling import Begun, Draw, lattice_of
from spec.errors import InputError
from spec.records import End, Eval
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
    single = weights[~np.isin(kinds, ["cross", "wave"])]
    waves = features.waves(weights[kinds == "wave"])
    form = features.table.form(single, squared(crossed, features.mains), 0.5, waves)
    assert np.allclose(form(lattice.marks(points)), 0.5 + features(points) @ weights)


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
        prior = np.append(0.0, 1.0 / (fit.gain * fit.widths[wide] ** 2))
        rows = design[:, kept]
        weights = np.linalg.solve(
            (rows.T * precision) @ rows + np.diag(prior), (rows.T * precision) @ values
        )
        fits.append(rows @ weights)
    best = np.argsort(model._odds)[-8:]
    mixed = sum(model._odds[k] * fits[k] for k in best) / model._odds[best].sum()
    assert model.mean()(lattice.marks(points)) == pytest.approx(mixed, abs=1e-6)


def test_values_that_were_made_up_tell_nothing_of_noise():
    world = Hill(noise=0.01, broken="gated")
    problem = world.problem()
    search = Simulation(Guided(trials=40), problem, world)
    search.run(max_trials=30)
    explored = Explored.of(problem, search.history)
    taught, belief = lessons(explored), belief_of(explored)
    failed = {t.config_id for t in search.history if t.state == "failed"}
    assert failed
    for name, count in taught.counts.items():
        measured = [t for t in explored.rows[name].values() if t.state == "finished"]
        assert count == len(measured)
    assert all(taught.counts[name] == 0 for name in failed)
    own = belief.model.own
    points, values = belief.model.points, belief.model.values
    counts = np.array([taught.counts[name] for name in belief.expected], dtype=float)
    real = counts > 0
    alone = Surrogate(Features(lattice_of(problem)), points[real], values[real], counts[real],
                      taught.seeds).own  # fmt: skip
    assert own.odds == pytest.approx(alone.odds)


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
        climb = Climb(lattice, Moves(lattice), wish, tariff.costs, {"parameters": 30_000.0})
        best = climb.run([lattice.start, np.zeros_like(lattice.start)])[0]
        fits = wish(lattice.marks(everything))[costs <= 30_000.0]
        missed += float(wish(lattice.marks(best[None]))[0]) < fits.max() - 0.02 * np.ptp(fits)
    assert missed <= 2


def test_a_proposal_describes_few_configs():
    world = Hill(noise=0.005)
    problem = world.problem()
    search = Simulation(Guided(trials=60), problem, world)
    search.run(max_trials=3)
    most, before = 0, world.described
    for count in range(4, 40):
        search.run(max_trials=count)
        most, before = max(most, world.described - before), world.described
    assert most <= 300


def test_it_leaves_less_to_find_than_chance():
    left = {}
    for kind in (Guided, Random):
        losses = []
        for first in range(3):
            world = Hill(noise=0.005)
            search = Simulation(kind(trials=40), world.problem(first=first * 100), world)
            search.run()
            (step,) = search.history.accepted
            assert step.config is not None
            losses.append(world.loss(step.config))
        left[kind] = np.mean(losses)
    assert left[Guided] < left[Random]


def _repeated(search: Simulation) -> dict[str, list[int]]:
    """Config id -> seeds, of configs besides the baseline that were drawn more than once."""
    begun: dict[str, list[int]] = {}
    for trial in search.history:
        if trial.request.purpose.phase == "explore" and trial.request.purpose.edit is not None:
            begun.setdefault(trial.config_id, []).append(trial.seed)
    return {name: seeds for name, seeds in begun.items() if len(seeds) > 1}


def test_under_noise_what_may_be_the_best_is_measured_again_and_up_to_the_most_seeds():
    world = Hill(noise=0.02)
    search = Simulation(Guided(trials=80), world.problem(max=4), world)
    search.run()
    repeated = _repeated(search)
    assert repeated
    for seeds in repeated.values():
        assert sorted(seeds) == list(range(1337, 1337 + len(seeds)))
        assert len(seeds) <= 4


def test_many_free_workers_all_get_a_trial_and_none_the_same_seed_of_a_config():
    """As after an interruption, when all workers are free and much is known."""
    world = Hill(noise=0.02)
    search = Simulation(Guided(trials=80), world.problem(), world)
    search.run(max_trials=50)
    trials, repeats = list(search.history), 0
    for known in range(24, 50, 5):
        history = History(trials[:known])
        proposal = search.strategy.propose(world.problem(workers=9), history)
        assert isinstance(proposal, Run)
        asked = [(r.description.config_id, r.seed) for r in proposal.requests]
        assert len(asked) == 9
        seeds = Counter([*asked, *((trial.config_id, trial.seed) for trial in history)])
        assert max(seeds.values()) == 1
        assert max(Counter(config for config, _ in seeds).values()) <= 5
        repeats += max(Counter(config for config, _ in asked).values()) > 1
    assert repeats


@pytest.mark.parametrize("workers", [1, 16])
def test_without_noise_nothing_is_measured_twice(workers: int):
    world = Hill()
    search = Simulation(Guided(trials=60), world.problem(workers), world, workers)
    search.run()
    assert not _repeated(search)


def test_what_is_measured_again_gets_as_many_seeds_as_at_first():
    world = Hill(noise=0.02)
    problem = world.problem(screen=2, max=6)
    search = Simulation(Guided(trials=90), problem, world)
    search.run()
    counts = [len(seeds) for seeds in _repeated(search).values()]
    assert {number % 2 for number in counts} == {0}
    assert max(counts) > 2
    trials = list(search.history)
    for known in range(40, 60):
        proposal = search.strategy.propose(problem, History(trials[:known]))
        assert isinstance(proposal, Run)
        assert proposal.requests[0] == trials[known].request


def test_a_baseline_that_was_interrupted_still_gets_all_its_seeds():
    world = Hill(noise=0.02)
    problem = world.problem(workers=2)
    search = Simulation(Guided(), problem, world, workers=2)
    search.run(max_trials=2)
    baseline, other = search.history
    history = History([replace(other, number=1), replace(baseline, number=2)])
    proposal = search.strategy.propose(problem, history)
    assert isinstance(proposal, Run)
    asked = [(r.description.config_id, r.seed) for r in proposal.requests]
    assert asked == [(problem.baseline.config_id, seed) for seed in (1338, 1339)]


def test_a_config_that_fails_when_repeated_is_not_repeated_again():
    class Fragile(Hill):
        def train(self, request: Request) -> Outcome:
            if request.seed > 1337 and request.purpose.edit is not None:
                return Outcome((), 1.0, Failure("diverged", "the loss is not finite"))
            return super().train(request)

    world = Fragile(noise=0.02)
    search = Simulation(Guided(trials=60), world.problem(confirm=0), world)
    search.run()
    repeated = _repeated(search)
    assert repeated
    assert all(len(seeds) == 2 for seeds in repeated.values())


def test_what_a_seed_does_to_all_configs_misleads_nobody():
    class Weather(Hill):
        def train(self, request: Request) -> Outcome:
            outcome = super().train(request)
            factor = 1.0 + 0.03 * math.sin(17.0 * request.seed)
            return single(outcome.curve[0].val_loss * factor, outcome.seconds)

    left = []
    for world in (Hill(noise=0.02), Weather(noise=0.02)):
        search = Simulation(Guided(trials=70), world.problem(), world)
        search.run()
        (step,) = search.history.accepted
        assert step.config is not None
        left.append(world.loss(step.config))
        assert _repeated(search)
    assert left[1] < left[0] * 1.02


def test_many_diverged_trials_do_not_mislead_it():
    world = Hill(noise=0.005, broken="gated")
    search = Simulation(Guided(trials=40), world.problem(), world)
    search.run()
    (step,) = search.history.accepted
    assert step.config is not None
    assert step.config["layers"][0]["mlp"]["kind"] == "plain"


def test_pareto_mode_ends_with_a_front_over_the_caps():
    world = Hill(noise=0.002, limit=1e9)
    caps = (10_000.0, 30_000.0, 90_000.0)
    search = Simulation(Guided(trials=45, caps=caps), world.problem(), world)
    search.run()
    front = search.history.decisions[-1].detail["front"]
    costs, losses = ([row[key] for row in front] for key in ("parameters", "val_loss"))
    assert losses == sorted(losses)
    assert costs == sorted(costs, reverse=True)
    assert min(costs) <= caps[0] < max(costs) <= caps[-1]


def test_a_target_that_is_missed_counts_as_late():
    world = Hill()
    problem = world.problem()
    timed = replace(problem, objective=Objective(gain="time_to_target", target=3.2))
    search = Simulation(Guided(trials=20), timed, world)
    search.run(max_trials=12)
    explored = Explored.of(timed, search.history)
    assert any(math.isinf(value) for value in explored.qualities.values())
    belief = belief_of(explored)
    assert belief is not None
    proposal = search.strategy.propose(timed, search.history)
    assert isinstance(proposal, Run)
    assert isinstance(proposal.requests[0].description, Description)


def _timed(number: int, losses: list[float], target_seconds: float) -> Trial:
    """A trial of one config whose losses come at equal distances up to some seconds."""
    points = [
        Eval(step=k, train_seconds=target_seconds * k / len(losses), val_loss=loss)
        for k, loss in enumerate(losses, 1)
    ]
    described = Description({"n": number}, str(number), {})
    request = Request(described, 1, Budget(), Purpose(0, "explore", {"path": "n"}))
    return Trial(number, request, "finished", curve=tuple(points), end=End(status="completed"))


def test_a_miss_teaches_how_near_it_came_but_never_that_it_was_quick():
    hits = [_timed(0, [3.0, 2.4, 2.0], 40.0), _timed(1, [3.0, 2.5, 2.0], 60.0)]
    near, far = _timed(2, [3.0, 2.5, 2.02], 70.0), _timed(3, [3.0, 2.6, 2.4], 70.0)
    hasty = _timed(4, [3.0, 2.6, 2.4], 3.0)  # a small model falls fast, and then no further
    history = History([*hits, near, far, hasty])
    world = Hill()
    asked = replace(world.problem(), objective=Objective(gain="time_to_target", target=2.0))
    taught = lessons(Explored.of(asked, history)).values
    assert taught["0"] == pytest.approx(-math.log(40.0))
    assert taught["0"] > taught["1"] > taught["2"] > taught["3"]
    assert taught["4"] < -math.log(50.0)


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


def test_a_proposal_leaves_the_cores_to_the_trainers():
    seen: list[set[int]] = []

    class Watched(Guided):
        def draw(self, explored: Explored, index: int, begun: Begun) -> Draw | None:
            seen.append(_threads())
            return super().draw(explored, index, begun)

    world = Hill()
    with threadpool_limits(2):
        Simulation(Watched(trials=30), world.problem(), world).run(max_trials=20)
        assert seen
        assert set.union(*seen) == {1}
        assert _threads() == {2}


def _threads() -> set[int]:
    """Of the libraries that numpy and scipy calculate with."""
    return {int(library["num_threads"]) for library in threadpool_info()}
