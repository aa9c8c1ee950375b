"""A landscape of real trainings: a table of every combination of seven dimensions.

The table is made from a study of all of them (see ``tabulated.yaml``):
nice python -m search.run benchmarks/tabulated.yaml
python -m benchmarks.landscapes.tabulated hp_searches/tabulated
"""

from __future__ import annotations

import argparse
import json
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.landscapes.base import Landscape
from search.history import Description
from search.study import Study
from spec import yaml
from spec.config import Data, identity
from spec.path import Path as DottedPath

TABLE = Path(__file__).parents[1] / "tabulated.json"
SWEEP = TABLE.with_suffix(".yaml")


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
