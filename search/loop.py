"""Propose, run, record, decide: one single-threaded loop."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Protocol

from search.dimensions import point
from search.executors.base import Executor, Exit, Job, ProcessFacts, Slot
from search.executors.energy import first_reading, last_reading
from search.exploration import Exploration
from search.failures import diagnose, read_tail
from search.gains import TINY, quality, shown_value
from search.history import INTERRUPTED, Decision, Failure, Request, Stopped, Trial
from search.ledger import affordable, spent_words
from search.probes import with_probes
from search.results import rerun
from search.strategies.base import Problem, Run, StrategyFailed
from search.study import Study
from search.trainers import Launch, NothingRead, Records
from spec import yaml
from spec.config import Data
from spec.records import End, Record, RecordError, Start

QUICK_DEATH = 10.0
"""Seconds within which a crash counts as one that the next trial will meet too."""
DEATHS = 5
"""Crashes in a row, each a quick death, that end the search."""
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a search with grace; the last is a closed terminal."""
ALIKE = 3
"""Evaluations that do not all agree by chance, time and again."""
TICK = 0.25
"""Seconds between looks at the records of running trials."""


class Observer(Protocol):
    """What is told as the search goes on; progress and results are observers."""

    def changed(self, expected: int) -> None:
        """A trial was launched, reported or ended; ``expected`` more until the next decision."""
        ...

    def decided(self, decision: Decision) -> None:
        """A decision was recorded."""
        ...


class SearchFailed(Exception):
    """The search cannot go on: the baseline fails, trials fail in a row, or the disk is full."""


class Interrupted(Exception):
    """The search was asked to end; everything is saved and it can be resumed."""


@dataclass
class _Live:
    """A trial that runs now."""

    slot: Slot
    reader: Records
    end: End | None = None
    unread: Failure | None = None
    stopped: Stopped | None = None


