"""A landscape like a real search: many dimensions, the time to a target, configs that miss it.

The space is that of ``explorations/time_to_target.yaml``. Losses and seconds are formulas, their
numbers set by hand to 34 real trainings: a config of two layers of width 64 that reaches the target
in 13 seconds, and all its one-step neighbours in that space. Of these, formula and training differ
by 0.01 in the last loss (median; at most 0.05), and by 10 % in the seconds of a step (at most 30).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from benchmarks.landscapes.base import Landscape
from search.history import Description, Request
from search.objective import Budget, Objective
from search.simulation import Outcome
from search.strategies.base import Problem, Rejected
from search.strategies.model.forms import Array
from spec import yaml
from spec.config import Data
from spec.records import End, Eval

EXPLORATION = Path(__file__).parents[2] / "explorations" / "time_to_target.yaml"
TARGET, SECONDS = 1.90, 150.0
"""Loss to reach, and train seconds a trial may take."""
EVERY = 100
"""Steps between evaluations."""
BLOCK, VOCAB = 64, 65
WOBBLE = 0.3
"""Noise of one evaluation in units of that of a whole training."""
SEEDS = 256
"""Over which a config's loss is the mean."""


def _fast(hidden: int, exponent: int, schedule: str, steps: int) -> Data:
    """A fast config: two narrow layers."""
    layer: Data = {
        "norm": {"kind": "layernorm"},
        "attention": {"n_head": 1, "position": {"kind": "rope"}},
        "mlp": {"kind": "swiglu", "hidden": hidden},
    }
    return {
        "model": {"n_embd": 32, "position": {"kind": "none"}, "layers": [layer] * 2},
        "optimizer": {"kind": "muon", "learning_rate": 1e-3 * 1.6**exponent},
        "schedule": {"kind": schedule, "warmup_steps": 10},
        "max_steps": steps,
        "batch_size": 24,
    }


BEST: Mapping[float, Data] = {
    0.0: _fast(384, 6, "wsd", 400),
    0.005: _fast(256, 6, "wsd", 600),
    0.02: _fast(256, 5, "cosine", 1300),
}
"""Noise -> the best config that any search has found so far; no two moves from it lead to a better
one, and climbs from 160 other places end at worse ones or there. The first one, with a noise of
0.5 %, misses the target every second time."""

PUSH: Mapping[str, tuple[float, float]] = {"adamw": (0.8, 5e-3), "muon": (1.5, 1.2e-2)}
"""How far one step gets, and the best rate at width 64, batch size 12 and two layers."""
ACTIVATIONS = {"gelu": 1.0, "relu2": 0.97, "silu": 0.94, "gated": 1.08}
PLACES = {(True, False): 1.0, (True, True): 0.93, (False, True): 0.6, (False, False): 0.5}
"""How far one step gets with rotary positions, with learned ones, both or none."""


