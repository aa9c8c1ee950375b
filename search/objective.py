"""What a search wants: the objective, the cap on one trial, and how many seeds it may spend."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from search.costs import COSTS
from spec.config import Config, problems, refuse
from spec.errors import did_you_mean

Positive = Annotated[int, Field(ge=1)]


CAPS = ("max_steps", "max_tokens", "max_seconds")
"""What of a budget bounds the length of a trial."""


class Budget(Config):
    """The cap on one trial, the same for every trial that is compared."""

    max_steps: Positive | None = None
    """Optimizer steps; the shorter of this and the config's own is the planned length."""
    max_tokens: Positive | None = None
    """Training tokens; also shortens the planned length."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Train seconds; a pure stop, the learning-rate schedule does not bend to it."""
    stop_at_loss: float | None = None
    """Stop at the first evaluation at or below this validation loss."""

    @property
    def key(self) -> str:
        """The budget as a word: equal budgets have equal keys."""
        return _key(self)

    def growth(self, after: Budget) -> str:
        """How its caps differ from another's, such as ``max_steps 400 -> 800``."""
        caps = [(name, getattr(self, name), getattr(after, name)) for name in CAPS]
        return ", ".join(f"{name} {a:,.6g} -> {b:,.6g}" for name, a, b in caps if a is not None)


@lru_cache(maxsize=64)
def _key(budget: Budget) -> str:
    return json.dumps(budget.model_dump(exclude_none=True), sort_keys=True)


class Objective(Config):
    """What counts as better, what it is paid with, and what may not be exceeded."""

    gain: Literal["val_loss", "val_bpb", "time_to_target"] = "val_loss"
    """The quality that drives acceptance."""
    target: float | None = None
    """Validation loss to reach; every trial is timed to it, whichever quality drives acceptance."""
    crossing: Literal["first", "sustained"] = "first"
    """Whether the target is reached at the first crossing, or once the loss stays below it."""
    stop_at_target: bool = False
    """End a trial at the target: saves time, but its final loss is then not comparable."""
    cost: str = "parameters"
    """The cost a gain is divided by."""
    limits: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Cost -> largest value allowed; checked before training where the cost is known by then."""

    @field_validator("cost")
    @classmethod
    def _cost_is_known(cls, cost: str) -> str:
        if cost not in COSTS:
            raise ValueError(f"unknown cost {cost!r}{did_you_mean(cost, COSTS)}")
        return cost

    @model_validator(mode="after")
    def _fits_together(self) -> Objective:
        unknown = [name for name in self.limits if name not in COSTS]
        if unknown:
            raise problems(
                *(
                    (("limits", name), name, f"unknown cost {name!r}{did_you_mean(name, COSTS)}")
                    for name in unknown
                )
            )
        if self.target is None and (self.gain == "time_to_target" or self.stop_at_target):
            refuse(None, "time to target needs a target: a validation loss such as 2.0", "target")
        if self.stop_at_target and self.crossing == "sustained":
            refuse(
                True,
                "a trial that ends at the target cannot show that it stays; use crossing: first",
                "stop_at_target",
            )
        if self.stop_at_target and self.gain != "time_to_target":
            refuse(
                True,
                f"stopping at the target spoils {self.gain}; use gain: time_to_target",
                "stop_at_target",
            )
        return self

    @property
    def timed(self) -> bool:
        """Whether decisions rest on a clock, so that only trials packed alike may be compared."""
        timed = any(COSTS[name].timed for name in (self.cost, *self.limits))
        return timed or self.gain == "time_to_target"


class Seeds(Config):
    """How many seeds each phase of a round may spend."""

    first: Annotated[int, Field(ge=0)] = 1337
    """The first seed; all others follow from it."""
    screen: Positive = 1
    """Seeds for every neighbour."""
    max: Annotated[int, Field(ge=1, le=400)] = 5
    """Most seeds for one candidate, while it races and again while it is confirmed."""
    confirm: Annotated[int, Field(ge=0)] = 2
    """Fresh seeds for winner and incumbent before a step is taken; 0 takes it unconfirmed."""

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of fresh seeds at which a confirmation looks; the last of several is ``max``."""
        if not self.confirm:
            return ()
        found = list(range(self.confirm, self.max + 1, self.confirm))
        return (*found[:-1], self.max) if len(found) > 1 else tuple(found)

    @model_validator(mode="after")
    def _ordered(self) -> Seeds:
        for name in ("screen", "confirm"):
            if getattr(self, name) > self.max:
                refuse(
                    getattr(self, name),
                    f"{getattr(self, name)} is more than max {self.max}; raise max",
                    name,
                )
        return self