@dataclass
class Loop:
    """Drives a study to its end.

    Attributes:
        exploration: What is asked.
        problem: The same for the strategy.
        study: The record, already open and free of dead trials.
        executor: Where trials run.
        folder: The study's folder; trials live in ``trials/`` below it.
        observers: Told of every change.
        max_trials: Most trials this run may launch; None for no cap.
    """

    exploration: Exploration
    problem: Problem
    study: Study
    executor: Executor
    folder: Path
    observers: Sequence[Observer] = ()
    max_trials: int | None = None
    _live: dict[int, _Live] = field(default_factory=dict)
    _launched: int = 0
    _quick_deaths: list[Trial] = field(default_factory=list)
    _signals: int = 0
    _seed_tells: bool = False
    _kept: set[int] = field(default_factory=set)
    """Trials whose checkpoints may still be there."""

    def run(self) -> str:
        """Search until the strategy stops.

        Returns:
            The stop reason.

        Raises:
            Interrupted: After SIGINT or SIGTERM; trials have ended and are recorded.
            SearchFailed: When going on makes no sense.
        """
        self._kept.update(trial.number for trial in self.study.history)
        with self._listening():
            while True:
                self._obey()
                spent = spent_words(self.study.history, self.problem.total)
                proposal = self._propose()
                if isinstance(proposal, Decision):
                    self._decide(proposal)
                    if proposal.kind == "stop":
                        return proposal.words
                    continue
                if spent and not self._live and not proposal.alone:
                    return self._spent(spent)
                self._fill(proposal)
                self._tell(proposal.expected)
                if not self._live:
                    return (
                        f"stopped after {self._launched} trials (--max-trials); run again to go on"
                    )
                self._watch()

    def _propose(self) -> Run | Decision:
        self._to_beat = None
        try:
            proposal = self.exploration.strategy.propose(self.problem, self.study.history)
        except StrategyFailed as error:
            again = "mend it and run again with --retry-failed"
            raise SearchFailed(f"{error}; {again}") from None
        return with_probes(proposal, self.problem, self.study.history)

    def stop_all(self) -> None:
        """End the running trials with grace and record them as interrupted."""
        for number in self._live:
            self.executor.stop(number)
        hurried = False
        while self._live:
            if self._signals > 1 and not hurried:
                hurried = True
                for number in self._live:
                    self.executor.stop(number, 0.0)
            for ended in self.executor.wait(TICK):
                self._record(ended, interrupted=True)

    # -- starting ----------------------------------------------------------------------------------

    def _fill(self, proposal: Run) -> None:
        free = self.executor.free()
        if proposal.alone or self._unsettled:
            free = [] if self._live else free[:1]
        left = affordable(self.study.history, self.problem.total, reserve=0)
        left = max(left, 1.0) if proposal.alone else left  # a probe is short
        for request, slot in zip(proposal.requests, free, strict=False):
            if left < 1.0:
                return
            left -= 1.0
            if self.max_trials is not None and self._launched >= self.max_trials:
                return
            self._kept.add(self._launch(request, slot).number)
            self._launched += 1

    def _launch(self, request: Request, slot: Slot) -> Trial:
        parameters = point(self.problem.space, request.description.config)
        trial = self.study.launch(request, parameters, first_reading(slot.counter))
        folder = trial_folder(self.folder, trial.number)
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.dump(request.description.config), encoding="utf-8")
        trainer = self.exploration.trainer
        keep = {"incumbent": "last"}.get(self.exploration.checkpoints, self.exploration.checkpoints)
        launch = trainer.launch(request, folder, slot, keep)
        launch = replace(launch, env={**launch.env, **self.study.notes.get("settled", {})})
        job = Job(trial.number, launch.command, folder, launch.cwd, launch.env, launch.stop_file)
        process = self.executor.launch(job, slot)
        self.study.add_facts(trial.number, _facts(launch, slot, process))
        (folder / "rerun.sh").write_text(f"{rerun(self.study.history[trial.number])}\n", "utf-8")
        self._live[trial.number] = _Live(slot, trainer.reader(request, folder, slot))
        return trial

    # -- running -----------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Wait for a trial to end, recording evaluations as they come."""
        settling = self._unsettled
        while True:
            ended = self.executor.wait(TICK)
            news = [self._read(number) for number in list(self._live)]
            # all are recorded before any is judged: the judgement may end the search
            for trial, exit_, tail in [self._record(exit_) for exit_ in ended]:
                self._judge(trial, exit_, tail)
            if ended or self._signals or (settling and not self._unsettled):
                return
            if any(news):
                self._tell()

    def _read(self, number: int) -> bool:
        live = self._live[number]
        news = self._take(number, live.reader.read)
        if news and live.stopped is None:
            live.stopped = self._hopeless(self.study.history[number])
            if live.stopped is not None:
                self.executor.stop(number)
        if live.unread is not None or live.reader.over:
            self.executor.stop(number)
        return news

    def _hopeless(self, trial: Trial) -> Stopped | None:
        """Why a trial may be ended although its budget is not spent."""
        strategy, early = self.exploration.strategy, self.exploration.early_stopping
        if strategy.weighs_losers or not early.acts_on(self.problem.objective):
            return None
        if self._to_beat is None:
            self._to_beat = strategy.to_beat(self.problem, self.study.history)
        return early.verdict(trial, self._to_beat, self.study.history, self.problem.objective)

    def _take(self, number: int, ask: Callable[[], list[Record]]) -> bool:
        """Record what a trial reports; whether there was anything to show."""
        live = self._live[number]
        try:
            records = ask()
        except RecordError as error:
            reason = "no_measurement" if isinstance(error, NothingRead) else "bad_record"
            live.unread = Failure(reason, str(error))
            return True
        points = [record for record in records if record.event == "eval"]
        self.study.report(number, points)
        for record in records:
            if record.event == "start":
                self._learn(number, record)
                self._begun = True
            if record.event == "end":
                live.end = record
        return bool(points)

    def _learn(self, number: int, start: Start) -> None:
        """Keep what a trial tells of its model that describe did not."""
        if start.kernel in ("torch", "onednn") and "settled" not in self.study.notes:
            # who multiplies matrices was chosen by a race; one study is to round in one way
            self.study.note("settled", {"ESPALIER_KERNEL": start.kernel})
        known = self.study.history[number].request.description.inventory
        told = start.inventory | {"parameters": start.parameters}
        measured = {k: v for k, v in told.items() if k not in known and v is not None}
        if measured or start.clock != "training":
            facts = {"measured": measured, "clock": start.clock}
            self.study.add_facts(number, facts)

    # -- recording ---------------------------------------------------------------------------------

    def _record(self, exit_: Exit, interrupted: bool = False) -> tuple[Trial, Exit, str]:
        """Record how a trial ended; returns it with the end of its log."""
        live = self._live[exit_.number]
        if told := last_reading(self.study.history[exit_.number].facts):
            self.study.add_facts(exit_.number, told)
        self._take(exit_.number, lambda: live.reader.finish(exit_))
        del self._live[exit_.number]
        tail = read_tail(trial_folder(self.folder, exit_.number) / "output.log")
        failure = diagnose(exit_, tail, live.end)
        if live.stopped is not None and failure is not None and failure.reason == INTERRUPTED:
            self.study.stop(exit_.number, live.stopped, live.end)
            return self._closed(exit_.number), exit_, tail
        if live.unread is not None:
            failure = live.unread
        elif interrupted and failure is not None:
            failure = Failure(INTERRUPTED, "ended with the search")
        elif failure is not None and failure.reason == INTERRUPTED:
            # not by us: were it run again, it might end like that for ever
            failure = replace(failure, reason="stopped_from_outside")
        elif failure is None:
            failure = self._unmeasured(exit_.number, live)
        if failure is None:
            assert live.end is not None
            self.study.finish(
                exit_.number,
                live.end,
                shown_value(self.study.history[exit_.number], self.problem.objective),
            )
        else:
            self.study.fail(exit_.number, failure, live.end)
        return self._closed(exit_.number), exit_, tail

    def _closed(self, number: int) -> Trial:
        trial = self.study.history[number]
        self._discard_checkpoints(trial)
        return trial

    def _unmeasured(self, number: int, live: _Live) -> Failure | None:
        """What a trial that came to its end did not tell: a probe its step time, others quality."""
        trial = self.study.history[number]
        if trial.probe:
            told = live.end is not None and live.end.step_ms is not None
            return None if told else Failure("no_measurement", "it ended without a step time")
        whole = Trial(number, trial.request, "finished", curve=trial.curve, end=live.end)
        value = quality(whole, self.problem.objective)
        if value is not None and value < math.inf:
            return None
        return Failure("no_measurement", "it ended without an evaluation that gives the objective")

    def _judge(self, trial: Trial, exit_: Exit, tail: str) -> None:
        """End the search when a failure says that the next trials will fail too."""
        failure = trial.failure
        if trial.probe:
            return
        if failure is None:
            self._quick_deaths.clear()
            self._check_scale(trial)
            self._check_seed(trial)
            return
        if failure.reason == INTERRUPTED:
            return
        if failure.reason == "disk_full":
            raise SearchFailed(f"trial {trial.number}: {failure}; free some space and run again")
        if trial.config_id == self.problem.baseline.config_id and not self._measured(
            trial.config_id
        ):
            raise SearchFailed(
                f"the baseline failed (trial {trial.number}): {failure}; mend the baseline or the "
                f"trainer, or choose another seeds.first, and run again\n{tail}".rstrip()
            )
        if failure.reason not in ("crashed", "lost") or exit_.seconds >= QUICK_DEATH:
            self._quick_deaths.clear()
            return
        self._quick_deaths.append(trial)
        if len(self._quick_deaths) >= DEATHS:
            told = "\n".join(
                f"  trial {dead.number}: {dead.failure}" for dead in self._quick_deaths
            )
            raise SearchFailed(f"{DEATHS} trials in a row died within {QUICK_DEATH:g} s:\n{told}")

    def _check_scale(self, trial: Trial) -> None:
        """Refuse losses whose score is zero or no number: no gain could be told."""
        objective = self.problem.objective
        timed = objective.gain == "time_to_target"
        if timed or trial.config_id != self.problem.baseline.config_id:
            return
        value, loss = quality(trial, objective), shown_value(trial, objective)
        if value is not None and not TINY <= value < math.inf:
            raise SearchFailed(
                f"the baseline's {objective.gain} of {loss:,.6g} (trial {trial.number}) is too far "
                "from zero: quality is exp(-loss), the probability of a token, so the loss has to "
                "be a mean over tokens, in nats; let the trainer report that, or have its reader "
                "scale it, such as scale: {val_loss: 0.001}, and start over with --fresh"
            )

    def _check_seed(self, trial: Trial) -> None:
        """Refuse to go on when trials come out alike on all seeds: noise would seem to be zero."""
        timed = self.problem.objective.gain == "time_to_target"  # the clock varies all the same
        if timed or self._seed_tells:
            return
        rows: dict[str, dict[int, tuple[float, ...]]] = {}
        for other in self.study.history.finished(trial.request):
            losses = tuple(point.val_loss for point in other.curve)
            if len(losses) >= ALIKE and len(set(losses)) > 1:
                rows.setdefault(other.config_id, {})[other.seed] = losses
        repeated = [row for row in rows.values() if len(row) > 1]
        again = sum(len(row) - 1 for row in repeated)
        self._seed_tells = any(len(set(row.values())) > 1 for row in repeated)
        if again < 2 or self._seed_tells:
            return
        raise SearchFailed(
            f"{again + len(repeated)} trials of {len(repeated)} configs have the same losses at "
            "every evaluation whatever their seed: the seed does not reach the model or its data, "
            "so nothing can be told from noise; let the trainer use the seed it is given and start "
            "over with --fresh, or compare single trials, with "
            "seeds: {screen: 1, max: 1, confirm: 0}"
        )

    def _measured(self, config_id: str) -> bool:
        return any(
            trial.config_id == config_id and trial.state == "finished"
            for trial in self.study.history
        )

    # -- deciding ----------------------------------------------------------------------------------

    def _decide(self, decision: Decision) -> None:
        self.study.decide(decision)
        for number in sorted(self._kept):
            self._discard_checkpoints(self.study.history[number])
        for observer in self.observers:
            observer.decided(decision)

    def _discard_checkpoints(self, trial: Trial) -> None:
        """Drop the checkpoints of a trial that cannot be chosen: it lost, failed or was stopped."""
        if self.exploration.checkpoints == "all" or trial.state == "running":
            return
        accepted = self.study.history.accepted
        keep = {self.problem.baseline.config_id} if not accepted else {accepted[-1].config_id}
        in_play = trial.request.purpose.round >= self.study.history.round
        useless = trial.state in ("failed", "stopped") or trial.probe
        if useless or (trial.config_id not in keep and not in_play):
            shutil.rmtree(
                trial_folder(self.folder, trial.number) / "checkpoints", ignore_errors=True
            )
            self._kept.discard(trial.number)

    def _spent(self, words: str) -> str:
        """Stop for good, unless a later run raises the total."""
        self._decide(Decision("stop", self.study.history.round, words))
        return words

    def _tell(self, expected: int | None = None) -> None:
        if expected is not None:
            self._expected = expected
        for observer in self.observers:
            observer.changed(self._expected)

    @property
    def _unsettled(self) -> bool:
        """Whether the first trial is yet to tell what all others are to do alike."""
        known = self._begun or "settled" in self.study.notes
        return self.exploration.trainer.settles and not known

    _expected: int = 0
    _begun: bool = False
    _to_beat: str | None = None

    # -- signals -----------------------------------------------------------------------------------

    @contextmanager
    def _listening(self) -> Iterator[None]:
        def heard(number: int, frame: FrameType | None) -> None:
            self._signals += 1

        before = {number: signal.signal(number, heard) for number in STOPPING}
        try:
            yield
        except SearchFailed:
            self.stop_all()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _obey(self) -> None:
        if self._signals:
            self.stop_all()
            raise Interrupted


def _facts(launch: Launch, slot: Slot, process: ProcessFacts) -> Data:
    """What the study keeps of how a trial was started."""
    return {
        "command": list(launch.command),
        "rerun": list(launch.rerun or launch.command),
        "cwd": str(launch.cwd),
        "env": dict(launch.env),
        "environment": dict(launch.environment),
        "slot": slot.name,
        "device": slot.device,
        "threads": slot.threads,
        "process": {
            "pid": process.pid,
            "create_time": process.create_time,
            "marker": process.marker,
        },
    }


def trial_folder(folder: Path, number: int) -> Path:
    """Where a trial's files are."""
    return folder / "trials" / f"{number:04d}"
