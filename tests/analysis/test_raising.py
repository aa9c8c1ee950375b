"""The report of a search whose budget was raised, and of rounds that left candidates out."""

import re
from pathlib import Path

import pytest

from analysis.page import render
from analysis.view import View, load
from search.history import Request
from tests.analysis.studies import Outcome, exploration, grow, train


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    """A search that raised its budget once and took a step before."""
    strategy = {"kind": "greedy", "max_rounds": 3, "raise_budget": {"factor": 2}}
    asked = exploration(strategy=strategy, space={"optimizer.learning_rate": {"scale": 1.5}})
    folder = tmp_path_factory.mktemp("raised")
    return load(grow(folder, asked, longer))


def longer(request: Request) -> Outcome:
    """Losses fall with the budget."""
    less = 100 / (request.budget.max_steps or 1)
    outcome = train(request)
    points = (p.model_copy(update={"val_loss": p.val_loss + less}) for p in outcome.curve)
    return Outcome(tuple(points), outcome.failure)


def words(view: View) -> str:
    return re.sub(r"<[^>]*>|\s+", " ", render(view))


def test_a_raised_budget_is_a_round_of_its_own_and_is_told(view: View) -> None:
    kinds = [decision.kind for decision in view.history.decisions]
    assert kinds.count("raise") == 1
    text = words(view)
    assert f"Round {kinds.index('raise')}: budget raised" in text
    assert "It was raised meanwhile: max_steps 400 -&gt; 800" in text
    assert "compare within one budget" in text


def test_the_round_after_a_raise_is_the_one_under_way(tmp_path: Path) -> None:
    asked = exploration(
        strategy={"kind": "greedy", "raise_budget": {}},
        space={"optimizer.learning_rate": {"choices": [0.004, 0.0040001]}},
    )
    most = 14
    while True:  # until the first trial under the raised budget has ended
        folder = tmp_path / str(most)
        view = load(grow(folder, asked, longer, most=most))
        if len({t.request.setting for t in view.trials}) > 1:
            break
        most += 1
    assert view.open_round == 1
    assert "Round 1 is under way" in words(view)
