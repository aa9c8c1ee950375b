"""Any sampler of Optuna, rebuilt from the history."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Annotated, Any
from weakref import WeakKeyDictionary

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field, field_validator, model_validator

from search.costs import COSTS
from search.history import History, Trial
from search.strategies.base import Problem, strategies
from search.strategies.draws import Begun, Draw, anywhere, chance, lattice_of, usable
from search.strategies.explored import Explored
from search.strategies.model.lattice import Lattice, Points
from search.strategies.pareto import front, objectives, untold
from search.strategies.sampling import Sampling
from spec.config import Data, Seq, refuse
from spec.errors import did_you_mean
from spec.words import counted

REDRAWS = 10
"""Draws of one config before chance takes over: samplers repeat themselves in small spaces."""
FORGETFUL = frozenset({"tpe", "gp", "random", "qmc"})
"""Samplers that keep nothing with a trial; the others are run again for each recorded one."""
_NEEDS = {"cmaes": "cmaes", "gp": "torch"}
_GRIDS = frozenset({"bruteforce", "grid"})


def _samplers() -> dict[str, type[BaseSampler]]:
    """Word -> class, for every sampler of Optuna."""
    found = {}
    for name in optuna.samplers.__all__:
        kind = getattr(optuna.samplers, name)
        if inspect.isclass(kind) and issubclass(kind, BaseSampler) and kind is not BaseSampler:
            found[name.removesuffix("Sampler").lower()] = kind
    return found


SAMPLERS = _samplers()


BEGINS = "n_startup_trials", "population_size"
"""Arguments that tell how many trials a sampler draws before any result counts."""


class _Sampled(Sampling):
    """What both strategies on Optuna's samplers share.

    Every coordinate of the lattice is an Optuna dimension: a number by the index of its level
    (logarithmic where the rule scales), other choices as categories. Each item of the longest list
    has its own, whether the config has that item or not: most samplers need a fixed space. What a
    config does not have is told as the baseline's value.
    """

    options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the sampler, such as ``n_startup_trials``; its seed comes from the study."""

    @property
    def sampler_name(self) -> str:
        """The sampler's word."""
        raise NotImplementedError

    @property
    def told(self) -> tuple[str, ...]:
        """Costs to be made small beside the loss; empty for a single objective."""
        return ()

    @property
    def unaided(self) -> int:
        """See ``Sampling.unaided``."""
        if self.sampler_name == "random":
            return super().unaided
        known = inspect.signature(SAMPLERS[self.sampler_name]).parameters
        begins = next((name for name in BEGINS if name in known), None)
        if begins is None:
            return 0
        size = self.options.get(begins, known[begins].default)
        if not isinstance(size, int):
            return 0
        return min(super().unaided, max(0, size - 1))  # the baseline is one of these

    @model_validator(mode="after")
    def _sampler_takes_them(self) -> _Sampled:
        known = set(inspect.signature(SAMPLERS[self.sampler_name]).parameters) - {"seed"}
        for name in self.options:
            if name not in known:
                refuse(name, f"unknown option {name!r}{did_you_mean(name, known)}", "options", name)
        try:
            self.build(0)
        except (TypeError, ValueError) as error:
            refuse(self.options, f"Optuna refuses them for {self.sampler_name}: {error}", "options")
        return self

    def draw(self, explored: Explored, index: int, begun: Begun) -> Draw | None:
        """See ``Sampling.draw``."""
        replay = _replay_of(self, explored)
        for attempt in range(REDRAWS):
            seed = int(chance(explored.problem, index, attempt).integers(2**31))
            point = replay.ask(index, seed)
            drawn = usable(explored.problem, replay.lattice.edit(point), begun)
            if drawn is not None:
                return drawn
        return anywhere(explored.problem, index, begun)

    def build(self, seed: int) -> BaseSampler:
        """A fresh sampler."""
        kind = SAMPLERS[self.sampler_name]
        known = inspect.signature(kind).parameters
        given: dict[str, Any] = {"seed": seed} if "seed" in known else {}
        if self.sampler_name in ("cmaes", "gp"):
            given["warn_independent_sampling"] = False  # what they cannot sample is meant to be so
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return kind(**{**given, **self.options})


