"""Several clear neighbours in one step, and what a round takes over from the one before."""

from dataclasses import replace
from itertools import combinations

import pytest

from search.history import Decision, Description, Failure, History
from search.moves import Edit, neighbours
from search.objective import Budget, Objective, Seeds
from search.simulation import Outcome, Simulation
from search.strategies.base import Candidate, Rejected, Run
from search.strategies.greedy import Greedy
from search.strategies.greedy.ground import Ground
from search.strategies.greedy.lazy import earlier_gains
from search.strategies.greedy.round import KNOWN_WELL, OWN_SEEDS
from search.strategies.greedy.spending import levels
from search.strategies.greedy.together import together
from search.strategies.standing import Standing
from spec.config import identity
from tests.search.landscape import Hill
from tests.search.test_greedy import told
from tests.search.worlds import Bowl, problem

SALTS = "abcde"


def search(world, seeds=None, objective=None, workers=1, race=8, **options):
    """With places enough in the race for every neighbour."""
    asked = problem(world, seeds=seeds, objective=objective)
    simulation = Simulation(Greedy(race=race, **options), asked, world, workers)
    simulation.run()
    return simulation.history


def clear(salt="", knobs="abc"):
    """Every knob gains once when doubled, far beyond the noise."""
    return Bowl(dict.fromkeys(knobs, 8.0), slope=0.1, noise=0.003, salt=salt)


def phases(history, phase, number=0):
    purposes = [(trial, trial.request.purpose) for trial in history]
    return [trial for trial, p in purposes if (p.phase, p.round) == (phase, number)]


# -- steps of several changes ----------------------------------------------------------------------


@pytest.mark.parametrize("salt", SALTS)
def test_gains_that_add_up_are_taken_in_one_step(salt):
    history = search(clear(salt))
    (step,) = history.accepted
    assert step.config == {"a": 8, "b": 8, "c": 8}
    assert "each better alone, and together better than the best of them" in step.words
    (attempt,) = step.detail["attempts"]
    assert attempt["key"] == step.detail["chosen"]
    assert attempt["edit"]["op"] == "several"
    joined = phases(history, "combine")
    assert {trial.config_id for trial in joined} == {step.config_id}
    assert not {trial.seed for trial in joined} & set(attempt["seeds"])


@pytest.mark.parametrize("salt", SALTS)
def test_under_shrink_every_step_is_one_change_so_the_rate_is_that_of_one(salt):
    """Else a free gain joined to a dear one would overstate what was paid, and shrinking take back.

    ``c`` gains and gets cheaper, ``a`` and ``b`` gain and get dearer.
    """
    world = Bowl({"a": 8.0, "b": 8.0, "c": 1.0}, slope=0.1, noise=0.003, salt=salt)
    history = search(world, seeds=Seeds(max=4), shrink=True)
    assert history.accepted[-1].config == {"a": 8, "b": 8, "c": 1}
    assert not any("," in step.detail["chosen"] for step in history.accepted)


class Cancelling(Bowl):
    """Two changes help alone and spoil each other; ``both`` is the loss of the two together."""

    both = 2.1

    def loss(self, config):
        a, b = config["a"] == 8, config["b"] == 8
        return self.both if a and b else 2.0 - 0.1 * a - 0.07 * b


@pytest.mark.parametrize("salt", SALTS)
def test_when_the_parts_cancel_each_other_the_best_alone_is_taken(salt):
    world = Cancelling({"a": 8.0, "b": 8.0}, noise=0.003, salt=salt)
    history = search(world, max_rounds=1)
    (step,) = history.accepted
    assert step.detail["chosen"] == "a x2"
    assert phases(history, "combine")
    assert [attempt["key"] for attempt in step.detail["attempts"]] == ["a x2"]
    rows = [row["edit"] for row in step.detail["candidates"]]
    assert any(edit["op"] == "several" for edit in rows)  # it is told where they stood together


