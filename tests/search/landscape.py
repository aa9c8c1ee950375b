"""A small landscape with layers, choices and a limit: what the strategies are tested on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from search.history import Description, Failure, Request
from search.moves import Space
from search.objective import Budget, Objective, Seeds
from search.simulation import Outcome, single
from search.strategies.base import Problem, Rejected
from spec.config import Data, identity

BASELINE: Data = {
    "width": 32,
    "rate": 0.01,
    "layers": [
        {"heads": 1, "mlp": {"kind": "plain", "hidden": 64}},
        {"heads": 1, "mlp": {"kind": "plain", "hidden": 64}},
    ],
}
SPACE: Data = {
    "width": {"step": 16, "min": 16, "max": 96},
    "rate": {"scale": 2, "min": 0.002, "max": 0.05},
    "layers": {"duplicate": "each", "drop": "each", "min": 1, "max": 4},
    "layers[*].heads": {"step": 1, "min": 1, "max": 3},
    "layers[:].mlp": {"choices": ["plain", "gated", "none"]},
    "layers[:].mlp.hidden": {"step": 64, "min": 64, "max": 192},
}


@dataclass
class Hill:
    """Loss falls with size, the rate has a best value, gated is better; odd totals are refused.

    Attributes:
        noise: Relative deviation of one training.
        broken: Choice of ``mlp`` whose trials fail.
        limit: Most parameters.
        unit: What a parameter counts; only scales the cost.
        offset: What trainings report on top of the loss.
    """

    noise: float = 0.0
    broken: str = ""
    limit: float = 40_000.0
    unit: float = 1.0
    offset: float = 0.0
    space: Data = field(default_factory=lambda: dict(SPACE))
    described: int = 0

    def problem(self, workers: int = 1, **seeds: Any) -> Problem:
        (baseline,) = self.describe([BASELINE])
        assert isinstance(baseline, Description)
        objective = Objective(limits={"parameters": self.limit * self.unit})
        return Problem(
            baseline,
            TypeAdapter(Space).validate_python(self.space),
            objective,
            Budget(),
            Seeds(**seeds),
            "",
            self.describe,
            workers,
        )

    def describe(self, configs: Sequence[Data]) -> list[Description | Rejected]:
        self.described += len(configs)
        return [self._one(config) for config in configs]

    def train(self, request: Request) -> Outcome:
        config = request.description.config
        word = f"{request.description.config_id} {request.seed}".encode()
        digest = int.from_bytes(hashlib.sha256(word).digest()[:8], "big")
        rng = np.random.default_rng(digest)
        if config["layers"][0]["mlp"]["kind"] == self.broken:
            return Outcome((), 1.0, Failure("diverged", "the loss is not finite"))
        seconds = 1.0 + digest % 7
        loss = self.loss(config) * (1 + self.noise * rng.standard_normal())
        return single(loss + self.offset, seconds)

    def loss(self, config: Data) -> float:
        layers = config["layers"]
        total = 1.2 - 0.1 * math.log(config["width"] / 32) - 0.05 * math.log(len(layers) / 2)
        total += 0.05 * math.log(config["rate"] / 0.02) ** 2
        for layer in layers:
            total -= 0.02 * math.log(layer["heads"]) / len(layers)
            total -= {"plain": 0.0, "gated": 0.03, "none": -0.05}[layer["mlp"]["kind"]]
            total -= 0.02 * math.log(layer["mlp"].get("hidden", 64) / 64) / len(layers)
        return math.exp(total)

    def _one(self, config: Data) -> Description | Rejected:
        layers = []
        for layer in config["layers"]:
            mlp = layer["mlp"] if isinstance(layer["mlp"], dict) else {"kind": layer["mlp"]}
            if mlp["kind"] == "none" and "hidden" in mlp:
                return Rejected("mlp none has no hidden")
            sized = {"hidden": 64} if mlp["kind"] != "none" else {}
            layers.append({**layer, "mlp": {**sized, **mlp}})
        if sum(layer["heads"] for layer in layers) % 5 == 0:
            return Rejected("heads that add up to a multiple of five")
        full = {**config, "layers": layers}
        size = 100 * full["width"]
        for layer in layers:
            size += full["width"] * (40 * layer["heads"] + 3 * layer["mlp"].get("hidden", 0))
        return Description(full, identity(full), {"parameters": size * self.unit})
