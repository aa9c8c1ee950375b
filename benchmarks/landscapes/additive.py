"""A landscape of many small gains that add up and diminish."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from benchmarks.landscapes.base import Landscape
from spec.config import Data

LAYERS = 12
WIDTHS, HEADS, RATIOS, DEPTHS = (192, 384, 768), (4, 8, 12), (2, 3, 4), (10, 11, 12)


class Additive(Landscape):
    """Width, depth, bias, and heads and MLP ratio of every layer; gains add up and diminish.

    The space is that of GPT-S in HW-GPT-Bench (Sukthanker et al., 2024), the shape of the gains
    that of Kaplan et al., 2020; the numbers are ours.
    """

    def loss(self, config: Data) -> float:
        """Logarithm of the loss: a sum of one term per choice, early layers worth less."""
        model = config["model"]
        count = len(model["layers"])
        total = math.log(3.0) - 0.16 * (1 - (model["n_embd"] / 192) ** -0.7)
        total -= 0.05 * math.log(count / 10)
        for index, layer in enumerate(model["layers"]):
            place = 0.6 + 0.8 * index / (LAYERS - 1)
            total -= place * 0.0045 * (1 - (layer["mlp_ratio"] / 2) ** -1.5)
            total -= (1.6 - place) * 0.0035 * (1 - (layer["n_head"] / 4) ** -1.2)
        return math.exp(total - 0.004 * model["bias"])

    def parameters(self, config: Data) -> int:
        """Embedding, and per layer attention with 16 values a head, and the MLP."""
        model = config["model"]
        width, total = model["n_embd"], 8000 * model["n_embd"]
        for layer in model["layers"]:
            total += 4 * width * layer["n_head"] * 64 + 2 * width * width * layer["mlp_ratio"]
            total += model["bias"] * (5 + layer["mlp_ratio"]) * width
        return int(total)

    @cached_property
    def optimum(self) -> float:
        """Exact but for rounding costs up to 1/4000 of the cap: a knapsack for each outer choice.

        Rounding costs down bounds the optimum from below, so no regret is understated.
        """
        return min(
            self._knapsack(width, depth, bias)
            for width, depth, bias in itertools.product(WIDTHS, DEPTHS, (0, 1))
        )

    def _knapsack(self, width: int, depth: int, bias: int) -> float:
        base = self._built(width, bias, [(4, 2)] * depth)
        unit, room = self.cap / 4000, self.cap - self.parameters(base)
        if room < 0:
            return math.inf
        best = np.zeros(int(room / unit) + 1)
        level = math.log(self.loss(base))
        for index in range(depth):
            options = []
            for heads, ratio in itertools.product(HEADS, RATIOS):
                layers = [(4, 2)] * depth
                layers[index] = (heads, ratio)
                config = self._built(width, bias, layers)
                cost = int((self.parameters(config) - self.parameters(base)) / unit)
                options.append((cost, math.log(self.loss(config)) - level))
            best = np.min([_delayed(best, cost) + gain for cost, gain in options], axis=0)
        return math.exp(level + float(best.min()))

    def _built(self, width: int, bias: int, layers: Sequence[tuple[int, int]]) -> Data:
        blocks = [{"n_head": heads, "mlp_ratio": ratio} for heads, ratio in layers]
        return {"model": {"n_embd": width, "bias": bias, "layers": blocks}}


def _delayed(best: np.ndarray, cost: int) -> np.ndarray:
    if cost == 0:
        return best
    return np.concatenate([np.full(min(cost, len(best)), np.inf), best[:-cost]])[: len(best)]


def additive(noise: float = 0.0) -> Landscape:
    """The first landscape, from its smallest model; the cap is 45 % of the largest."""
    baseline = {"model": {"n_embd": 192, "bias": 0, "layers": [{"n_head": 4, "mlp_ratio": 2}] * 10}}
    space = {
        "model.layers": {"duplicate": "each", "drop": "each", "min": 10, "max": 12},
        "model.n_embd": {"scale": 2, "min": 192, "max": 768},
        "model.layers[*].n_head": {"step": 4, "min": 4, "max": 12},
        "model.layers[*].mlp_ratio": {"step": 1, "min": 2, "max": 4},
        "model.bias": {"choices": [0, 1]},
    }
    return Additive("additive", baseline, space, 55_000_000, noise)
