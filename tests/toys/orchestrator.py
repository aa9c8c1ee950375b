"""An orchestrator: launches toy trainers, and closes its executor at Ctrl-C.

``python tests/toys/orchestrator.py FOLDER START HABIT ...``; facts go to ``FOLDER/facts.json``.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from search.executors.base import Job
from search.executors.local import LocalConfig, LocalExecutor

with Path(os.environ["MAIN_RUNS"]).open("a") as runs:  # a side effect, at import
    runs.write(f"{__name__}\n")


def main(folder: Path, start: str, *habits: str) -> None:
    config = LocalConfig.model_validate({"workers": len(habits), "device": "cpu", "start": start})
    with LocalExecutor(config, study="toy", preload="tests.toys.preload") as executor:
        facts = []
        for number, habit in enumerate(habits):
            trial = folder / str(number)
            trial.mkdir()
            command = (sys.executable, "-m", "tests.toys.trainer", *habit.split())
            job = Job(number, command, trial, trial, {})
            facts.append(asdict(executor.launch(job, executor.free()[0])))
        (folder / "facts.new").write_text(json.dumps(facts))
        (folder / "facts.new").rename(folder / "facts.json")
        executor.wait(600)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except KeyboardInterrupt:
        sys.exit(130)