@strategies.variant("optuna")
class Optuna(_Sampled):
    """A sampler of Optuna by name, over the same values as every other strategy."""

    sampler: str = "tpe"
    """``tpe``, ``gp`` (needs torch), ``cmaes`` (needs the package cmaes), ``nsgaii``, ``qmc``..."""

    @field_validator("sampler")
    @classmethod
    def _is_known(cls, name: str) -> str:
        word = name.lower().replace("-", "").removesuffix("sampler")
        if word not in SAMPLERS:
            raise ValueError(f"unknown sampler {name!r}{did_you_mean(word, SAMPLERS)}")
        if word in _GRIDS:
            raise ValueError(f"sampler {name!r} does what strategy: {{kind: grid}} does")
        if word in _NEEDS and find_spec(_NEEDS[word]) is None:
            raise ValueError(f"sampler {word} needs a package: pip install {_NEEDS[word]}")
        return word

    @property
    def sampler_name(self) -> str:
        """See ``_Sampled``."""
        return self.sampler


@strategies.variant("pareto")
class Pareto(_Sampled):
    """The front over loss and costs, by a sampler for several objectives.

    No config is accepted, since none of the front is better than another: the search stops after
    its trials, and the stop decision holds the front.
    """

    sampler: Annotated[str, Field(pattern="^(nsgaii|nsgaiii|tpe|random)$")] = "nsgaii"
    """``nsgaii``, ``nsgaiii``, ``tpe`` or ``random``."""
    costs: Annotated[Seq[str], Field(min_length=1)] = ("parameters",)
    """What is to be small beside the loss."""

    @field_validator("costs")
    @classmethod
    def _are_known(cls, costs: tuple[str, ...]) -> tuple[str, ...]:
        for cost in costs:
            if cost not in COSTS:
                raise ValueError(f"unknown cost {cost!r}{did_you_mean(cost, COSTS)}")
        return costs

    @property
    def sampler_name(self) -> str:
        """See ``_Sampled``."""
        return self.sampler

    @property
    def weighs_losers(self) -> bool:
        """See ``Strategy.weighs_losers``: what is worse in loss may be on the front."""
        return True

    @property
    def told(self) -> tuple[str, ...]:
        """See ``_Sampled``."""
        return self.costs

    def ranked(self, explored: Explored) -> list[str]:
        """Nobody wins a front."""
        return []

    def found_words(self, explored: Explored, ending: Data) -> str:
        """See ``Sampling.found_words``."""
        if unknown := untold(explored, self.costs):
            return f"there is no front, since no trial told {' or '.join(unknown)}"
        return f"the front holds {counted(len(ending['front']), 'config')} that no other beats"

    def reserve(self, problem: Problem) -> int:
        """See ``Sampling.reserve``."""
        return 0

    def ending(self, explored: Explored) -> Data:
        """See ``Sampling.ending``."""
        return {"front": front(explored, self.costs)}


@dataclass(frozen=True)
class _Event:
    """The first trial of a config begins, or its last one ends."""

    when: float
    begins: bool
    config_id: str

    @property
    def order(self) -> tuple[float, bool, str]:
        """By time; at one time what ends comes before what begins in its place."""
        return self.when, self.begins, self.config_id


