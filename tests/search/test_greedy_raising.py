"""Raising the budget when no neighbour is significant."""

from dataclasses import replace

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from search.exploration import Exploration
from search.history import Decision, History
from search.objective import Budget
from search.results import derive, raised_words
from search.run import app
from search.session import check_baseline
from search.simulation import Simulation
from search.strategies.greedy import Greedy
from search.strategies.greedy.options import RaiseBudget
from search.strategies.greedy.raising import current, raised
from search.summary import open_study, summary
from search.trainers import Builtin, Foreign
from spec.errors import ConfigError
from spec.yaml import Document
from tests.search import toy
from tests.search.test_greedy import told
from tests.search.worlds import Bowl, problem

BUDGET = Budget(max_steps=100)
TWICE = Greedy(raise_budget=RaiseBudget(factor=2, times=2))


class Slow(Bowl):
    """More steps lower every loss; what ``b`` is good for shows after 200 of them only."""

    def train(self, request):
        steps = request.budget.max_steps
        outcome = super().train(request)
        late = 0.1 * (request.description.config["b"] >= 8) * (steps >= 200)
        points = (
            point.model_copy(update={"val_loss": point.val_loss + 100 / steps - late})
            for point in outcome.curve
        )
        return replace(outcome, curve=tuple(points))


def world(salt=""):
    return Slow({"a": 8.0, "b": 4.0}, slope=0.05, noise=0.005, salt=salt)


def search(world, strategy=TWICE, workers=1, history=None, budget=BUDGET):
    asked = replace(problem(world), budget=budget)
    simulation = Simulation(strategy, asked, world, workers, history=history or History())
    simulation.run()
    return simulation.history


@pytest.fixture(scope="module")
def whole():
    return search(world())


def test_a_raised_budget_has_a_key_of_its_own():
    budget = Budget(max_steps=100)
    assert raised(budget, 2.0).key == Budget(max_steps=200).key != budget.key


def test_a_longer_budget_finds_what_a_shorter_one_could_not(whole):
    assert [d.kind for d in whole.decisions] == ["accept", "raise", "accept", "raise", "stop"]
    assert [d.config for d in whole.accepted] == [{"a": 8, "b": 4}, {"a": 8, "b": 8}]
    assert search(world(), Greedy()).accepted[-1].config == {"a": 8, "b": 4}


def test_it_says_what_was_raised_and_why(whole):
    first, second = whole.raised
    assert "budget raised, max_steps 100 -> 200: no significant neighbour" in first.words
    assert "80 % power" in first.words
    caps = {name: told["max_steps"] for name, told in second.detail["budget"].items()}
    assert caps == {"first": 100, "before": 200, "after": 400}
    assert raised_words(whole) == "max_steps 100 -> 400"


def test_the_incumbent_is_measured_again_first_and_nothing_older_counts(whole):
    for decision in whole.raised:
        after = [t for t in whole if t.request.purpose.round == decision.round + 1]
        incumbent = [d for d in whole.accepted if d.round < decision.round][-1]
        assert [t.config_id for t in after[:3]] == [incumbent.config_id] * 3
        steps = decision.detail["budget"]["after"]["max_steps"]
        assert {t.request.budget.max_steps for t in after} == {steps}
        first = 1337 + 1000 * (decision.round + 1)  # no seed is carried over a raise
        assert min(t.seed for t in after) == first
    for decision in whole.decisions:
        own = [t for t in whole if t.request.purpose.round == decision.round]
        rows = [*decision.detail["candidates"], *decision.detail["attempts"]]
        numbers = {number for row in rows for number in row.get("trials", ())}
        assert numbers <= {trial.number for trial in own}
        numbers |= set(decision.detail["incumbent"]["trials"])
        assert {whole[n].request.budget for n in numbers} == {own[0].request.budget}


def test_rounds_are_numbered_through(whole):
    assert [decision.round for decision in whole.decisions] == [0, 1, 2, 3, 4]
    for number in range(5):
        before = {t.seed for t in whole if t.request.purpose.round < number}
        fresh = [
            trial.seed
            for trial in whole
            if trial.request.purpose.round == number and trial.request.purpose.phase == "confirm"
        ]
        assert not before & set(fresh)


