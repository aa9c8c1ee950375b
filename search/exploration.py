"""The exploration YAML as types: what a person writes to start a search."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from search.executors.base import ExecutorConfig, executors
from search.executors.local import LocalConfig
from search.ledger import Spending
from search.moves import Space
from search.objective import Budget, Objective, Seeds
from search.stopping import EarlyStopping
from search.strategies import strategies
from search.strategies.base import Strategy
from search.strategies.greedy import Greedy
from search.trainers import Builtin, Checkpoints, Trainer, trainers
from spec.config import Config, problems, refuse
from spec.errors import ConfigError, InputError, Problem
from spec.path import Path as DottedPath
from spec.path import PathError, Span
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
    early_stopping: EarlyStopping = EarlyStopping()
    """When a trial that cannot win any more is ended."""
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
    def _losers_may_go(self) -> Exploration:
        confidence = self.early_stopping.confidence
        if confidence is not None and self.objective.gain == "time_to_target":
            rule = "curves of a time-to-target search are not extrapolated; it has cap instead"
            refuse(confidence, rule, "early_stopping", "confidence")
        if confidence is not None and self.strategy.weighs_losers:
            rule = "this strategy may take a trial that ends with a worse loss; leave it out"
            refuse(confidence, rule, "early_stopping", "confidence")
        return self

    @model_validator(mode="after")
    def _trainer_can_do_it(self) -> Exploration:
        asked = (self.baseline, list(self.space), self.trial_budget, self.seeds, self.objective)
        if faults := list(self.trainer.faults(*asked)):
            raise problems(*faults)
        return self

    @model_validator(mode="after")
    def _strategy_can_do_it(self) -> Exploration:
        if faults := list(self.strategy.faults(self.trial_budget, {})):
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
            document = _changed(document, change)
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
    document = replace(document, data=data)
    for change in changes:
        if not change.startswith("baseline="):
            document = _changed(document, change)
    return Exploration.read(document), document


def _beside(document: Document, baseline: Path) -> Path:
    if not baseline.is_file():
        problem = (
            f"no such file {str(baseline)!r}; the path is relative to the exploration's folder"
        )
        raise ConfigError([Problem("baseline", problem, document.place(("baseline",)))])
    return baseline


def _changed(document: Document, change: str) -> Document:
    """Apply one ``PATH=VALUE``, which is then the place of what is wrong with the value.

    The value is YAML; new keys are checked afterwards.
    """
    text, equals, value = change.partition("=")
    if not equals:
        raise InputError(f"--set {change!r} has no '='; write --set PATH=VALUE")
    try:
        path = _set_at(text, document.data.get("space") or {})
        data = path.put(document.data, parse(value).data)
    except PathError as error:
        raise InputError(f"--set {error}") from None
    except ConfigError as error:
        raise InputError(f"--set {text}: {error}; quote the value for YAML") from None
    before = takewhile(lambda step: not isinstance(step, Span), path.steps)
    loc = tuple(step for step in before if isinstance(step, str | int))
    kept = {at: place for at, place in document.places.items() if at[: len(loc)] != loc}
    return Document(data, document.file, {**kept, loc: f"--set {text}"})


def _set_at(text: str, space: Mapping[str, Any]) -> DottedPath:
    """A path into an exploration, in whose space a key holds dots itself."""
    for key in sorted(space, key=len, reverse=True):  # the longest that fits is meant
        rest = text.removeprefix(f"space.{key}")
        if rest != text and rest[:1] in ("", ".", "["):
            below = DottedPath.parse(text).steps[1 + len(DottedPath.parse(key).steps) :]
            return DottedPath(("space", key, *below))
    return DottedPath.parse(text)
