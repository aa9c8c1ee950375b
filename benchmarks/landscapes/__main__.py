"""Makes the table of ``tabulated`` from a study: ``python -m benchmarks.landscapes FOLDER``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean

from benchmarks.landscapes import tabulated
from benchmarks.landscapes.tabulated import TABLE, plain
from search.study import Study
from spec import yaml
from spec.path import Path as DottedPath

SWEEP = TABLE.with_suffix(".yaml")


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
        values = [plain(path.get(description.config)) for path in paths]
        loss = round(fmean(losses[description.config_id]), 5)
        rows.append([*values, description.inventory["parameters"], loss])
    lines = ",\n".join(json.dumps(row) for row in sorted(rows, key=repr))
    head = {
        "command": str(tabulated.__doc__).splitlines()[-2:],
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