def test_no_step_is_taken_back_under_a_longer_budget():
    turning = world()
    real = turning.train

    def train(request):  # the first step turns out to be worse when trained for longer
        outcome = real(request)
        worse = 0.3 * (request.description.config["a"] == 8) * (request.budget.max_steps > 100)
        points = (p.model_copy(update={"val_loss": p.val_loss + worse}) for p in outcome.curve)
        return replace(outcome, curve=tuple(points))

    turning.train = train
    history = search(turning)
    ids = [turning.describe([{"a": 4, "b": 4}])[0].config_id]
    ids += [decision.config_id for decision in history.accepted]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("workers", [2, 5])
def test_decisions_do_not_depend_on_the_order_of_completion(whole, workers):
    assert told(search(world(), workers=workers)) == told(whole)


def test_resuming_at_any_prefix_gives_the_same_decisions(whole):
    for cut in range(3, len(whole), 9):
        kept = [trial for trial in whole if trial.number < cut]
        latest = max(trial.request.purpose.round for trial in kept)
        history = search(
            world(), history=History(kept, [d for d in whole.decisions if d.round < latest])
        )
        assert told(history) == told(whole)
        assert len(history) == len(whole)


def test_a_stopped_search_goes_on_once_it_may_raise(whole):
    history = search(world(), Greedy())
    before = len(history)
    search(world(), history=history)
    assert [d.kind for d in history.decisions if d.kind != "stop"] == [
        d.kind for d in whole.decisions if d.kind != "stop"
    ]
    assert len(history) == len(whole) > before


def test_an_empty_neighbourhood_is_no_reason_to_train_longer():
    asked = replace(problem(world(), space={"a": {"choices": [4]}}), budget=BUDGET)
    simulation = Simulation(TWICE, asked, world())
    simulation.run()
    (decision,) = simulation.history.decisions
    assert decision.kind == "stop"
    assert "no neighbour left" in decision.words


def test_neighbours_are_described_once_for_many_proposals_also_after_a_raise(whole):
    class Counting(Slow):
        asked = 0

        def describe(self, configs):
            type(self).asked += len(configs)
            return super().describe(configs)

    raise_at = next(i for i, d in enumerate(whole.decisions) if d.kind == "raise")
    for taken in (0, raise_at + 1):
        asked = replace(problem(Counting({"a": 8.0, "b": 4.0})), budget=BUDGET)
        history = History([], whole.decisions[:taken])
        TWICE.propose(asked, history)
        before = Counting.asked
        for _ in range(5):
            TWICE.propose(asked, history)
        assert Counting.asked - before <= 5  # the incumbent's own at most


def test_every_cap_is_raised_and_whole_ones_stay_whole():
    longer = raised(Budget(max_steps=33, max_tokens=1001, max_seconds=1.5, stop_at_loss=2.0), 1.5)
    assert longer == Budget(max_steps=50, max_tokens=1502, max_seconds=2.25, stop_at_loss=2.0)
    assert isinstance(longer.max_tokens, int)


def test_a_budget_changed_by_hand_begins_anew(whole):
    asked = RaiseBudget()
    assert current(BUDGET, asked, whole.decisions) == Budget(max_steps=400)
    by_hand = Budget(max_steps=200)  # although raises have come by it
    assert current(by_hand, asked, whole.decisions) == by_hand
    assert current(Budget(max_steps=500), asked, whole.decisions) == Budget(max_steps=500)
    assert current(BUDGET, None, whole.decisions) == BUDGET


def exploration(**changes):
    asked = {
        "study": "s",
        "baseline": {"a": 4, "b": 4},
        "budget": {"max_steps": 100},
        "space": {"a": {"scale": 2}},
        "strategy": {"kind": "greedy", "raise_budget": {"factor": 2, "times": 2}},
        **changes,
    }
    return Exploration.model_validate(asked)


def test_a_budget_without_a_cap_cannot_be_raised():
    with pytest.raises(ValidationError, match="has no cap to raise; set one of max_steps"):
        exploration(budget={"total": {"trials": 9}})


