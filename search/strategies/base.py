"""The contract of a strategy: a function of the history, without state of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from search.history import Decision, Description, History, Purpose, Request
from search.ledger import UNLIMITED, Total
from search.moves import Edit, Rule
from search.objective import Budget, Objective, Seeds
from spec import errors
from spec.config import Data, Fault
from spec.family import Component, Family


class StrategyFailed(Exception):
    """A strategy cannot go on, because what it compares with fails."""


@dataclass(frozen=True)
class Rejected:
    """A config the trainer refused.

    Attributes:
        message: Why, in one sentence.
        problems: The same place by place, where the trainer tells places.
    """

    message: str
    problems: tuple[errors.Problem, ...] = ()


@dataclass(frozen=True)
class Expected:
    """What a strategy expects to spend until its next decision.

    Attributes:
        least: Fewest trials; 0 when nobody knows.
        most: Most trials; None when they are not counted in advance.
        worker_seconds: When time ends it instead: seconds that trials hold workers.
    """

    least: int
    most: int | None
    worker_seconds: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A change that may be tried: its edit, and what describe said, or why it is out."""

    edit: Edit
    description: Description | None
    rejected: str = ""


@dataclass(frozen=True, eq=False)
class Problem:
    """What is searched: everything a strategy may know beside the history.

    Attributes:
        baseline: Where the search starts.
        space: Dotted path -> rule.
        objective: What counts as better.
        budget: The cap on one trial.
        seeds: How many seeds may be spent.
        clock: Where and how packed trials run now, when decisions rest on times; otherwise empty.
        describe: Full forms and costs of configs, in order; a pure function, cheap to repeat.
        workers: Trials that may run at a time: so many requests are of use at once.
        total: What the whole study may spend; who runs the search keeps it.
    """

    baseline: Description
    space: Mapping[str, Rule]
    objective: Objective
    budget: Budget
    seeds: Seeds
    clock: str
    describe: Callable[[Sequence[Data]], list[Description | Rejected]]
    workers: int = 1
    total: Total = UNLIMITED

    def request(self, description: Description, seed: int, purpose: Purpose) -> Request:
        """A trial of a config in this problem's setting."""
        return Request(description, seed, self.budget, purpose, self.clock)

    def incumbent(self, history: History) -> Description:
        """The config accepted last, or the baseline."""
        if not history.accepted:
            return self.baseline
        config = history.accepted[-1].config
        assert config is not None
        (description,) = self.describe([config])
        assert isinstance(description, Description)
        return description


@dataclass(frozen=True)
class Run:
    """Trials to run, most wanted first. Empty: wait for those that run."""

    requests: tuple[Request, ...]
    expected: int = 0
    """Trials the strategy expects to ask for until its next decision, those running included."""
    alone: bool = False
    """Whether they run one after the other, with nothing beside them: they are probes."""


Proposal = Run | Decision


class Strategy(Component):
    """How a search proceeds."""

    def propose(self, problem: Problem, history: History) -> Proposal:
        """What to do next, from nothing but the problem, which passes ``check``, and the history.

        Called again whenever a trial has ended or a decision was recorded; requests that the
        history already holds are not repeated.
        """
        raise NotImplementedError

    @property
    def needs_space(self) -> bool:
        """Whether it follows the rules of a space; False when it brings its own combinations."""
        return True

    def faults(self, budget: Budget, longest: Mapping[str, float]) -> Iterator[Fault]:
        """What of an exploration it cannot do, with the place inside the exploration.

        Args:
            budget: The cap on one trial.
            longest: What the baseline itself allows of entries of the budget, as far as known.
        """
        return iter(())

    def check(self, problem: Problem) -> None:
        """Refuse what no proposal can be made for, before anything is trained.

        Raises:
            InputError: For such a problem.
        """

    @property
    def weighs_losers(self) -> bool:
        """Whether a trial that is worse in quality may still be taken, so none may end early."""
        return False

    def to_beat(self, problem: Problem, history: History) -> str:
        """Id of the config a trial has to beat to be of use: the incumbent's."""
        accepted = history.accepted
        last = accepted[-1].config_id if accepted else None
        return last or problem.baseline.config_id

    def outset(self, problem: Problem) -> Sequence[Candidate]:
        """What is tried first beside the baseline, whatever it comes to, and what is out of that.

        The beginning of it where it goes on and on; nothing where all depends on results.
        """
        raise NotImplementedError

    def outset_words(self, problem: Problem, number: int) -> str:
        """So many of ``outset`` in words."""
        raise NotImplementedError

    def leaps(self, problem: Problem) -> bool:
        """Whether it comes to a config that can be trained where no neighbour can."""
        return False

    def expected(self, problem: Problem) -> Expected:
        """What the first decision takes."""
        raise NotImplementedError

    def listing(self, problem: Problem) -> Iterator[Data]:
        """What is known in advance to be tried, one mapping each: for ``--dry-run --json``."""
        for candidate in self.outset(problem):
            yield candidate.edit.to_dict()


strategies: Family[Strategy] = Family(
    "strategy",
    "propose(problem, history) -> trials to run, a candidate to accept, or stop with a reason",
)
