"""The exploration YAML as types: what a person writes to start a search."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from search.executors.base import ExecutorConfig, executors
from search.executors.local import LocalConfig
from search.ledger import Spending
from search.moves import Space
from search.objective import Budget, Objective, Seeds
from search.strategies import strategies
from search.strategies.base import Strategy
from search.strategies.greedy import Greedy
from search.trainers import Builtin, Checkpoints, Trainer, trainers
from spec.config import Config, Data, problems, refuse
from spec.errors import ConfigError, InputError, Problem
from spec.path import Path as DottedPath
from spec.path import PathError
from spec.yaml import Document, parse, read


class Exploration(Config):
    """A search: where it starts, how it may move, what it wants, and what it may spend."""

    study: str
    """Name of the study and of its folder; the file's own name when not given."""
    trainer: Annotated[Trainer, trainers] = Builtin()
    """What trains a config."""
    baseline: dict[str, Any]
    """The config the search starts from: a mapping, or the path of a YAML file beside this one."""
    budget: Spending = Spending()
    """The cap on one trial, the same for all, and on the whole study."""
    objective: Objective = Objective()
    """What counts as better, what it is paid with, and limits."""
    space: Space = Field(default_factory=dict)
    """Dotted path -> rule: the dimensions. Only a strategy that brings its own does without."""
    strategy: Annotated[Strategy, strategies] = Greedy()
    """How the search proceeds."""
    seeds: Seeds = Seeds()
    """How many seeds each phase may spend."""
    executor: Annotated[ExecutorConfig, executors] = LocalConfig()
    """Where trials run."""
    checkpoints: Checkpoints = "incumbent"
    """Which trials keep a checkpoint."""
    report: bool = True
    """Whether to draw ``report.html`` at the end."""

    @field_validator("study")
    @classmethod
    def _names_a_folder(cls, study: str) -> str:
        if not re.fullmatch(r"[\w][\w.+-]{0,99}", study):
            raise ValueError(
                f"{study!r} cannot name a folder; use up to 100 letters, digits, dots and dashes"
            )
        return study

    @field_validator("space")
    @classmethod
    def _has_paths(cls, space: Space) -> Space:
        for path in space:
            DottedPath.parse(path)
        return space

    @model_validator(mode="after")
    def _something_may_change(self) -> Exploration:
        if not self.space and self.strategy.needs_space:
            refuse({}, "an empty space; give at least one path and its rule", "space")
        return self

    @model_validator(mode="after")
    def _trainer_can_do_it(self) -> Exploration:
        asked = (self.baseline, list(self.space), self.trial_budget, self.seeds)
        if faults := list(self.trainer.faults(*asked)):
            raise problems(*faults)
        return self

    @property
    def trial_budget(self) -> Budget:
        """The cap on one trial, which may be the target."""
        caps = self.budget.model_dump(exclude={"total"})
        if self.objective.stop_at_target:
            caps["stop_at_loss"] = self.objective.target
        return Budget(**caps)


def load(file: Path, changes: Iterable[str] = ()) -> tuple[Exploration, Document]:
    """Read an exploration file, put its baseline in place, and apply ``PATH=VALUE`` changes.

    Returns:
        The exploration, and the document for the places of errors.

    Raises:
        InputError: For a missing file or a change that cannot be applied.
        ConfigError: With file, line, path, value, rule and way out of each problem.
    """
    document = read(file)
    if not isinstance(document.data, dict):
        raise InputError(
            f"{file}: an exploration is a mapping with baseline and space, this is not one"
        )
    # the kind is written out, so that --set executor.workers=2 has something to change
    known = {"study": file.stem, "executor": {"kind": "local"}}
    document = replace(document, data=known | document.data)
    for change in changes:
        if change.startswith("baseline="):  # another file, whose keys the other changes may reach
            document = replace(document, data=_changed(document.data, change))
    if isinstance(baseline := document.data.get("baseline"), str):
        document = document.graft("baseline", read(_beside(document, file.parent / baseline)))
    data = document.data
    strategy = data.get("strategy")
    if isinstance(strategy, dict) and isinstance(strategy.get("file"), str):
        data["strategy"] = {**strategy, "file": str(file.parent / strategy["file"])}
    trainer = data.get("trainer")
    if isinstance(trainer, dict) and "command" in trainer:
        cwd = Path(str(trainer.get("cwd", "."))).expanduser()
        data = {**data, "trainer": {**trainer, "cwd": str((file.parent / cwd).resolve())}}
    for change in changes:
        if not change.startswith("baseline="):
            data = _changed(data, change)
    changed = replace(document, data=data)
    return Exploration.read(changed), changed


def _beside(document: Document, baseline: Path) -> Path:
    if not baseline.is_file():
        problem = (
            f"no such file {str(baseline)!r}; the path is relative to the exploration's folder"
        )
        raise ConfigError([Problem("baseline", problem, document.place(("baseline",)))])
    return baseline


def _changed(data: Data, change: str) -> Data:
    """Apply one ``PATH=VALUE``; the value is YAML, and new keys are checked afterwards."""
    text, equals, value = change.partition("=")
    if not equals:
        raise InputError(f"--set {change!r} has no '='; write --set PATH=VALUE")
    word = parse(value).data
    rules = sorted(data.get("space") or {}, key=len, reverse=True)
    for path in rules:  # keys of the space hold dots themselves: the longest that fits is meant
        if text == f"space.{path}" or text.startswith(f"space.{path}."):
            return _changed_rule(data, path, text.removeprefix(f"space.{path}").lstrip("."), word)
    try:
        result: Data = DottedPath.parse(text).put(data, word)
    except PathError as error:
        raise InputError(f"--set {error}") from None
    return result


def _changed_rule(data: Data, path: str, key: str, value: Any) -> Data:
    rule = {**data["space"][path], key: value} if key else value
    return {**data, "space": {**data["space"], path: rule}}
