"""A search over the quadratic toy: a trainer joined to the family, and explorations for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.executors.base import Slot
from search.history import Description, Request
from search.strategies.base import Rejected
from search.trainers import Launch, Trainer, trainers
from spec import yaml
from spec.config import Config, Data, Seq, identity
from spec.errors import ConfigError

SCRIPT = Path(__file__).parent.parent / "toys" / "quadratic.py"


class ToyLayer(Config):
    heads: int = 1


class ToyConfig(Config):
    width: int = 4
    layers: Seq[ToyLayer] = (ToyLayer(),)
    rate: float = 1.0
    mode: str = "fine"
    noise: float = 0.002
    seconds: float = 0.0


class ToyDescriber:
    """Describes in this process; widths that are multiples of 7 are impossible."""

    fingerprint: str | None = "toy-data"

    def __call__(self, configs: Sequence[Data]) -> list[Description | Rejected]:
        return [self._one(config) for config in configs]

    def _one(self, config: Data) -> Description | Rejected:
        try:
            full = ToyConfig.read(yaml.Document(config)).full()
        except ConfigError as error:
            return Rejected(str(error), tuple(error.problems))
        if full["width"] % 7 == 0:
            return Rejected(f"width {full['width']} is a multiple of 7; choose another")
        heads = sum(layer["heads"] for layer in full["layers"])
        size = {"parameters": full["width"] * 100 + heads * 1000, "flops_per_token": 1.0}
        return Description(full, identity(full), size | {"weight_bytes": 1, "kv_bytes": 1})

    def remember(self, description: Description) -> None:
        pass

    def __enter__(self) -> ToyDescriber:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@trainers.variant("toy")
class Toy(Trainer):
    """The quadratic script."""

    steps: int = 4

    def describer(self) -> ToyDescriber:
        return ToyDescriber()

    def launch(self, request: Request, folder: Path, slot: Slot, checkpoints: str) -> Launch:
        steps = min(self.steps, request.budget.max_steps or self.steps)
        config = json.dumps(request.description.config)
        script = (sys.executable, "-S", "-E", str(SCRIPT))
        return Launch((*script, str(folder), str(request.seed), config, str(steps)))


SPACE: Data = {
    "width": {"step": 2, "min": 2, "max": 16},
    "rate": {"scale": 2, "min": 0.25, "max": 16},
    "layers": {"duplicate": "last", "max": 3},
}


def exploration(folder: Path, name: str = "toy", **changes: Any) -> Path:
    """Write an exploration over the toy and return its file."""
    data: Data = {
        "trainer": "toy",
        "baseline": {},
        "space": SPACE,
        "strategy": {"kind": "greedy", "max_rounds": 2},
        "seeds": {"screen": 1, "max": 3, "confirm": 2},
        "executor": {"kind": "local", "workers": 2, "start": "spawn", "device": "cpu", "grace": 5},
        "report": False,
        **changes,
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.dump(data), encoding="utf-8")
    return file
