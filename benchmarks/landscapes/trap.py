"""A landscape with a valley between the baseline and the optimum."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property

from benchmarks.landscapes.base import Landscape
from spec.config import Data


class Trap(Landscape):
    """A valley between the baseline and the optimum: two changes help together, each alone hurts.

    A wider model wants a smaller learning rate, a gated MLP wants another norm, and depth pays
    only with the gated MLP.
    """

    def loss(self, config: Data) -> float:
        """Logarithm of the loss: capacity, a tilted bowl of the learning rate, and two pairs."""
        model, rate = config["model"], config["learning_rate"]
        width, count = model["n_embd"], len(model["layers"])
        gated = sum(layer["mlp"] == "gated" for layer in model["layers"]) / count
        hidden = sum(math.log(layer["hidden"] / 64) for layer in model["layers"]) / count
        total = math.log(3.2) - 0.10 * math.log(width / 64) - 0.03 * hidden
        best_rate = math.log(3e-3) - 0.8 * math.log(width / 64)
        total += 0.035 * (math.log(rate) - best_rate) ** 2
        normed = 1.0 if model["norm"] == "rmsnorm" else 0.0
        total += 0.06 * gated * (1 - normed) + 0.05 * normed * (1 - gated) - 0.09 * gated * normed
        return math.exp(total - (0.12 * gated * normed - 0.01) * math.log(count / 2))

    def parameters(self, config: Data) -> int:
        """Embedding, attention, and an MLP that is half again as large when gated."""
        model = config["model"]
        width, total = model["n_embd"], 256 * model["n_embd"]
        for layer in model["layers"]:
            factor = 3 if layer["mlp"] == "gated" else 2
            total += 4 * width * width + factor * width * layer["hidden"]
        return int(total)

    @cached_property
    def optimum(self) -> float:
        """Exhaustive over all but the layers, which are alike at the optimum but for one split.

        Hidden sizes enter by the mean of their logarithms and pay by their sum, so the best split
        has sizes that differ by one level at most.
        """
        widths, counts = (64, 96, 128, 160, 192), (2, 3, 4, 5, 6)
        hiddens, rates = (64, 128, 192, 256, 320, 384), [1e-3 * 2**k for k in range(-3, 4)]
        best = math.inf
        for width, count, norm, kind in itertools.product(
            widths, counts, ("layernorm", "rmsnorm"), ("plain", "gated")
        ):
            for low, raised in itertools.product(range(len(hiddens)), range(count)):
                if low + 1 == len(hiddens) and raised:
                    continue
                sizes = [hiddens[low + (index < raised)] for index in range(count)]
                for rate in rates:
                    config = self.built(width, norm, rate, [(kind, size) for size in sizes])
                    if self.parameters(config) <= self.cap:
                        best = min(best, self.loss(config))
        return best

    def built(self, width: int, norm: str, rate: float, layers: Sequence[tuple[str, int]]) -> Data:
        """A config from its parts."""
        blocks = [{"mlp": kind, "hidden": hidden} for kind, hidden in layers]
        model = {"n_embd": width, "norm": norm, "layers": blocks}
        return {"model": model, "learning_rate": rate}


def trap(noise: float = 0.0) -> Landscape:
    """The second landscape."""
    baseline: Data = {
        "model": {
            "n_embd": 64,
            "norm": "layernorm",
            "layers": [{"mlp": "plain", "hidden": 64}] * 2,
        },
        "learning_rate": 1e-3,
    }
    space = {
        "model.layers": {"duplicate": "last", "drop": "last", "min": 2, "max": 6},
        "model.n_embd": {"step": 32, "min": 64, "max": 192},
        "model.norm": {"choices": ["layernorm", "rmsnorm"]},
        "model.layers[:].mlp": {"choices": ["plain", "gated"]},
        "model.layers[*].hidden": {"step": 64, "min": 64, "max": 384},
        "learning_rate": {"scale": 2, "min": 1.25e-4, "max": 8e-3},
    }
    return Trap("trap", baseline, space, 400_000, noise)
