"""The SQLite study in Optuna's format: the only truth, written by the orchestrator alone."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialUserAttributeModel,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from search.history import (
    INTERRUPTED,
    Decision,
    Description,
    Failure,
    History,
    Purpose,
    Request,
    State,
    Stopped,
    Trial,
)
from search.objective import Budget
from spec.config import Data
from spec.errors import InputError
from spec.records import End, Eval

_STATES: dict[TrialState, State] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}

CURVE_EVERY = 2.0
"""Least seconds between two writes of a running trial's whole curve; losses are always there."""

_PUT_LOSS = text(
    "INSERT INTO trial_intermediate_values "
    "(trial_id, step, intermediate_value, intermediate_value_type) "
    "VALUES (:trial, :step, :value, :kind) ON CONFLICT (trial_id, step) DO UPDATE SET "
    "intermediate_value = excluded.intermediate_value, "
    "intermediate_value_type = excluded.intermediate_value_type"
)
_PUT_ATTRIBUTE = text(
    "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (:trial, :key, :value) "
    "ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json"
)

Parameters = Mapping[str, tuple[Any, BaseDistribution]]
"""Dimension of the space -> the trial's value and Optuna's distribution for it."""


@dataclass(frozen=True)
class _Close:
    """How a trial ended; ``ended`` is a unix time, None for now."""

    failure: Failure | None = None
    end: End | None = None
    ended: float | None = None
    stopped: Stopped | None = None


