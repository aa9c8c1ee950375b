"""Lazy rounds: what earlier rounds measured saves trials, and decides nothing else."""

import math

import pytest

from search.history import Decision, History
from search.objective import Objective
from search.simulation import Simulation
from search.strategies.greedy import Greedy
from search.strategies.greedy.lazy import earlier_gains
from search.strategies.greedy.spending import levels
from tests.search.test_greedy import told
from tests.search.worlds import Bowl, Jittery, problem

EVEN, ODD = {f"even{i}": 8.0 for i in range(4)}, {f"odd{i}": 4.0 for i in range(4)}


def additive(salt="", noise=0.003):
    """Eight knobs, four of which gain once when doubled; their gains add up."""
    return Bowl(EVEN | ODD, slope=0.04, noise=noise, salt=salt)


def search(world, workers=1, history=None, **options):
    """Of single steps, so that there are rounds enough."""
    strategy = Greedy(combine=False, **options)
    simulation = Simulation(strategy, problem(world), world, workers, history=history or History())
    simulation.run()
    return simulation.history


@pytest.fixture(scope="module")
def lazy():
    return search(additive(), recheck=100)


def trained(history, number):
    """Keys of the candidates that were trained in one round."""
    edits = (t.request.purpose.edit for t in history if t.request.purpose.round == number)
    return {f"{edit['path']} {edit['move']}" for edit in edits if edit}


def postponed(decision):
    return {c["key"]: c["postponed"] for c in decision.detail["candidates"] if "postponed" in c}


def test_the_same_path_takes_fewer_trials():
    for salt in "ab":
        full, saving = (search(additive(salt), recheck=every) for every in (1, 3))
        assert [d.config for d in saving.accepted] == [d.config for d in full.accepted]
        assert len(saving) <= 0.9 * len(full)


def test_every_so_many_rounds_all_neighbours_are_measured():
    for every in (1, 2, 3):
        history = search(additive(), recheck=every)
        assert len(history.accepted) == 4
        left_out = [bool(postponed(decision)) for decision in history.accepted]
        assert left_out == [number % every > 0 for number in range(4)]


def test_the_first_round_in_a_setting_measures_all():
    world = additive()
    history = search(world, recheck=100, max_rounds=2)
    asked = problem(world)
    longer = type(asked)(
        **{**vars(asked), "budget": asked.budget.model_copy(update={"max_steps": 9})}
    )
    strategy = Greedy(combine=False, recheck=100, max_rounds=3)
    Simulation(strategy, longer, world, history=history).run()
    assert [bool(postponed(d)) for d in history.accepted] == [False, True, False]


def test_one_that_was_left_out_is_told_with_its_bound(lazy):
    words = postponed(lazy.accepted[1])
    assert words
    assert all(text.startswith("not measured: at most ") for text in words.values())
    assert all("by round 0" in text for text in words.values())
    assert not set(words) & trained(lazy, 1)


def test_no_search_ends_on_what_earlier_rounds_measured(lazy):
    stop = lazy.decisions[-1]
    assert stop.kind == "stop"
    assert not postponed(stop)
    neighbours = [c for c in stop.detail["candidates"] if not c.get("rejected")]
    assert trained(lazy, stop.round) == {c["key"] for c in neighbours}
    assert f"among {len(neighbours)};" in stop.words  # all that may be trained
    numbers = [number for c in neighbours for number in c["trials"]]
    assert {lazy[number].request.purpose.round for number in numbers} == {stop.round}


def test_what_helps_only_after_another_step_is_found_in_the_end():
    world = Bowl({"a": 8.0, "b": 8.0, "c": 8.0}, noise=0.003, common=0.0)

    def loss(config):
        a, b, c = (math.log2(config[key] / 4) for key in "abc")
        return 2.0 - 0.1 * min(a, 1) - 0.05 * min(c, 1) + 0.05 * (-min(b, 1) if a >= 1 else abs(b))

    world.loss = loss
    history = search(world, recheck=100)
    assert "b x2" in postponed(history.accepted[1])
    assert history.accepted[-1].config == {"a": 8, "b": 8, "c": 8}


class OneStep(Bowl):
    """One neighbour of the baseline is far better; there is next to nothing after it."""

    def loss(self, config):
        return super().loss(config) - 0.2 * (config["a"] == 8)


def test_false_steps_stay_below_alpha_in_lazy_rounds():
    rounds, wrong = 30, 0
    for number in range(rounds):
        world = OneStep(dict.fromkeys("abc", 4.0), slope=0.0, noise=0.02, salt=str(number))
        history = search(world, recheck=3, max_rounds=2)
        first, *more = history.accepted
        assert first.config["a"] == 8
        wrong += bool(more)
    assert wrong / rounds <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / rounds)


