"""The ancestor's ``sweep_log.yaml`` as a study of ours, marked as imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.dimensions import point
from search.exploration import Exploration
from search.history import CALIBRATE, Decision, Description, Purpose, Request
from search.moves import Edit
from search.session import begin, locked
from search.strategies.base import Rejected
from search.study import Study
from search.trainers.base import Describer, describe_baseline
from spec import yaml
from spec.config import Data
from spec.errors import InputError
from spec.records import End, Eval

Layered = Callable[[Data], Data]
"""Turns a config of theirs into ours."""


@dataclass(frozen=True)
class SweepLog:
    """What the ancestor measured.

    Attributes:
        file: Where it was read.
        baseline: The block ``iter: -1``.
        rounds: The blocks after it.
    """

    file: Path
    baseline: Mapping[str, Any]
    rounds: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, file: Path) -> SweepLog:
        """Read a log.

        Raises:
            InputError: When it does not begin with a measured baseline.
        """
        data = yaml.read(file).data
        blocks = data.get("iterations", []) if isinstance(data, dict) else []
        if not blocks or blocks[0].get("iter") != -1:
            raise InputError(f"{file}: no sweep log; it should begin with an iteration -1")
        return cls(file, blocks[0], tuple(blocks[1:]))

    @property
    def start(self) -> Data:
        """The config it started from, in its own form."""
        config: Data = self.baseline["baseline_config_after"]
        return config


@dataclass
class _Import:
    """The study while it is filled."""

    log: SweepLog
    exploration: Exploration
    study: Study
    describer: Describer
    layered: Layered
    count: int = 0
    incumbent: Data = field(default_factory=dict)
    size: int | None = None

    def run(self) -> None:
        metrics = self.log.baseline["baseline_metrics"]
        self.incumbent = self.layered(self.log.start)
        self.size = int(metrics["params"])
        result = {**metrics, "seed": self.exploration.seeds.first}
        self._trial(self.incumbent, result, self.size, Purpose(0, CALIBRATE))
        for block in self.log.rounds:
            self._round(block)

    def _round(self, block: Mapping[str, Any]) -> None:
        number = len(self.study.history.accepted)
        told = [self._candidate(c, number) for c in block.get("candidates", ())]
        after = self.layered(block["baseline_config_after"])
        description = self._described(after)
        if description.config_id == self._described(self.incumbent).config_id:
            return
        self.size = int(block["baseline_metrics"]["params"])
        chosen = next((c for c in told if c["config_id"] == description.config_id), None)
        what = chosen["key"] if chosen else block.get("action", "a change by hand")
        words = f"round {number}: accepted {what}: imported from {self.log.file.name}, single-seed"
        detail: Data = {"imported": str(self.log.file), "rate": None}
        if chosen is not None:
            detail |= {"candidates": told, "chosen": chosen["key"], "attempts": [], "noise": None}
        self.study.decide(Decision("accept", number, words, after, description.config_id, detail))
        self.incumbent = after

    def _candidate(self, told: Mapping[str, Any], number: int) -> Data:
        edit = _edit(told, self.incumbent)
        config = edit.apply(self.incumbent)
        size = int(told["num_params"])
        purpose = Purpose(number, "screen", edit.to_dict())
        trials = [self._trial(config, seed, size, purpose) for seed in told["seeds"]]
        better, dearer = told["delta_score"] > 0, size > (self.size or 0)
        return {
            "edit": edit.to_dict(),
            "key": edit.key,
            "config_id": self._described(config).config_id,
            "inventory": {"parameters": size},
            "trials": trials,
            "seeds": [seed["seed"] for seed in told["seeds"]],
            "quadrant": f"{'better' if better else 'worse'}-{'dearer' if dearer else 'cheaper'}",
            "avg_loss": told["avg_loss"],
            "gain": {"mean": told["delta_score"], "error": None, "seeds": len(trials)},
            "cost": {"change": size - (self.size or 0), "error": 0.0},
        }

    def _trial(self, config: Data, result: Mapping[str, Any], size: int, purpose: Purpose) -> int:
        """Record one measurement; what the log does not tell, such as times, stays unknown."""
        exploration = self.exploration
        request = Request(
            self._described(config), result["seed"], exploration.trial_budget, purpose
        )
        known = self.study.history.find(request)
        if known is not None:
            return known.number
        facts = {"imported": str(self.log.file), "measured": {"parameters": size}, "clock": "none"}
        trial = self.study.launch(request, point(exploration.space, config), facts)
        step, loss = int(result.get("best_iter") or 0), float(result["loss"])
        self.study.report(trial.number, [Eval(step=step, train_seconds=0.0, val_loss=loss)])
        memory = result.get("peak_gpu_mb")
        end = End(
            status="completed",
            best_val_loss=loss,
            best_step=step,
            step_ms=result.get("iter_latency_ms", result.get("iter_latency_avg")),
            peak_memory_bytes=None if memory is None else int(memory * 2**20),
        )
        self.study.finish(trial.number, end, loss)
        self.count += 1
        return trial.number

    def _described(self, config: Data) -> Description:
        (answer,) = self.describer([config])
        if isinstance(answer, Rejected):
            raise InputError(f"{self.log.file}: a config is refused: {answer.message}")
        return answer


def import_log(log: SweepLog, exploration: Exploration, folder: Path, layered: Layered) -> int:
    """Fill a new study with what a log holds; the search then goes on from its last config.

    Returns:
        How many measurements were imported.

    Raises:
        InputError: When there is a study already, or the log holds what cannot be understood.
    """
    with locked(folder), exploration.trainer.describer() as describer:
        if (folder / "study.db").exists():
            raise InputError(f"{folder} holds a study already; name another file with --to")
        study = Study.open(folder / "study.db", exploration.study)
        try:
            baseline = describe_baseline(describer, exploration.baseline)
            begin(study, exploration, baseline, None)
            filling = _Import(log, exploration, study, describer, layered)
            filling.run()
            return filling.count
        finally:
            study.close()


def _edit(told: Mapping[str, Any], config: Data) -> Edit:
    """A candidate of the log as a change of ours."""
    name, value = told["param"], told["value"]
    if name == "n_layer":
        if "layers" in config:
            return Edit(f"layers[{value['dup']}]", "duplicate", None, "duplicated")
        return Edit("n_layer", "set", value["new_layers"], "+1")
    key, bracket, rest = name.partition("[")
    if bracket and key.endswith("_layerlist"):
        index = int(rest.rstrip("]"))
        path = f"layers[{index}].{key.removesuffix('_layerlist')}"
        return Edit(path, "set", value, _move(value, config["layers"][index], key))
    return Edit(name, "set", value, f"{value - config[name]:+g}")


def _move(value: float, layer: Mapping[str, float], key: str) -> str:
    return f"{value - layer[key.removesuffix('_layerlist')]:+g}"