def described(steps):
    (baseline,) = Bowl().describe([{"a": 4, "b": 4, "c": 4}])
    config = {**baseline.config, "schedule": {"warmup_steps": 20}}
    inventory = {"planned_steps": steps, "tokens_per_step": 512}
    return replace(baseline, config=config, inventory=inventory)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"max_steps": 100}, "max_steps would grow to 400, but the baseline"),
        ({"max_tokens": 100_000}, "max_tokens would grow to 400,000, but the baseline"),
    ],
)
def test_a_baseline_that_ends_before_the_raised_budget_is_refused(budget, said):
    asked = exploration(budget=budget)
    assert isinstance(asked.trainer, Builtin)
    with pytest.raises(ConfigError, match=said):
        check_baseline(asked, described(300), Document(None))
    check_baseline(asked, described(800), Document(None))


def test_a_foreign_baseline_that_ends_before_is_refused_too():
    trainer = Foreign.model_validate(
        {
            "command": ["python", "train.py", "{args}"],
            "budget": {"max_steps": ["max_iters", "lr_decay_iters"]},
            "metrics": [{"regex": r"val (?P<val_loss>\d+)"}],
        }
    )
    (baseline,) = Bowl().describe([{"a": 4, "b": 4, "c": 4, "max_iters": 300}])
    assert trainer.longest(baseline) == {"max_steps": 300}


def test_a_foreign_schedule_that_ends_before_the_training_does_not_keep_it_from_being_longer():
    trainer = Foreign.model_validate(
        {
            "command": ["python", "train.py", "{args}"],
            "budget": {"max_steps": ["max_iters", "lr_decay_iters"], "stop_at_loss": "goal"},
            "metrics": [{"regex": r"val (?P<val_loss>\d+)"}],
        }
    )
    config = {"a": 4, "b": 4, "c": 4, "max_iters": 5000, "lr_decay_iters": 1000, "goal": 2.0}
    (baseline,) = Bowl().describe([config])
    assert trainer.longest(baseline) == {"max_steps": 5000}
    told = trainer.overlaid(config, 0, Budget(max_steps=2000))
    assert (told["max_iters"], told["lr_decay_iters"]) == (2000, 1000)


def test_the_results_tell_the_raise_and_keep_the_rounds_apart(whole):
    asked = exploration()
    (baseline,) = world().describe([{"a": 4, "b": 4}])
    found = derive(asked, baseline, whole)
    assert [block["iter"] for block in found["iterations"]] == [-1, 0, 1, 2, 3, 4]
    block = found["iterations"][2]
    first = {"max_steps": 100}
    assert block["raised_budget"] == {"first": first, "before": first, "after": {"max_steps": 200}}
    assert block["chosen"] is None
    assert found["incumbent"]["accepted_steps"] == 2
    rounds = {trial["trial"] for trial in found["incumbent"]["seeds"]}
    assert {whole[number].request.budget.max_steps for number in rounds} == {400}


def test_a_raise_is_read_from_plain_data():
    first = {"max_steps": 100}
    detail = {"budget": {"first": first, "before": first, "after": {"max_steps": 150}}}
    history = History((), [Decision("raise", 0, "words", detail=detail)])
    assert current(BUDGET, RaiseBudget(), history.decisions) == Budget(max_steps=150)
    assert history.round == 1
    assert not history.accepted


def run(file, out, *more):
    done = CliRunner().invoke(app, [str(file), "--out", str(out), *more])
    assert done.exit_code == 0, done.output
    return done


def test_a_raised_budget_is_shown_recorded_and_resumed(tmp_path):
    file = toy.exploration(
        tmp_path,
        budget={"max_steps": 2},
        space={"noise": {"choices": [0.002, 0.0021]}},
        strategy={"kind": "greedy", "raise_budget": {"factor": 2}},
    )
    assert "\n1 neighbour\n" in run(file, tmp_path, "--dry-run").output
    begun = run(file, tmp_path, "--max-trials", "9")
    assert "max-trials" in begun.output
    output = begun.output + run(file, tmp_path).output
    assert "round 0: budget raised, max_steps 2 -> 4" in output
    assert "nothing left to do" in run(file, tmp_path).output
    history = open_study(tmp_path / "toy").history
    assert [decision.kind for decision in history.decisions] == ["raise", "stop"]
    shown = summary(tmp_path / "toy")
    assert shown["rounds"] == 1
    assert shown["stop_reason"] == history.decisions[-1].words
