"""A landscape of real trainings: a table of every combination of seven dimensions.

The table is made from a study of all of them (see ``tabulated.yaml``):
nice python -m search.run benchmarks/tabulated.yaml
python -m benchmarks.landscapes hp_searches/tabulated
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.landscapes.base import Landscape
from search.history import Description
from spec.config import Data, identity
from spec.path import Path as DottedPath

TABLE = Path(__file__).parents[1] / "tabulated.json"


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
        return tuple(plain(DottedPath.parse(path).get(config)) for path in self.space)

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


def plain(value: Any) -> Any:
    """A value as a column holds it: how many layers, what kind, or what all layers have."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "norm" in value[0]:
        return len(value)
    if isinstance(value, list):
        return plain(value[0])
    return value.get("kind") if isinstance(value, dict) else value


def tabulated(noise: float = 0.0) -> Landscape:
    """The third landscape."""
    return Tabulated.read(TABLE, noise)
