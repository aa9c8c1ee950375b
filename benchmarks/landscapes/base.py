"""What a landscape is: a space with a known loss for every config, and noise on top."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from pydantic import TypeAdapter

from search.history import Description, Request
from search.moves import Space
from search.objective import Budget, Objective, Seeds
from search.simulation import Outcome, single
from search.strategies.base import Problem, Rejected
from spec.config import Data, identity


@dataclass
class Landscape:
    """A space with a loss for every config, noise around it, and the best loss under the cap.

    Attributes:
        name: For tables.
        baseline: Where searches start.
        space: Dotted path -> rule, as in an exploration.
        cap: Largest number of parameters; infinite for no limit.
        noise: Relative standard deviation of one training's loss.
    """

    name: str
    baseline: Data
    space: Data
    cap: float
    noise: float = 0.0
    _known: dict[str, Description] = field(default_factory=dict)

    def loss(self, config: Data) -> float:
        """What a training of it comes to on average."""
        raise NotImplementedError

    def parameters(self, config: Data) -> int:
        """What counts against the cap."""
        raise NotImplementedError

    @cached_property
    def optimum(self) -> float:
        """The lowest loss under the cap."""
        raise NotImplementedError

    def allowed(self, config: Data) -> bool:
        """Whether the landscape has this config."""
        return True

    def regret(self, config: Data) -> float:
        """How much of the way from the baseline to the optimum is left, from 0 to 1 and beyond."""
        return self.regret_of(self.loss(config))

    def regret_of(self, loss: float) -> float:
        """The same for a mean loss."""
        return (loss - self.optimum) / (self.loss(self.baseline) - self.optimum)

    def problem(self, confirm: int = 0, first: int = 1337, most: int = 5) -> Problem:
        """The landscape as strategies see it."""
        (baseline,) = self.describe([self.baseline])
        assert isinstance(baseline, Description)
        space = TypeAdapter(Space).validate_python(self.space)
        limits = {"parameters": float(self.cap)} if math.isfinite(self.cap) else {}
        objective = Objective(limits=limits)
        seeds = Seeds(first=first, confirm=confirm, max=most)
        return Problem(baseline, space, objective, Budget(), seeds, "", self.describe)

    def describe(self, configs: Sequence[Data]) -> list[Description | Rejected]:
        """See ``search.simulation.World``."""
        return [
            self._description(config) if self.allowed(config) else Rejected("not in the space")
            for config in configs
        ]

    def train(self, request: Request) -> Outcome:
        """See ``search.simulation.World``."""
        config = request.description.config
        word = f"{self.name} {request.description.config_id} {request.seed}".encode()
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(word).digest()[:8], "big"))
        return single(self.loss(config) * (1.0 + self.noise * rng.standard_normal()))

    def _description(self, config: Data) -> Description:
        name = identity(config)
        if name not in self._known:
            inventory = {"parameters": self.parameters(config)}
            self._known[name] = Description(config, name, inventory)
        return self._known[name]
