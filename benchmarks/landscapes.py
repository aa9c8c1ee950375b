"""Search problems whose optimum is known: two formulas, and one table of real trainings.

The table is made from a study of every combination (see ``tabulated.yaml``):
nice python -m search.run benchmarks/tabulated.yaml
python -m benchmarks.landscapes hp_searches/tabulated
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from search.history import Description, Request
from search.moves import Space
from search.objective import Budget, Objective, Seeds
from search.simulation import Outcome, single
from search.strategies.base import Problem, Rejected
from search.study import Study
from spec import yaml
from spec.config import Data, identity
from spec.path import Path as DottedPath

TABLE = Path(__file__).parent / "tabulated.json"
SWEEP = TABLE.with_suffix(".yaml")


@dataclass
class Landscape:
    """A space with a loss for every config, noise on top, and the best loss under the cap.

    Attributes:
        name: For tables.
        baseline: Where searches start.
        space: Dotted path -> rule, as in an exploration.
        cap: Largest number of parameters.
        noise: Relative standard deviation of one training's loss.
    """

    name: str
    baseline: Data
    space: Data
    cap: float
    noise: float = 0.0
    _known: dict[str, Description] = field(default_factory=dict)

    def loss(self, config: Data) -> float:
        """The loss without noise."""
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
        """The same for a loss without noise."""
        return (loss - self.optimum) / (self.loss(self.baseline) - self.optimum)

    def problem(self, confirm: int = 0, first: int = 1337, most: int = 5) -> Problem:
        """The landscape as strategies see it."""
        (baseline,) = self.describe([self.baseline])
        assert isinstance(baseline, Description)
        space = TypeAdapter(Space).validate_python(self.space)
        objective = Objective(limits={"parameters": float(self.cap)})
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


class Tabulated(Landscape):
    """Real trainings: the mean loss of every combination of a study over its seeds, looked up."""

    rows: dict[tuple[Any, ...], tuple[int, float]]

    @classmethod
    def read(cls, file: Path, noise: float = 0.0) -> Tabulated:
        """The table of a file; the cap is 40 % of the largest model."""
        data = json.loads(file.read_text(encoding="utf-8"))
        rows = {tuple(row[:-2]): (row[-2], row[-1]) for row in data["rows"]}
        cap = 0.4 * max(parameters for parameters, _ in rows.values())
        made = cls("tabulated", data["baseline"], data["space"], cap, noise)
        made.rows = rows
        return made

    def key(self, config: Data) -> tuple[Any, ...]:
        """The values of a config in the order of the table's columns."""
        return tuple(_plain(DottedPath.parse(path).get(config)) for path in self.space)

    def allowed(self, config: Data) -> bool:
        """See ``Landscape.allowed``."""
        return self.key(config) in self.rows

    def loss(self, config: Data) -> float:
        """What was measured."""
        return self.rows[self.key(config)][1]

    def parameters(self, config: Data) -> int:
        """What was described."""
        return self.rows[self.key(config)][0]

    def _description(self, config: Data) -> Description:
        """A component by its name and in full is the same row."""
        name = identity({"row": self.key(config)})
        inventory = {"parameters": self.parameters(config)}
        return self._known.setdefault(name, Description(config, name, inventory))

    @cached_property
    def optimum(self) -> float:
        """The best row under the cap."""
        return min(loss for parameters, loss in self.rows.values() if parameters <= self.cap)


def _plain(value: Any) -> Any:
    """A value as a column holds it: how many layers, what kind, or what all layers have."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "norm" in value[0]:
        return len(value)
    if isinstance(value, list):
        return _plain(value[0])
    return value.get("kind") if isinstance(value, dict) else value


def tabulated(noise: float = 0.0) -> Landscape:
    """The third landscape."""
    return Tabulated.read(TABLE, noise)


LANDSCAPES = {"additive": additive, "trap": trap, "tabulated": tabulated}


def make(folder: Path) -> int:
    """Write the table of a study: a row per config, with its mean loss over all seeds.

    Returns:
        How many trainings it rests on.
    """
    study = Study.read(folder / "study.db")
    space = yaml.read(SWEEP).data["space"]
    paths = [DottedPath.parse(path) for path in space]
    trials = [trial for trial in study.history if trial.state == "finished"]
    losses: dict[str, list[float]] = {}
    for trial in trials:
        losses.setdefault(trial.config_id, []).append(min(point.val_loss for point in trial.curve))
    rows = []
    for description in {trial.config_id: trial.request.description for trial in trials}.values():
        values = [_plain(path.get(description.config)) for path in paths]
        loss = round(fmean(losses[description.config_id]), 5)
        rows.append([*values, description.inventory["parameters"], loss])
    lines = ",\n".join(json.dumps(row) for row in sorted(rows, key=repr))
    head = {
        "command": str(__doc__).splitlines()[-2:],
        "baseline": study.notes["baseline"]["config"],
    }
    text = json.dumps({**head, "space": space}, indent=1)[:-2] + f',\n "rows": [\n{lines}\n]\n}}\n'
    TABLE.write_text(text, encoding="utf-8")
    study.close()
    return len(trials)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="folder of the finished study")
    print(f"{make(parser.parse_args().study)} trainings in {TABLE}")
