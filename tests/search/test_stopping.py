"""Trials that cannot win are ended early, with the reason; those that may are left alone."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from search.exploration import Exploration
from search.gains import expected_quality, quality
from search.history import History, Purpose, Request, Stopped, Trial
from search.objective import Budget, Objective, Seeds
from search.run import app
from search.simulation import Outcome, Simulation
from search.stopping import EarlyStopping, extrapolate
from search.strategies.greedy import Greedy
from search.strategies.guided import Guided
from search.strategies.random import Random
from search.summary import open_study
from spec import yaml
from spec.records import End, Eval
from tests.search import toy
from tests.search.worlds import Bowl, problem

LOSS = Objective()
TIMED = Objective(gain="time_to_target", target=3.0)


@dataclass
class Curves(Bowl):
    """A bowl whose losses come down over twenty evaluations, those of worse configs above."""

    wiggle: float = 0.003
    pace: float = 1.0

    def _describe(self, config):
        described = super()._describe(config)
        return replace(described, inventory={**described.inventory, "planned_steps": 200})

    def train(self, request: Request) -> Outcome:
        final = self.loss(request.description.config)
        rng = random.Random(f"{self.salt}{request.description.config_id}{request.seed}")
        size = sum(request.description.config.values()) * self.pace
        final += rng.gauss(0, self.noise)
        curve = tuple(
            Eval(
                step=10 * k,
                tokens=10 * k,
                train_seconds=0.1 * k * size,
                val_loss=final
                + 4.0 * (0.7 + 0.3 * final / 2.2) / (1 + k)
                + rng.gauss(0, self.wiggle),
            )
            for k in range(1, 21)
        )
        return Outcome(curve, curve[-1].train_seconds)


def trials(world: Curves, values: list[int]) -> list[Trial]:
    asked = problem(world)
    found = []
    for number, value in enumerate(values):
        (config,) = world.describe([{"a": value, "b": 8, "c": 8}])
        request = Request(config, 1, Budget(), Purpose(0, "screen", {"path": "a"}), asked.clock)
        outcome = world.train(request)
        end = End(status="completed")
        found.append(Trial(number, request, "finished", curve=outcome.curve, end=end))
    return found


def cut(trial: Trial, evaluations: int) -> Trial:
    return replace(trial, state="running", curve=trial.curve[:evaluations], end=None)


def test_a_curve_is_extrapolated_from_what_became_of_others() -> None:
    best, *peers, last = trials(Curves(), [8, *range(1, 8), *range(9, 40), 64])
    guess = extrapolate(cut(last, 8), [best], peers, LOSS)
    assert guess is not None
    truth = min(point.val_loss for point in last.curve)
    assert abs(guess.final - truth) < 4 * guess.error
    level = min(point.val_loss for point in best.curve)
    assert guess.low(0.95) < guess.behind == pytest.approx(guess.final - level)


def test_nothing_is_extrapolated_from_few_curves_or_few_evaluations_or_another_length() -> None:
    best, *peers, last = trials(Curves(), [8, *range(1, 8), *range(9, 40), 64])
    assert extrapolate(cut(last, 8), [best], peers[:7], LOSS) is None
    assert extrapolate(cut(last, 2), [best], peers, LOSS) is None
    shorter = [replace(peer, curve=peer.curve[:-1]) for peer in peers]
    assert extrapolate(cut(last, 8), [best], shorter, LOSS) is None


@pytest.mark.parametrize("planned", [{"planned_steps": 400}, {}])
def test_nothing_is_extrapolated_to_another_length_than_the_trials_own(planned) -> None:
    best, *peers, last = trials(Curves(), [8, *range(1, 8), *range(9, 40), 64])
    told = last.request.description
    inventory = {"parameters": told.inventory["parameters"], **planned}
    request = replace(last.request, description=replace(told, inventory=inventory))
    assert extrapolate(cut(last, 8), [best], peers, LOSS) is not None
    assert extrapolate(replace(cut(last, 8), request=request), [best], peers, LOSS) is None


def test_the_noise_of_seeds_makes_an_extrapolation_less_sure() -> None:
    best, *peers, last = trials(Curves(), [8, *range(1, 8), *range(9, 40), 64])
    alone = extrapolate(cut(last, 8), [best], peers, LOSS)
    again = []
    for number, trial in enumerate(peers[:6]):
        points = [p.model_copy(update={"val_loss": p.val_loss + 0.1 * number}) for p in trial.curve]
        request = replace(trial.request, seed=2)
        again.append(replace(trial, number=100 + number, request=request, curve=tuple(points)))
    repeated = extrapolate(cut(last, 8), [best], [*peers, *again], LOSS)
    assert alone is not None
    assert repeated is not None
    assert repeated.error > alone.error + 0.05


def test_a_prediction_counts_only_for_the_gain_it_was_made_for() -> None:
    (trial,) = trials(Curves(), [8])
    stopped = Stopped("curve", "", "val_loss", 2.5)
    trial = replace(cut(trial, 8), state="stopped", stopped=stopped)
    assert expected_quality(trial, LOSS) == pytest.approx(math.exp(-2.5))
    assert expected_quality(trial, Objective(gain="val_bpb")) is None
    assert expected_quality(trial, TIMED) is None


def test_a_strategy_that_may_take_what_is_worse_ends_nothing() -> None:
    world = Curves(noise=0.003, slope=0.2)
    asked = problem(world, objective=TIMED)
    for shrink, stopped in ((False, True), (True, False)):
        strategy = Greedy(shrink=shrink, max_rounds=1)
        simulation = Simulation(strategy, asked, world, early=EarlyStopping(cap=1.1))
        simulation.run(max_trials=60)
        assert any(trial.stopped for trial in simulation.history) is stopped


def test_what_may_still_win_goes_on_and_what_cannot_is_stopped() -> None:
    best, *peers = trials(Curves(), [10, *range(1, 7), *range(11, 40)])
    history = History([best, *peers])
    options = EarlyStopping(confidence=0.99)
    near, far = (replace(t, number=99) for t in trials(Curves(noise=0.0), [8, 64]))
    assert options.verdict(cut(near, 8), best.config_id, history, LOSS) is None
    stopped = options.verdict(cut(far, 8), best.config_id, history, LOSS)
    assert stopped is not None
    assert stopped.rule == "curve"
    assert stopped.predicted == pytest.approx(far.curve[-1].val_loss, abs=0.1)
    assert stopped.least is not None
    assert best.curve[-1].val_loss < stopped.least < stopped.predicted
    assert stopped.least < far.curve[-1].val_loss
    bolder = EarlyStopping(confidence=0.9).verdict(cut(far, 8), best.config_id, history, LOSS)
    assert bolder is not None
    assert stopped.least < (bolder.least or 0.0) < stopped.predicted
    assert f"with 99 % confidence at {stopped.least:.4f} or above" in stopped.words
    assert EarlyStopping().verdict(cut(far, 8), best.config_id, history, LOSS) is None


def test_what_others_are_compared_with_is_never_stopped() -> None:
    best, *peers, far = trials(Curves(), [8, *range(1, 8), *range(9, 40), 64])
    history, options = History([best, *peers]), EarlyStopping(confidence=0.99)
    for purpose in (Purpose(0, "confirm", {"path": "a"}), Purpose(0, "screen", None)):
        own = replace(cut(far, 8), request=replace(far.request, purpose=purpose))
        assert options.verdict(own, best.config_id, history, LOSS) is None


def test_a_trial_far_beyond_the_time_of_the_best_is_stopped_at_the_cap() -> None:
    best, slow = trials(Curves(pace=1.0), [8, 64])
    history, options = History([best]), EarlyStopping(cap=2.0)
    reached = -quality(best, TIMED)  # ln seconds
    first, *_ = (
        n for n in range(1, 21) if options.verdict(cut(slow, n), best.config_id, history, TIMED)
    )
    assert slow.curve[first - 1].train_seconds > 2.0 * math.exp(reached)
    assert slow.curve[first - 2].train_seconds <= 2.0 * math.exp(reached)
    assert all(point.val_loss > 3.0 for point in slow.curve[:first])
    assert not options.verdict(cut(slow, 20), "unknown", history, TIMED)
    off = EarlyStopping(cap=None)
    assert not any(off.verdict(cut(slow, n), best.config_id, history, TIMED) for n in range(1, 21))


def test_the_cap_counts_the_misses_of_the_best() -> None:
    best, slow = trials(Curves(pace=1.0), [8, 64])
    reached = math.exp(-quality(best, TIMED))
    missed, own = cut(best, 1), replace(best.request, seed=2)
    late = replace(best, number=2, request=own, curve=delayed(best.curve, 2.0))
    lost = replace(missed, number=3, request=replace(best.request, seed=3), state="finished")
    history, options = History([best, late, lost]), EarlyStopping(cap=1.2)
    ends = [
        slow.curve[n - 1].train_seconds
        for n in range(1, 21)
        if options.verdict(cut(slow, n), best.config_id, history, TIMED)
    ]
    assert min(ends) > 1.2 * 2.0 * reached  # of three the median is the late one


def delayed(curve: tuple[Eval, ...], factor: float) -> tuple[Eval, ...]:
    """A curve that takes so many times as long."""
    return tuple(
        point.model_copy(update={"train_seconds": factor * point.train_seconds}) for point in curve
    )


def test_a_stopped_trial_measures_nothing_but_is_expected_to_be_something() -> None:
    best, *peers, far = trials(Curves(), [8, *range(1, 8), *range(9, 40), 64])
    stopped = EarlyStopping(confidence=0.99).verdict(
        cut(far, 8), best.config_id, History([best, *peers]), LOSS
    )
    trial = replace(cut(far, 8), state="stopped", stopped=stopped)
    assert quality(trial, LOSS) is None
    expected = expected_quality(trial, LOSS)
    assert expected is not None
    assert expected < quality(best, LOSS)


@pytest.mark.parametrize("strategy", [Greedy(max_rounds=3), Guided(trials=60), Random(trials=60)])
def test_searches_take_the_same_way_for_less_time(strategy) -> None:
    world = Curves(noise=0.003)
    asked = problem(world, seeds=Seeds(max=3, confirm=2))
    ends = []
    for early in (None, EarlyStopping(confidence=0.99)):
        simulation = Simulation(strategy, asked, world, workers=2, early=early)
        simulation.run(max_trials=400)
        ends.append(simulation)
    whole, shorter = ends
    assert any(trial.state == "stopped" for trial in shorter.history)
    losses = [
        world.loss(e.history.accepted[-1].config) if e.history.accepted else 9.0 for e in ends
    ]
    assert losses[1] <= losses[0] + 0.02
    if isinstance(strategy, Random):  # the others learn from what is left out, and go elsewhere
        assert shorter.now < 0.9 * whole.now


def test_a_time_to_target_search_spends_less_with_a_cap() -> None:
    world = Curves(noise=0.003, slope=0.2)
    timed = Objective(gain="time_to_target", target=2.6)
    asked = problem(world, objective=timed, seeds=Seeds(max=3, confirm=2))
    ends = []
    for early in (EarlyStopping(cap=None), EarlyStopping(cap=1.5)):
        simulation = Simulation(Guided(trials=40), asked, world, workers=2, early=early)
        simulation.run(max_trials=200)
        ends.append(simulation)
    assert ends[1].now < ends[0].now
    stopped = [trial.stopped for trial in ends[1].history if trial.stopped]
    assert stopped
    assert all(s.rule == "cap" and "1.5 times" in s.words for s in stopped)


def exploration(**changes) -> Exploration:
    asked = {"study": "x", "baseline": {"a": 1}, "space": {"a": {"step": 1, "min": 0, "max": 9}}}
    return Exploration.model_validate(asked | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": {"gain": "time_to_target", "target": 2.0}},
        {"strategy": {"kind": "pareto"}},
        {"strategy": {"kind": "greedy", "shrink": True}},
        {"strategy": {"kind": "guided", "caps": [1000.0]}},
    ],
)
def test_extrapolation_is_refused_where_a_worse_loss_may_be_wanted(changes) -> None:
    early = {"early_stopping": {"confidence": 0.99}}
    exploration(**early)
    with pytest.raises(ValidationError, match="early_stopping"):
        exploration(**early, **changes)


def test_a_real_trial_is_asked_to_end_and_kept_as_stopped(tmp_path: Path) -> None:
    file = toy.exploration(
        tmp_path,
        trainer={"kind": "toy", "steps": 20},
        baseline={"rate": 4.0, "seconds": 0.15},
        space={"width": {"choices": [4, 16]}},
        objective={"gain": "time_to_target", "target": 1.7},
        early_stopping={"cap": 2.0},
        strategy="grid",
        seeds={"confirm": 0},
        executor={"kind": "local", "workers": 1, "start": "spawn", "device": "cpu", "grace": 5},
    )
    done = CliRunner().invoke(app, [str(file), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "1 stopped early" in done.output
    history = open_study(tmp_path / "toy").history
    (trial,) = [trial for trial in history if trial.state == "stopped"]
    assert trial.request.description.config["width"] == 16
    assert trial.end is not None
    assert trial.end.status == "stopped"
    assert len(trial.curve) < 20
    assert trial.stopped is not None
    assert "over 2 times" in trial.stopped.words
    told = yaml.read(tmp_path / "toy" / "results.yaml").data
    assert told["trials"]["stopped"] == 1
    assert told["stopped_early"][0]["reason"] == trial.stopped.words
    assert [line["trial"] for line in told["stopped_early"]] == [trial.number]
    (pruned,) = [t for t in optuna_trials(tmp_path / "toy") if t.number == trial.number]
    assert pruned.state.name == "PRUNED"


def test_what_was_stopped_runs_whole_once_the_rule_is_changed(tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "trainer": {"kind": "toy", "steps": 20},
        "baseline": {"rate": 4.0, "seconds": 0.15},
        "space": {"width": {"choices": [4, 16]}},
        "objective": {"gain": "time_to_target", "target": 1.7},
        "seeds": {"confirm": 0},
        "executor": {"kind": "local", "workers": 1, "start": "spawn", "device": "cpu", "grace": 5},
    }
    states = []
    for cap, most in ((2.0, None), (2.0, 90), (None, None)):  # more trials are no other rule
        asked["strategy"] = {"kind": "grid", "trials": most}
        file = toy.exploration(tmp_path, **asked, early_stopping={"cap": cap})
        done = CliRunner().invoke(app, [str(file), "--out", str(tmp_path)])
        assert done.exit_code == 0, done.output
        history = open_study(tmp_path / "toy").history
        wide = [t for t in history if t.request.description.config["width"] == 16]
        states.append([trial.state for trial in wide])
    assert states == [["stopped"], ["stopped"], ["failed", "finished"]]


def optuna_trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{folder / 'study.db'}"
    return optuna.load_study(study_name="toy", storage=storage).get_trials()