class Study:
    """One study in one file. Open with ``Study.open``; what it holds is ``history``.

    Every change is on disk when the call returns. A trial is an Optuna trial with its parameters,
    intermediate values and user attributes; decisions and notes are user attributes of the Optuna
    study.
    """

    def __init__(self, storage: RDBStorage, study_id: int) -> None:
        self._storage = storage
        self._id = study_id
        self._ids: dict[int, int] = {}
        self._choices: dict[str, list[Any]] = {}
        self._kinds: dict[str, tuple[type, bool]] = {}
        self._next_curve: dict[int, float] = {}
        self.notes: dict[str, Any] = dict(storage.get_study_user_attrs(study_id))
        trials = [self._load(frozen) for frozen in storage.get_all_trials(study_id, deepcopy=False)]
        again = frozenset(self.notes.get("forgiven", ()))
        trials = [_forgiven(trial) if trial.number in again else trial for trial in trials]
        decisions = (
            _decision(value)
            for key, value in sorted(self.notes.items())
            if key.startswith("decision:")
        )
        self.history = History(trials, decisions)

    @classmethod
    def open(cls, file: Path, name: str) -> Self:
        """Open a study, made when the file does not exist; only for the holder of its lock."""
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = _connect(file)
        try:
            study_id = storage.get_study_id_from_name(name)
        except KeyError:
            study_id = storage.create_new_study([StudyDirection.MINIMIZE], name)
        return cls(storage, study_id)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Open a file's only study to look at it, also while a search is writing."""
        storage = _connect(file)
        studies = storage.get_all_studies()
        if not studies:
            raise InputError(f"{file} holds no study yet; run its exploration first")
        return cls(storage, studies[0]._study_id)

    def close(self) -> None:
        """Let go of the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def note(self, key: str, value: Any) -> None:
        """Keep a plain value beside the trials."""
        self._storage.set_study_user_attr(self._id, key, value)
        self.notes[key] = value

    def decide(self, decision: Decision) -> None:
        """Record what was concluded."""
        self.note(f"decision:{len(self.history.decisions):06d}", asdict(decision))
        self.history.decide(decision)

    def launch(self, request: Request, parameters: Parameters, facts: Data) -> Trial:
        """Record a trial as running, under the next number."""
        for name, (_, distribution) in parameters.items():
            if isinstance(distribution, CategoricalDistribution):
                self._widen(name, distribution.choices)
        parameters = {
            name: (value, kind)
            for name, (value, kind) in parameters.items()
            if self._kinds.setdefault(name, _kind(kind)) == _kind(kind)
        }
        started = time.time()
        description, purpose = request.description, request.purpose
        attributes = {
            "config_id": description.config_id,
            "seed": request.seed,
            "round": purpose.round,
            "phase": purpose.phase,
            "edit": purpose.edit,
            "budget": request.budget.model_dump(exclude_none=True),
            "clock": request.clock,
            "inventory": dict(description.inventory),
            "config": description.config,
            "facts": facts,
        }
        number = len(self.history)
        row = TrialModel(
            number=number,
            study_id=self._id,
            state=TrialState.RUNNING,
            datetime_start=datetime.fromtimestamp(started),
            params=[
                self._parameter(name, value, distribution)
                for name, (value, distribution) in parameters.items()
            ],
            user_attributes=[
                TrialUserAttributeModel(key=key, value_json=json.dumps(value))
                for key, value in attributes.items()
            ],
        )
        # in one go: Optuna's own call asks first about every parameter and every attribute, which
        # takes ten times as long
        with Session(self._storage.engine) as session, session.begin():
            session.add(row)
            session.flush()
            trial_id = int(row.trial_id)
        self._ids[number] = trial_id
        trial = Trial(number, request, "running", facts, started=started)
        self.history.put(trial)
        return trial

    def add_facts(self, number: int, facts: Mapping[str, Any]) -> None:
        """Record more about where and how a trial runs."""
        trial = self.history[number]
        known = {**trial.facts, **facts}
        self._write(number, {"facts": known})
        self.history.put(replace(trial, facts=known))

    def report(self, number: int, points: Iterable[Eval]) -> None:
        """Record evaluations of a running trial."""
        points = tuple(points)
        if not points:
            return
        trial = self.history[number]
        self.history.put(replace(trial, curve=trial.curve + points))
        due = time.monotonic() >= self._next_curve.get(number, 0.0)
        self._write(number, self._curve(number) if due else {}, points)

    def _curve(self, number: int) -> Data:
        """The whole curve as an attribute, which is written now."""
        self._next_curve[number] = time.monotonic() + CURVE_EVERY
        curve = self.history[number].curve
        return {"curve": [point.model_dump(mode="json", exclude_none=True) for point in curve]}

    def _write(self, number: int, attributes: Data, points: Iterable[Eval] = ()) -> None:
        """Attributes and losses of a running trial, in one transaction.

        Optuna's own calls take one for each value, and a few milliseconds for each.
        """
        trial = self._ids[number]
        losses = []
        for point in points:
            value, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(
                point.val_loss
            )
            losses.append({"trial": trial, "step": point.step, "value": value, "kind": kind.name})
        told = [
            {"trial": trial, "key": key, "value": json.dumps(value)}
            for key, value in attributes.items()
        ]
        with self._storage.engine.begin() as connection:
            if losses:
                connection.execute(_PUT_LOSS, losses)
            if told:
                connection.execute(_PUT_ATTRIBUTE, told)

    def finish(self, number: int, end: End, value: float, ended: float | None = None) -> None:
        """Record a trial as measured.

        Args:
            number: The trial.
            end: Its last record.
            value: What Optuna's tools show, lower is better.
            ended: Unix time when it ended; None for now.
        """
        self._close(number, TrialState.COMPLETE, _Close(end=end, ended=ended), [value])

    def fail(
        self, number: int, failure: Failure, end: End | None = None, ended: float | None = None
    ) -> None:
        """Record a trial as failed, with its reason."""
        self._close(number, TrialState.FAIL, _Close(failure, end, ended), None)

    def stop(self, number: int, stopped: Stopped, end: End | None = None) -> None:
        """Record a trial as ended early: pruned, as Optuna calls it."""
        self._close(number, TrialState.PRUNED, _Close(end=end, stopped=stopped), None)

    def forgive(self, config_id: str | None = None) -> int:
        """Let failed trials, of one config or of all, run again where they are still wanted.

        Returns:
            How many there are.
        """
        return self._retry(
            trial
            for trial in self.history
            if trial.failure is not None
            and not trial.interrupted
            and config_id in (None, trial.config_id)
        )

    def forgive_stopped(self) -> int:
        """Let trials that were ended early run again, whole, where they are still wanted."""
        return self._retry(trial for trial in self.history if trial.stopped is not None)

    def _retry(self, trials: Iterable[Trial]) -> int:
        failed = list(trials)
        if not failed:
            return 0
        # Optuna lets nobody change a trial that has ended, so this is a note beside it
        self.note("forgiven", [*self.notes.get("forgiven", []), *(t.number for t in failed)])
        for trial in failed:
            self.history.put(_forgiven(trial))
        return len(failed)

    def _close(
        self, number: int, state: TrialState, how: _Close, values: list[float] | None
    ) -> None:
        ended = time.time() if how.ended is None else how.ended
        attributes: Data = {"ended": ended, **self._curve(number)}
        self._next_curve.pop(number)
        if how.failure is not None:
            attributes["failure"] = asdict(how.failure)
        if how.stopped is not None:
            attributes["stopped"] = asdict(how.stopped)
        if how.end is not None:
            attributes["end"] = how.end.model_dump(exclude_none=True)
        self._write(number, attributes)
        self._storage.set_trial_state_values(self._ids[number], state, values)
        trial = replace(
            self.history[number],
            state=_STATES[state],
            failure=how.failure,
            end=how.end,
            ended=ended,
            stopped=how.stopped,
        )
        self.history.put(trial)

    def _parameter(self, name: str, value: Any, distribution: BaseDistribution) -> TrialParamModel:
        """A value as Optuna stores it, with all choices that are known."""
        if isinstance(distribution, CategoricalDistribution):
            distribution = CategoricalDistribution(self._choices[name])
        return TrialParamModel(
            param_name=name,
            param_value=distribution.to_internal_repr(value),
            distribution_json=distribution_to_json(distribution),
        )

    def _widen(self, name: str, choices: Iterable[Any]) -> None:
        """Let a categorical dimension take new choices, which Optuna itself refuses.

        Optuna stores a choice by its index, so choices are only ever added at the end.
        """
        known = self._choices.setdefault(name, [])
        new = [choice for choice in choices if choice not in known]
        if not new:
            return
        known += new
        wide = distribution_to_json(CategoricalDistribution(known))
        rows = "trial_id IN (SELECT trial_id FROM trials WHERE study_id = :study)"
        with self._storage.engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE trial_params SET distribution_json = :wide "
                    f"WHERE param_name = :name AND {rows}"
                ),
                {"wide": wide, "name": name, "study": self._id},
            )

    def _load(self, frozen: FrozenTrial) -> Trial:
        self._ids[frozen.number] = frozen._trial_id
        for name, distribution in frozen.distributions.items():
            self._kinds.setdefault(name, _kind(distribution))
            if isinstance(distribution, CategoricalDistribution):
                known = self._choices.setdefault(name, [])
                known += [choice for choice in distribution.choices if choice not in known]
        told = frozen.user_attrs
        description = Description(told["config"], told["config_id"], told["inventory"])
        purpose = Purpose(told["round"], told["phase"], told["edit"])
        request = Request(
            description, told["seed"], Budget(**told["budget"]), purpose, told["clock"]
        )
        return Trial(
            number=frozen.number,
            request=request,
            state=_STATES[frozen.state],
            facts=told["facts"],
            curve=tuple(Eval.model_validate(point) for point in told.get("curve", ())),
            end=End.model_validate(told["end"]) if "end" in told else None,
            failure=Failure(**told["failure"]) if "failure" in told else None,
            started=_unix(frozen.datetime_start),
            ended=told.get("ended"),
            stopped=Stopped(**told["stopped"]) if frozen.state == TrialState.PRUNED else None,
        )


def _connect(file: Path) -> RDBStorage:
    storage = RDBStorage(f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": 60}})

    @event.listens_for(storage.engine, "connect")
    def relax(connection: sqlite3.Connection, _: Any) -> None:
        # with a write-ahead log this loses nothing when the process dies, and saves a disk flush
        # per change
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.engine.dispose()  # connections opened before the listener
    return storage


def _kind(distribution: BaseDistribution) -> tuple[type, bool]:
    """What Optuna holds fixed about a dimension; a trial that differs goes without it."""
    return type(distribution), bool(getattr(distribution, "log", False))


def _forgiven(trial: Trial) -> Trial:
    before = (
        f"it had failed: {trial.failure}" if trial.failure else f"it had ended: {trial.stopped}"
    )
    failure = Failure(INTERRUPTED, f"to be retried; {before}")
    return replace(trial, state="failed", failure=failure, stopped=None)


def _decision(value: str | Mapping[str, Any]) -> Decision:
    told = json.loads(value) if isinstance(value, str) else value
    return Decision(**told)


def _unix(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
