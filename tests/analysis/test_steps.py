"""The report of a step of several changes, and of a round that carries seeds over."""

import re
from pathlib import Path

import pytest

from analysis.blocks import Fold
from analysis.figures.rounds import rounds
from analysis.page import render
from analysis.view import View, load
from search.history import Decision, Request
from tests.analysis.studies import Outcome, exploration, grow, train

SPACE = {"optimizer.learning_rate": {"scale": 1.5}, "model.n_embd": {"step": 32, "max": 96}}
SPACE |= {"model.layers[:].norm": {"choices": ["rmsnorm", "layernorm"]}}


def clear(request: Request) -> Outcome:
    """Two changes help by far, and add up."""
    config, outcome = request.description.config, train(request)
    less = 0.3 * (config["optimizer"]["learning_rate"] == 0.006)
    less += 0.3 * (config["model"]["n_embd"] == 96)
    points = (p.model_copy(update={"val_loss": p.val_loss - less}) for p in outcome.curve)
    return Outcome(tuple(points), outcome.failure)


def grown(folder: Path, most: int = 10_000) -> View:
    asked = exploration(strategy={"kind": "greedy"}, space=SPACE, objective={})
    return load(grow(folder, asked, clear, most=most))


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    return grown(tmp_path_factory.mktemp("steps"))


def test_a_step_of_several_changes_is_named_by_all_of_them(view: View) -> None:
    step = view.history.accepted[0]
    chosen = step.detail["chosen"]
    assert all(path in chosen for path in ("optimizer.learning_rate", "model.n_embd"))
    text = re.sub(r"<[^>]*>|\s+", " ", render(view))
    assert f"Round 0: accepted {chosen}" in text
    assert "together better than the best of them" in text


def test_a_round_on_carried_seeds_compares_with_the_trials_that_confirmed(tmp_path: Path) -> None:
    view = grown(tmp_path / "whole")
    begun = sum(trial.request.purpose.round == 0 for trial in view.trials)
    view = grown(tmp_path / "begun", most=begun + 3)  # calibrated, and two neighbours screened
    screened = view.trials[-1]
    assert view.open_round == 1
    assert (screened.request.purpose.phase, screened.state) == ("screen", "finished")
    fold, *_ = rounds(view)
    assert isinstance(fold, Fold)
    assert "under way" in fold.summary
    assert "without a comparison" not in str(fold.blocks)
    assert "layernorm" in str(fold.blocks)


def test_a_round_that_the_budget_ended_shows_what_it_measured(tmp_path: Path) -> None:
    view = grown(tmp_path / "begun", most=9)
    assert not view.history.decisions
    view.history.decide(Decision("stop", 0, "the budget is spent: 9 of 9 trials"))
    fold, *_ = rounds(View(view.opened, tmp_path))
    assert isinstance(fold, Fold)
    assert fold.summary == "Round 0: cut short"
    assert "the budget is spent: 9 of 9 trials" in str(fold.blocks[0])
    assert "layernorm" in str(fold.blocks)