def test_the_attempts_of_a_round_share_its_alpha_also_when_others_join():
    for number in range(6):
        world = OneStep(dict.fromkeys("abcde", 4.0), slope=0.002, noise=0.01, salt=str(number))
        for decision in search(world, recheck=3).decisions:
            attempts = decision.detail["attempts"]
            assert len({attempt["key"] for attempt in attempts}) == len(attempts)
            looks = (2, 4)  # seeds: {max: 4, confirm: 2}
            for number, attempt in enumerate(attempts):
                tested = levels(0.05, number, looks)
                assert attempt["alpha"] == tested[looks.index(len(attempt["seeds"]))]


@pytest.mark.parametrize("workers", [3, 8])
def test_decisions_do_not_depend_on_the_order_of_completion(lazy, workers):
    assert told(search(additive(), workers, recheck=100)) == told(lazy)


def test_resuming_at_any_prefix_gives_the_same_decisions(lazy):
    for cut in range(3, len(lazy), 17):
        kept = [trial for trial in lazy if trial.number < cut]
        latest = max(trial.request.purpose.round for trial in kept)
        history = History(kept, [d for d in lazy.decisions if d.round < latest])
        search(additive(), history=history, recheck=100)
        assert told(history) == told(lazy)
        assert len(history) == len(lazy)


def accepted(number, chosen, *candidates, **detail):
    told = [
        {
            "key": f"{path} {move}",
            "edit": {"path": path, "op": op, "value": None, "move": move},
            "gain": {"mean": high - 0.01, "error": 0.01, "high": high},
        }
        for path, op, move, high in candidates
    ]
    known = {"setting": "s", "candidates": told, "attempts": [], "chosen": chosen}
    return Decision("accept", number, "", {}, "id", {**known, **detail})


def test_bounds_do_not_follow_layers_that_moved():
    step = ("model.layers[1]", "duplicate", "duplicated", 0.5)
    others = [(f"model.layers[{i}].heads", "set", "+1", 0.1) for i in range(3)]
    others += [("model.layers[:].norm", "set", "layernorm", 0.2), ("rate", "set", "x2", 0.3)]
    known = earlier_gains(
        [accepted(0, "model.layers[1] duplicated", step, *others)], "s", recheck=9
    )
    assert set(known) == {"model.layers[0].heads +1", "model.layers[:].norm layernorm", "rate x2"}


def test_bounds_grow_with_the_quality_they_are_a_share_of():
    rows = [("a", "set", "+1", 0.4), ("b", "set", "+1", 0.1)]
    past = [accepted(0, "a +1", *rows, growth=1.2), accepted(1, "a +1", rows[0], growth=1.5)]
    past[1].detail["candidates"].append({"key": "b +1", "postponed": "not measured"})
    known = earlier_gains(past, "s", recheck=9)
    assert known["b +1"].gain == pytest.approx(0.1 * 1.2 * 1.5)
    assert known["b +1"].round == 0
    assert known["a +1"].gain == pytest.approx(0.4 * 1.5)
    assert not earlier_gains(past, "another setting", recheck=9)


def test_a_gain_on_fresh_seeds_stands_before_the_one_that_chose():
    attempt = {
        "key": "b +1",
        "edit": {"path": "b", "op": "set", "value": None, "move": "+1"},
        "gain": {"mean": 0.0, "error": 0.01, "high": 0.02},
    }
    rows = [("a", "set", "+1", 0.4), ("b", "set", "+1", 0.1)]
    known = earlier_gains([accepted(0, "a +1", *rows, attempts=[attempt])], "s", recheck=2)
    assert known["b +1"].gain == 0.02


def test_what_waits_is_taken_to_cost_as_little_as_it_may():
    world = Jittery({"a": 8.0, "b": 8.0, "c": 8.0}, slope=0.1, noise=0.002)
    asked = problem(world, objective=Objective(cost="step_ms"))
    simulation = Simulation(Greedy(max_rounds=1), asked, world)
    simulation.run()
    step = simulation.history.accepted[0]
    told = {c["key"]: c["cost"] for c in step.detail["candidates"] if c["edit"]["op"] == "set"}
    found = earlier_gains([step], step.detail["setting"], recheck=100)
    assert found
    for key, earlier in found.items():
        least = told[key]["change"] - 2.0 * told[key]["error"]
        assert earlier.cost is not None
        assert earlier.cost.mean == pytest.approx(least)
        assert earlier.cost.error == 0.0