class Race(Landscape):
    """Trainings race to a loss: small models step fast, but fall less far and need many steps.

    The loss of a config is the logarithm of its seconds to the target, the mean over seeds; a
    training that misses takes all it may. A config that just gets there without noise misses every
    second time with it, so the best config of one noise is not that of another.
    """

    def loss(self, config: Data) -> float:
        """See ``Landscape.loss``: over seeds evenly spread, the same for all configs."""
        curve = self._curve(_full(config))
        losses = np.array([point.val_loss for point in curve])
        seconds = np.array([point.train_seconds for point in curve])
        if self.noise:
            rng, spread = np.random.default_rng(0), TARGET * self.noise
            shifts = ndtri((np.arange(SEEDS) + 0.5) / SEEDS)[:, None]
            wobbles = WOBBLE * rng.standard_normal((SEEDS, len(losses)))
            losses = losses + spread * (shifts + wobbles)
        return float(np.log(_arrivals(np.atleast_2d(losses), seconds)).mean())

    def parameters(self, config: Data) -> int:
        """Matrices and embeddings."""
        model = config["model"]
        learned = model["position"]["kind"] == "learned"
        return int((VOCAB + BLOCK * learned) * model["n_embd"]) + _matrices(model)

    def allowed(self, config: Data) -> bool:
        """Heads share the width evenly; rotary positions need an even share."""
        width, layers = config["model"]["n_embd"], config["model"]["layers"]
        return all(
            width % (layer["attention"]["n_head"] * (2 if _rotary(layer) else 1)) == 0
            for layer in layers
        )

    def problem(self, confirm: int = 0, first: int = 1337, most: int = 3) -> Problem:
        """As the exploration has it, with nothing limited but a trial's seconds."""
        found = super().problem(confirm, first, most)
        objective = Objective(gain="time_to_target", target=TARGET, stop_at_target=True)
        return replace(found, objective=objective, budget=Budget(max_seconds=SECONDS))

    def describe(self, configs: Sequence[Data]) -> list[Description | Rejected]:
        """See ``search.simulation.World``."""
        return super().describe([_full(config) for config in configs])

    def train(self, request: Request) -> Outcome:
        """A seed shifts the whole curve; every evaluation wobbles a little."""
        config = request.description.config
        word = f"{self.name} {request.description.config_id} {request.seed}".encode()
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(word).digest()[:8], "big"))
        scale, curve = TARGET * self.noise, []
        shift = scale * rng.standard_normal()
        for point in self._curve(config):
            loss = point.val_loss + shift + WOBBLE * scale * rng.standard_normal()
            curve.append(point.model_copy(update={"val_loss": loss}))
            if loss <= TARGET or point.train_seconds >= SECONDS:
                break
        end = End(status="target_reached" if curve[-1].val_loss <= TARGET else "completed")
        return Outcome(tuple(curve), curve[-1].train_seconds, end=end)

    @cached_property
    def optimum(self) -> float:
        """That of the best known config."""
        return min(map(self.loss, BEST.values()))

    def _description(self, config: Data) -> Description:
        found = super()._description(config)
        return replace(found, inventory={**found.inventory, "planned_steps": config["max_steps"]})

    def _curve(self, config: Data) -> list[Eval]:
        """The evaluations of a whole training without noise."""
        traits, total = _traits(config), config["max_steps"]
        steps = np.arange(EVERY, total + 1, EVERY)
        rate, done = _schedule(config, steps, total)
        losses = traits.floor + (4.17 - traits.floor) / (1.0 + traits.pace * done) ** 1.2
        return [
            Eval(step=int(step), train_seconds=float(step) * traits.step_seconds, val_loss=loss)
            for step, loss in zip(steps, (losses + traits.heat * rate).tolist(), strict=True)
        ]


def _arrivals(losses: Array, seconds: Array) -> Array:
    """Seconds to the target of curves, as ``crossing`` tells them; all it may take for a miss.

    Args:
        losses: (n, points).
        seconds: (points,), the same for all curves.

    Returns:
        (n,).
    """
    hits = losses <= TARGET
    after = hits.argmax(axis=1)
    before, row = np.maximum(after - 1, 0), np.arange(len(losses))
    drops = losses[row, before] - losses[row, after]
    over = losses[row, before] - TARGET
    part = np.divide(over, drops, out=np.ones_like(over), where=drops > 0)
    found = seconds[before] + np.clip(part, 0.0, 1.0) * (seconds[after] - seconds[before])
    return np.asarray(np.where(hits.any(axis=1), np.minimum(found, SECONDS), SECONDS))


@dataclass(frozen=True)
class _Traits:
    """What a config comes to.

    Attributes:
        step_seconds: Of one step.
        floor: Loss after endless training.
        pace: How fast steps lead there.
        heat: What the loss is above that while the rate is at its peak.
    """

    step_seconds: float
    floor: float
    pace: float
    heat: float


