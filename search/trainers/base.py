"""The contract of a trainer: a config becomes a command, and its output becomes records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Protocol, Self

from search.executors.base import Exit, Slot
from search.history import Description, Request
from search.objective import Budget, Objective, Seeds
from search.strategies.base import Rejected
from spec.config import Data, Fault
from spec.errors import ConfigError, Problem
from spec.family import Component, Family
from spec.path import Path as DottedPath
from spec.records import Reader, Record, RecordError
from spec.yaml import Document

Checkpoints = Literal["incumbent", "all", "none"]


class Describer(Protocol):
    """Answers what configs are and cost; one long-lived process behind a memory."""

    fingerprint: str | None
    """The training data's fingerprint, once a config was described."""

    def __call__(self, configs: Sequence[Data]) -> list[Description | Rejected]:
        """Full form, id and inventory of each config, or why it is refused."""
        ...

    def remember(self, description: Description) -> None:
        """Take a full form's description from the study instead of asking."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class NothingRead(RecordError):
    """A trial ended well, but what should have been read from it never came."""


class Records(Protocol):
    """What one trial reports, as it comes."""

    @property
    def over(self) -> bool:
        """The trial has what it was run for, which its process cannot know: it may be ended."""
        ...

    def read(self) -> list[Record]:
        """The records since the last call.

        Raises:
            RecordError: When what the trial wrote cannot be understood.
        """
        ...

    def finish(self, ended: Exit) -> list[Record]:
        """The last records, once no process of the trial is left.

        Raises:
            RecordError: As ``read``; ``NothingRead`` when there was nothing to understand.
        """
        ...


class MetricsFile(Reader):
    """The records of a trainer that writes our protocol itself."""

    over = False

    def finish(self, ended: Exit) -> list[Record]:
        """See ``Records.finish``."""
        return self.read()


@dataclass(frozen=True)
class Launch:
    """How a trial is started.

    Attributes:
        command: The argv that trains it.
        cwd: Its working directory.
        env: Variables on top of the orchestrator's own that a person must set to run it again.
        stop_file: What to touch when the trial shall end; None: it is sent SIGTERM.
        environment: What it runs, as plain data: commit, checksum, versions.
        rerun: The argv to run it again by hand, as often as one likes; None: the same command.
    """

    command: tuple[str, ...]
    cwd: Path = field(default_factory=Path.cwd)
    env: Mapping[str, str] = field(default_factory=dict)
    stop_file: Path | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    rerun: tuple[str, ...] | None = None


class Trainer(Component):
    """What the search needs to know of a trainer."""

    preload: ClassVar[str | None] = None
    """Module a fork server may import once for all trials."""
    settles: ClassVar[bool] = False
    """Whether the start of the first trial settles something for all of a study."""

    def faults(
        self,
        baseline: Data,
        space: Sequence[str],
        budget: Budget,
        seeds: Seeds,
        objective: Objective,
    ) -> Iterator[Fault]:
        """What of an exploration this trainer cannot do, with the place inside the exploration."""
        return iter(())

    def untold(self, limits: Mapping[str, float], baseline: Description) -> Iterator[Fault]:
        """Limits on costs that neither the description nor a trial will tell, with their place."""
        return iter(())

    def too_short(self, budget: Budget, baseline: Description) -> Iterator[Fault]:
        """Entries of the budget under which the baseline cannot be trained, with their place."""
        return iter(())

    def longest(self, baseline: Description) -> Mapping[str, float]:
        """Entry of the budget -> what a config itself allows of it, where that is known."""
        return {}

    def describer(self) -> Describer:
        """A fresh describer.

        Raises:
            InputError: When the trainer is not there.
        """
        raise NotImplementedError

    def launch(self, request: Request, folder: Path, slot: Slot, checkpoints: str) -> Launch:
        """What trains ``folder/config.yaml`` into ``folder``."""
        raise NotImplementedError

    def reader(self, request: Request, folder: Path, slot: Slot) -> Records:
        """Reads the records of the trial in ``folder``, which was launched just now."""
        return MetricsFile(folder / "metrics.jsonl")


_NOWHERE = Document(None)

trainers: Family[Trainer] = Family(
    "trainer", "config and seed in, records out; one process per trial"
)


def describe_baseline(
    describer: Describer, baseline: Data, document: Document = _NOWHERE
) -> Description:
    """The baseline's description.

    Args:
        describer: Who knows.
        baseline: The config.
        document: The exploration it was written in, for the places of problems.

    Raises:
        ConfigError: When the trainer refuses it, with the trainer's message.
    """
    (answer,) = describer([baseline])
    if isinstance(answer, Description):
        return answer
    problems = answer.problems or (Problem("", answer.message),)
    raise ConfigError([_placed(problem, document) for problem in problems])


def _placed(problem: Problem, document: Document) -> Problem:
    """A problem of the baseline at its path and place in the exploration."""
    path = f"baseline.{problem.path}" if problem.path else "baseline"
    steps = [step for step in DottedPath.parse(path).steps if isinstance(step, str | int)]
    return Problem(path, f"the trainer refuses it: {problem.message}", document.place(steps))