@pytest.mark.parametrize("salt", SALTS)
def test_they_must_beat_the_part_that_gains_most_also_when_another_has_the_first_turn(salt):
    world = Bowl({"a": 2.0, "b": 8.0}, noise=0.001, common=0.0, salt=salt)
    world.loss = lambda c: {(2, 4): 1.95, (4, 8): 1.8, (2, 8): 1.9}.get((c["a"], c["b"]), 2.0)
    history = search(world, max_rounds=1)
    assert phases(history, "combine")
    assert history.accepted[0].detail["chosen"] == "a /2"  # cheaper, so first by itself


class Fading(Bowl):
    """The two changes together diverge on fresh seeds."""

    def train(self, request):
        config, fresh = request.description.config, request.seed >= 1837
        if fresh and config["a"] == config["b"] == 8:
            return Outcome((), 0.1, Failure("diverged", "its loss is no finite number"))
        return super().train(request)


def test_when_they_fail_together_on_fresh_seeds_single_ones_follow():
    history = search(Fading({"a": 8.0, "b": 8.0}, slope=0.1, noise=0.003), max_rounds=1)
    (step,) = history.accepted
    first, second = step.detail["attempts"]
    assert first["edit"]["op"] == "several"
    assert not first["confirmed"]
    assert second["key"] == step.detail["chosen"] in ("a x2", "b x2")
    for number, attempt in enumerate(step.detail["attempts"]):
        assert attempt["alpha"] in levels(0.05, number, (2, 4))


class Pair(Bowl):
    """Two items, moved one by one or both at once; moved both, they diverge on fresh seeds."""

    def _describe(self, config):
        return Description(config, identity(config), {"parameters": 100 * sum(config["x"])})

    def train(self, request):
        if request.seed >= 1837 and request.description.config["x"] == [8, 8]:
            return Outcome((), 0.1, Failure("diverged", "its loss is no finite number"))
        return super().train(request)

    def loss(self, config):
        return 2.0 - 0.1 * config["x"].count(8)


def test_all_items_at_once_and_one_by_one_are_one_config_with_one_turn():
    rule = {"scale": 2, "min": 4, "max": 8}
    world, space = Pair(noise=0.003), {"x[*]": rule, "x[:]": rule}
    asked = problem(world, baseline={"x": [4, 4]}, space=space)
    simulation = Simulation(Greedy(max_rounds=1), asked, world)
    simulation.run()
    (step,) = simulation.history.accepted
    first, second = [attempt["config_id"] for attempt in step.detail["attempts"]]
    assert first != second == step.config_id


def test_without_combining_every_step_is_one_change():
    history = search(clear(), combine=False)
    assert len(history.accepted) == 3
    assert not [t for t in history if t.request.purpose.phase == "combine"]
    edits = [t.request.purpose.edit for t in history if t.request.purpose.edit]
    assert {edit["op"] for edit in edits} == {"set"}


def test_nothing_is_combined_while_the_noise_is_unknown():
    history = search(clear(), seeds=Seeds(max=1, confirm=0))
    assert history.accepted
    edits = [t.request.purpose.edit for t in history if t.request.purpose.edit]
    assert {edit["op"] for edit in edits} == {"set"}


def test_a_limit_keeps_parts_out():
    history = search(clear(), objective=Objective(limits={"parameters": 2000}))
    step = history.accepted[0]
    assert sorted(step.config.values()) == [4, 8, 8]
    assert max(t.request.description.inventory["parameters"] for t in history) <= 2000


def test_what_the_trainer_refuses_together_is_kept_out():
    world = clear()
    describe = world._describe

    def refusing(config):
        both = config["a"] == config["b"] == 8
        return Rejected("a and b do not go together") if both else describe(config)

    world._describe = refusing
    step = search(world).accepted[0]
    assert step.config["c"] == 8
    assert sorted((step.config["a"], step.config["b"])) == [4, 8]


# -- which go together -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ground():
    return Ground(Greedy(), Hill().problem(), History(), Budget())


def joined(ground, *edits):
    parts = [Standing(Candidate(edit, None), {}, None, None) for edit in edits]
    return together(ground, parts)