@dataclass
class _Replay:
    """An Optuna study in memory that has lived through the same events as the history.

    Attributes:
        options: The strategy.
        lattice: The space.
        log: Events so far, in the order of time.
    """

    options: _Sampled
    lattice: Lattice
    log: list[_Event] = field(default_factory=list)
    _ids: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        directions = [StudyDirection.MINIMIZE] * (1 + len(self.options.told))
        self._study = optuna.create_study(directions=directions)
        self._storage, self._key = self._study._storage, self._study._study_id
        ordinal = self.options.sampler_name == "cmaes"  # knows no categories
        self._dimensions = _dimensions(self.lattice, ordinal)
        # asks write what samplers keep into this trial, which no sampler reads
        self._scratch = self._storage.create_new_trial(self._key, _blank(TrialState.WAITING))

    def advance(self, events: Sequence[_Event], explored: Explored) -> None:
        """Live through the events that are new."""
        for event in events[len(self.log) :]:
            if event.begins:
                self._begin(explored, event.config_id)
            else:
                self._finish(explored, event.config_id)
            self.log.append(event)

    def ask(self, index: int, seed: int) -> Points:
        """A point from a fresh sampler."""
        chosen = self._sampled(index, seed, self._scratch)
        return np.array([chosen[name] for name in self._dimensions])

    def _begin(self, explored: Explored, config_id: str) -> None:
        point = self.lattice.encode(explored.configs[config_id])
        template = _blank(TrialState.RUNNING)
        template.distributions = dict(self._dimensions)
        template.params = {
            name: int(level) for name, level in zip(self._dimensions, point, strict=True)
        }
        trial_id = self._storage.create_new_trial(self._key, template)
        if self.options.sampler_name not in FORGETFUL:
            seed = int(chance(explored.problem, len(self._ids)).integers(2**31))
            self._sampled(len(self._ids), seed, trial_id)
        self._ids[config_id] = trial_id

    def _finish(self, explored: Explored, config_id: str) -> None:
        values = _values(explored, config_id, self.options.told)
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        self._storage.set_trial_state_values(self._ids[config_id], state, values)

    def _sampled(self, index: int, seed: int, trial_id: int) -> dict[str, int]:
        """Every dimension from a fresh sampler; what it keeps goes to the trial of that id."""
        sampler = self.options.build(seed)
        self._study._thread_local.cached_all_trials = None  # as ``study.ask`` does
        trial = _blank(TrialState.RUNNING, index + 1, trial_id)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            space = sampler.infer_relative_search_space(self._study, trial)
            found = sampler.sample_relative(self._study, trial, space)
            if self._rewound(index):
                found = sampler.sample_relative(self._study, trial, space)
            for name, kind in self._dimensions.items():
                if name not in found:
                    found[name] = sampler.sample_independent(self._study, trial, name, kind)
        return {name: int(value) for name, value in found.items()}

    def _rewound(self, index: int) -> bool:
        """Set the counters of quasi-random samplers, which live in the study, to the index."""
        kept = self._storage.get_study_system_attrs(self._key)
        counters = [key for key in kept if key.startswith("qmc:")]
        for key in counters:
            self._storage.set_study_system_attr(self._key, key, index - 1)
        return bool(counters)


_REPLAYS: WeakKeyDictionary[History, tuple[str, _Replay]] = WeakKeyDictionary()
"""A replay goes on where it was while its history grows; it is what a new one would be."""


def _replay_of(options: _Sampled, explored: Explored) -> _Replay:
    events = _events(explored)
    lattice = lattice_of(explored.problem)
    word = f"{id(lattice)} {options!r}"
    known, replay = _REPLAYS.get(explored.history, ("", None))
    if replay is None or known != word or events[: len(replay.log)] != replay.log:
        replay = _Replay(options, lattice)
        _REPLAYS[explored.history] = (word, replay)
    replay.advance(events, explored)
    return replay


def _events(explored: Explored) -> list[_Event]:
    trials: dict[str, list[Trial]] = {}
    for trial in explored.trials:
        trials.setdefault(trial.config_id, []).append(trial)
    events = []
    for config_id, own in trials.items():
        began = min(trial.started for trial in own)
        events.append(_Event(began, True, config_id))
        ends = [trial.ended for trial in own if trial.state != "running"]
        if len(ends) == len(own) and len(own) >= explored.problem.seeds.screen:
            ended = max((end for end in ends if end is not None), default=began)
            # even a trial that took no time ends after it began
            events.append(_Event(max(ended, math.nextafter(began, math.inf)), False, config_id))
    return sorted(events, key=lambda event: event.order)


def _values(explored: Explored, config_id: str, costs: Sequence[str]) -> list[float] | None:
    """What Optuna is to make small; None for a failed config."""
    if config_id not in explored.qualities:
        return None
    if not costs:
        return [-explored.qualities[config_id]]
    found = objectives(explored, config_id, costs)
    return None if found is None else list(found)


def _dimensions(lattice: Lattice, ordinal: bool) -> dict[str, BaseDistribution]:
    found: dict[str, BaseDistribution] = {}
    for axis in lattice.axes:
        size = len(axis.levels)
        for item in range(axis.items):
            name = str(axis.place(item)) if axis.items > 1 else axis.name
            choices = axis.kind == "choice" and not ordinal
            found[name] = (
                CategoricalDistribution(range(size)) if choices else IntDistribution(0, size - 1)
            )
    return found


def _blank(state: TrialState, number: int = -1, trial_id: int = -1) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=trial_id,
        state=state,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )
