"""Simulated worlds for strategy tests: losses by formula, noise by seed, failures on request."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from search.history import Description, Failure
from search.moves import Space
from search.objective import Budget, Objective, Seeds
from search.simulation import Outcome, single
from search.strategies.base import Problem, Rejected
from spec.config import identity
from spec.records import End


@dataclass
class Bowl:
    """Loss 2 + sum of |log2(value / optimum)| x slope over the knobs, parameters = sum of knobs.

    With ``slope`` 0 no neighbour differs from the baseline but by noise.
    """

    optimum: dict[str, float] = field(default_factory=lambda: {"a": 8, "b": 8, "c": 8})
    slope: float = 0.05
    noise: float = 0.01
    common: float = 0.05
    failing: dict[str, Any] = field(default_factory=dict)
    impossible: dict[str, Any] = field(default_factory=dict)
    salt: str = ""

    def describe(self, configs):
        return [self._describe(config) for config in configs]

    def _describe(self, config):
        if any(config.get(key) == value for key, value in self.impossible.items()):
            return Rejected(f"{config} is impossible")
        knobs = sum(config[key] for key in self.optimum)
        return Description(config, identity(config), {"parameters": int(knobs * 100)})

    def train(self, request):
        config = request.description.config
        if any(config.get(key) == value for key, value in self.failing.items()):
            return Outcome((), 0.1, Failure("diverged", "its loss is no finite number"))
        common = random.Random(f"{self.salt}{request.seed}").gauss(0, self.common)
        word = f"{self.salt}{json.dumps(config, sort_keys=True)}{request.seed}"
        rng = random.Random(word)
        loss = self.loss(config) + common + rng.gauss(0, self.noise)
        return single(loss, seconds=rng.uniform(0.5, 2.0))

    def loss(self, config):
        return 2.0 + self.slope * sum(
            abs(math.log2(config[key] / best)) for key, best in self.optimum.items()
        )


@dataclass
class Jittery(Bowl):
    """No size is told; a step takes 100 ms, more with ``a``, and the clock jitters."""

    per_doubling: float = 2.0
    jitter: float = 1.0

    def _describe(self, config):
        return Description(config, identity(config), {})

    def train(self, request):
        config = request.description.config
        outcome = super().train(request)
        rng = random.Random(f"clock {self.salt}{json.dumps(config)}{request.seed}")
        took = 100.0 + self.per_doubling * math.log2(config["a"] / 4) + rng.gauss(0, self.jitter)
        return replace(outcome, end=End(status="completed", step_ms=took))


def problem(world, baseline=None, seeds=None, objective=None, space=None):
    baseline = baseline or dict.fromkeys(world.optimum, 4)
    space = space or {key: {"scale": 2, "min": 1, "max": 64} for key in world.optimum}
    (described,) = world.describe([baseline])
    return Problem(
        described,
        TypeAdapter(Space).validate_python(space),
        objective or Objective(),
        Budget(),
        seeds or Seeds(max=4),
        "",
        world.describe,
    )