WIDTH, RATE = Edit("width", "set", 48, "+16"), Edit("rate", "set", 0.02, "x2")
ALL_HIDDEN = Edit("layers[:].mlp.hidden", "set", [128, 128], "+64")
GATED = Edit("layers[:].mlp", "set", ["gated", "gated"], "gated")
DUPLICATED = Edit("layers[0]", "duplicate", None, "duplicated")


@pytest.mark.parametrize(
    "edits",
    [
        (WIDTH, Edit("width", "set", 16, "-16")),
        (GATED, ALL_HIDDEN),
        (ALL_HIDDEN, GATED),
        (GATED, Edit("layers[0].mlp.hidden", "set", 128, "+64")),
        (ALL_HIDDEN, Edit("layers[1].mlp.hidden", "set", 192, "+128")),
        (GATED, Edit("layers[:].mlp", "set", ["plain", "plain"], "plain")),
        (WIDTH, DUPLICATED),
        (Edit("layers[1]", "drop", None, "dropped"), RATE),
        (WIDTH,),
        (),
    ],
)
def test_changes_that_meet_or_move_layers_are_not_joined(ground, edits):
    assert joined(ground, *edits) is None


def test_those_left_out_do_not_keep_the_others_out(ground):
    found = joined(ground, WIDTH, DUPLICATED, Edit("width", "set", 16, "-16"), RATE)
    assert found.edit == Edit(
        "width, rate", "several", {"width": 48, "rate": 0.02}, "width +16, rate x2"
    )
    assert found.description.config["width"] == 48


def test_joined_changes_are_what_one_after_the_other_would_be(ground):
    config, describe = ground.incumbent.config, ground.problem.describe
    edits = [edit for edit in neighbours(ground.problem.space, config) if edit.op == "set"]
    count = 0
    for one, other in combinations(edits, 2):
        found = joined(ground, one, other)
        if found is None:
            continue
        count += 1
        for first, second in ((one, other), (other, one)):
            (answer,) = describe([second.apply(first.apply(config))])
            assert answer.config_id == found.description.config_id
    assert count > 20


def test_a_config_that_was_the_incumbent_once_is_not_joined_again(ground):
    (answer,) = ground.problem.describe([RATE.apply(WIDTH.apply(ground.incumbent.config))])
    before = Decision("accept", 0, "", answer.config, answer.config_id)
    after = Decision("accept", 1, "", ground.incumbent.config, ground.incumbent.config_id)
    again = Ground(Greedy(), ground.problem, History((), [before, after]), Budget())
    assert joined(again, WIDTH, RATE) is None


# -- resuming --------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [clear(), Cancelling({"a": 8.0, "b": 8.0}, noise=0.003)])
def test_at_every_prefix_the_same_trial_comes_next(world):
    whole = search(world)
    assert any(t.request.purpose.phase == "combine" for t in whole)
    asked = problem(world)
    for cut in range(len(whole)):
        kept = [trial for trial in whole if trial.number < cut]
        latest = max((trial.request.purpose.round for trial in kept), default=0)
        history = History(kept, [d for d in whole.decisions if d.round < latest])
        proposal = Greedy(race=8).propose(asked, history)
        if isinstance(proposal, Decision):
            history.decide(proposal)
            proposal = Greedy(race=8).propose(asked, history)
        assert isinstance(proposal, Run)
        assert proposal.requests[0] == whole[cut].request
        assert told(history) == told(whole)[: len(history.decisions)]


@pytest.mark.parametrize("workers", [2, 7])
def test_decisions_do_not_depend_on_the_order_of_completion(workers):
    assert told(search(clear("x", "abcd"), workers=workers)) == told(search(clear("x", "abcd")))


# -- what a round takes over -----------------------------------------------------------------------


def test_the_incumbent_is_not_trained_again_on_the_seeds_that_confirmed_it():
    history = search(clear(), combine=False)
    for before, after in zip(history.accepted, history.decisions[1:], strict=True):
        carried = before.detail["attempts"][-1]["seeds"]
        own = [t for t in history if t.request.purpose.round == after.round]
        again = [t for t in own if t.config_id == before.config_id]
        assert not {t.seed for t in again} & set(carried)
        assert {t.seed for t in phases(history, "screen", after.round)} == {carried[0]}
        shown = [history[number] for number in after.detail["incumbent"]["trials"]]
        assert shown[0].seed == carried[0]
        assert {t.config_id for t in shown} == {before.config_id}
        assert {t.request.purpose.round for t in shown} >= {before.round}