def _traits(config: Data) -> _Traits:
    model, optimizer, batch = config["model"], config["optimizer"], config["batch_size"]
    width, depth, layer = model["n_embd"], len(model["layers"]), model["layers"][0]
    heads, muon = layer["attention"]["n_head"], optimizer["kind"] == "muon"
    rotary, learned = _rotary(layer), model["position"]["kind"] == "learned"
    size = _matrices(model) / 65.5e3
    push, best_rate = PUSH[optimizer["kind"]]
    best_rate *= (width / 64) ** -0.5 * (batch / 12) ** 0.3 * (depth / 2) ** -0.3
    best_rate *= (config["schedule"]["warmup_steps"] / 100) ** 0.1
    off = math.log(optimizer["learning_rate"] / best_rate)
    pace = push * math.exp(-0.5 * (off / (1.4 if off < 0 else 0.9)) ** 2) * size**0.1 / 70.0
    pace *= (batch / 24) ** 0.6 * PLACES[rotary, learned]
    pace *= math.exp(-0.02 * math.log2(width / heads / 24) ** 2)
    pace *= ACTIVATIONS[layer["mlp"].get("activation", {"kind": "gated"})["kind"]]
    pace *= 1.0 if layer["norm"]["kind"] == "layernorm" else 0.98
    floor = 1.1 + 0.65 * size**-0.1 + 0.07 * (depth == 1)
    floor += 0.0 if rotary else 0.03 if learned else 0.25
    heat = 0.085 * min(math.exp(off), 4.0) ** 0.7 * (24 / batch) ** 0.2
    tokens = batch * BLOCK
    spent = 6.0 * tokens * (65.5e3 * size + VOCAB * width) / 50e9 + 1.2e-3 * depth + 2.5e-3
    spent += 0.2e-3 * depth * heads**1.5 * tokens / 1536
    spent += muon * (0.5e-3 + 20.0 * 65.5e3 * size * min(width, 128) / 50e9)
    return _Traits(spent, floor, pace, heat)


def _schedule(config: Data, steps: Array, total: int) -> tuple[Array, Array]:
    """The rate at each step as a share of its peak, and the steps done so far, weighed by it."""
    warm, every = config["schedule"]["warmup_steps"], np.arange(total + 1)
    left = np.maximum(every - warm, 0) / max(total - warm, 1)
    if config["schedule"]["kind"] == "cosine":
        rate = 0.1 + 0.45 * (1.0 + np.cos(np.pi * left))
    else:
        rate = np.clip((1.0 - left) / 0.3, 0.0, 1.0)
    rate = np.where(every < warm, (every + 1) / warm, rate)
    return rate[steps.astype(int)], np.sqrt(rate).cumsum()[steps.astype(int)]


def _matrices(model: Data) -> int:
    """Parameters in the products of all layers."""
    width = model["n_embd"]
    widths = (
        4 * width + (3 if layer["mlp"]["kind"] == "swiglu" else 2) * layer["mlp"]["hidden"]
        for layer in model["layers"]
    )
    return int(width * sum(widths))


def _rotary(layer: Data) -> bool:
    return bool(layer["attention"]["position"]["kind"] == "rope")


def _full(config: Data) -> Data:
    """Every option written out, as a trainer's describe would."""
    model = config["model"]
    layers = [
        {**layer, "mlp": _full_mlp(layer["mlp"], model["n_embd"])} for layer in model["layers"]
    ]
    optimizer = {"learning_rate": 1e-3, **config["optimizer"]}
    schedule = {"warmup_steps": 100, **config["schedule"]}
    model = {**model, "layers": layers}
    return {**config, "model": model, "optimizer": optimizer, "schedule": schedule}


def _full_mlp(mlp: Data, width: int) -> Data:
    if mlp["kind"] == "swiglu":
        return {"kind": "swiglu", "hidden": mlp.get("hidden", 4 * width)}
    return {"hidden": 4 * width, "activation": {"kind": "gelu"}, **mlp}


def race(noise: float = 0.0) -> Race:
    """The fourth landscape, from nanoGPT's CPU configuration, which just misses the target."""
    layer: Data = {
        "norm": {"kind": "layernorm"},
        "attention": {"n_head": 4, "position": {"kind": "none"}},
        "mlp": {"kind": "mlp", "hidden": 512, "activation": {"kind": "gelu"}},
    }
    baseline: Data = {
        "model": {"n_embd": 128, "position": {"kind": "learned"}, "layers": [layer] * 4},
        "optimizer": {"kind": "adamw", "learning_rate": 1e-3},
        "schedule": {"kind": "cosine", "warmup_steps": 100},
        "max_steps": 2000,
        "batch_size": 12,
    }
    return Race("race", baseline, yaml.read(EXPLORATION).data["space"], math.inf, noise)
