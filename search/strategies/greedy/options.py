"""What a person can set of the greedy search."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from search.strategies.base import Strategy
from spec.config import Config


class RaiseBudget(Config):
    """How the budget of one trial grows when no neighbour is significant."""

    factor: Annotated[float, Field(gt=1)] = 2.0
    """What ``max_steps``, ``max_tokens`` and ``max_seconds`` are multiplied by; the first two stay
    whole."""
    times: Annotated[int, Field(ge=1)] = 1
    """How often, at most."""


class Options(Strategy):
    """The options of ``greedy``."""

    max_rounds: Annotated[int, Field(ge=1)] | None = None
    """Accepted steps after which the search stops."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Largest chance, per round, of accepting a neighbour that is no better."""
    race: Annotated[int, Field(ge=2)] = 4
    """Candidates that get a second seed; half as many get each further one."""
    attempts: Annotated[int, Field(ge=1)] = 3
    """Candidates of one round that may be confirmed, one after the other; as many again each time
    postponed ones have joined."""
    combine: bool = True
    """Take all neighbours that are clearly better in one step, if together they are better than the
    best of them by more than noise; false: one neighbour a step, as always under ``shrink``, whose
    exchange rate is that of a single change."""
    shrink: bool = False
    """Also take worse but cheaper steps, if they give up less per unit than was last paid."""
    recheck: Annotated[int, Field(ge=1)] = 3
    """Every so many rounds all neighbours are measured; in between, one whose gain in an earlier
    round, at its upper confidence bound, would not be the best is not trained. 1: always all."""
    raise_budget: RaiseBudget | None = None
    """Instead of stopping without a significant neighbour, let trials train longer, measure the
    incumbent again and go on; null: stop."""

    @property
    def combines(self) -> bool:
        """Whether steps may be of several changes."""
        return self.combine and not self.shrink