def test_no_seed_is_carried_where_nothing_was_confirmed_or_the_setting_is_another():
    world = clear()
    unconfirmed = search(world, combine=False, seeds=Seeds(max=4, confirm=0))
    assert {t.seed // 1000 for t in phases(unconfirmed, "screen", 1)} == {2}
    history = search(world, combine=False, max_rounds=1)
    asked = problem(world)
    longer = replace(asked, budget=asked.budget.model_copy(update={"max_steps": 9}))
    for changed, carried in ((asked, [1837, 1838]), (longer, [])):
        assert Ground(Greedy(), changed, history, asked.budget).carried == carried


def test_once_the_noise_is_known_well_the_incumbent_needs_no_seeds_of_its_own():
    history = search(Bowl({"a": 64.0, "b": 64.0}, slope=0.1, noise=0.003), combine=False)
    found = set()
    for before, after in zip(history.accepted, history.decisions[1:], strict=True):
        known = before.detail["noise"]["freedom"] >= KNOWN_WELL
        carried = len(before.detail["attempts"][-1]["seeds"])
        own = len(phases(history, "calibrate", after.round))
        assert own == (0 if known else OWN_SEEDS - carried)
        found.add(known)
    assert found == {False, True}


@pytest.mark.parametrize("salt", SALTS)
def test_the_race_ends_as_soon_as_one_is_clear(salt):
    world = Bowl({"a": 8.0, "b": 8.0}, slope=0.1, noise=0.006, salt=salt)  # nobody is the best
    history = search(world, combine=False, max_rounds=1, seeds=Seeds(max=8))
    chosen = history.accepted[0].detail["chosen"]
    row = next(r for r in history.accepted[0].detail["candidates"] if r["key"] == chosen)
    assert len(row["seeds"]) <= 3


@pytest.mark.parametrize(
    ("confirm", "most", "looks"),
    [
        (0, 5, ()),
        (1, 1, (1,)),
        (1, 4, (1, 2, 3, 4)),
        (2, 2, (2,)),
        (2, 3, (2,)),
        (2, 4, (2, 4)),
        (2, 5, (2, 5)),
        (2, 7, (2, 4, 7)),
        (3, 5, (3,)),
        (5, 5, (5,)),
    ],
)
def test_a_confirmation_is_looked_at_in_blocks_and_the_last_spends_what_is_left(
    confirm, most, looks
):
    assert Seeds(confirm=confirm, max=most).looks == looks


def test_no_confirmation_uses_other_numbers_of_seeds_than_its_looks():
    seeds, used = Seeds(max=5), set()
    for salt in range(12):
        world = Bowl({"a": 8.0, "b": 4.0}, slope=0.02, noise=0.012, salt=str(salt))
        for decision in search(world, seeds=seeds, max_rounds=2).decisions:
            used |= {len(attempt["seeds"]) for attempt in decision.detail["attempts"]}
    assert used == set(seeds.looks)


# -- lazy rounds -----------------------------------------------------------------------------------


def test_a_lazy_round_after_a_step_of_several_goes_by_the_bounds_of_single_changes():
    optimum = {f"even{i}": 8.0 for i in range(4)} | {f"odd{i}": 4.0 for i in range(4)}
    world = Bowl(optimum, slope=0.04, noise=0.006)
    history = search(world, race=4, recheck=100)
    first, *_ = history.accepted
    assert first.detail["chosen"].count(",") >= 1
    known = earlier_gains(history.accepted[:1], first.detail["setting"], recheck=100)
    measured = [r["key"] for r in first.detail["candidates"] if r["edit"]["op"] == "set"]
    assert set(known) == set(measured)
    assert history.accepted[-1].config == optimum
    assert history.decisions[-1].kind == "stop"
    waited = [
        row for step in history.accepted[1:] for row in step.detail["candidates"]
        if "postponed" in row
    ]  # fmt: skip
    assert waited
