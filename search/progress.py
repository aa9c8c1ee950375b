"""What the terminal shows: round, running trials with live loss, time left, incumbent."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from search.costs import size
from search.gains import best, mean_loss, quality, shown_value
from search.history import Decision, Description, History, Trial
from search.moves import Edit
from search.objective import Objective
from search.results import counts, finished_incumbents, incumbent_of
from search.target_words import times, times_words
from search.to_target import three_digits

PLAIN_EVERY = 15.0
"""Seconds between two lines about the same round when the output is no terminal."""


class Progress:
    """Shows a search; a live panel on a terminal, else one line now and then."""

    def __init__(
        self, console: Console, baseline: Description, history: History, objective: Objective
    ) -> None:
        self._console = console
        self._baseline = baseline
        self._objective = objective
        self._history = history
        self._began = time.time()
        self._live: Live | None = None
        self._said = 0.0
        self._expected = 0
        self._scored: set[int] = set()
        self._best = math.inf
        self._winner = 0

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show while the body runs."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=4, transient=True) as live:
            self._live = live
            yield
        self._live = None

    def changed(self, expected: int) -> None:
        """See ``search.loop.Observer``."""
        self._expected = expected
        if self._live is not None:
            self._live.update(self._panel())
        elif time.monotonic() - self._said >= PLAIN_EVERY:
            self._say(self._line())

    def decided(self, decision: Decision) -> None:
        """See ``search.loop.Observer``."""
        style = {"accept": "green", "raise": "cyan", "stop": "yellow"}[decision.kind]
        self._say(Text(decision.words, style=style))

    def _say(self, line: str | Text) -> None:
        self._said = time.monotonic()
        self._console.print(line, soft_wrap=True, highlight=False)

    def _line(self) -> str:
        tally = counts(self._history)
        left = self._seconds_left()
        return (
            f"round {self._history.round}: {tally['finished']} trials done, "
            f"{tally['failed']} failed, {tally['stopped']} stopped early, "
            f"{tally['running']} running, about {self._expected} to the next decision"
            + (f" ({_duration(left)})" if left is not None else "")
            + self._best_words()
        )

    def _best_words(self) -> str:
        """The best single trial so far, whatever noise has done for it."""
        for trial in self._history:
            if trial.number in self._scored or quality(trial, self._objective) is None:
                continue
            self._scored.add(trial.number)
            value = shown_value(trial, self._objective)
            if value < self._best:
                self._best, self._winner = value, trial.number
        if math.isinf(self._best):
            return ""
        gain, target = self._objective.gain, self._objective.target
        told = f"{gain} {self._best:.4f}"
        if gain == "time_to_target":
            told = f"{three_digits(self._best)} s to {target:g}"
        return f"; best trial so far: {told} (trial {self._winner})"

    def _seconds_left(self) -> float | None:
        """Until the next decision, from the trials of this run."""
        walls = [t.ended - t.started for t in self._history if t.ended and t.started >= self._began]
        running = [trial for trial in self._history if trial.state == "running"]
        if not walls or not running:
            return None
        return sum(walls) / len(walls) * self._expected / len(running)

    def _panel(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2), show_edge=False)
        for heading in ("trial", "phase", "change", "step", "val_loss"):
            table.add_column(heading, justify="left" if heading in ("phase", "change") else "right")
        for trial in self._history:
            if trial.state == "running":
                table.add_row(*_row(trial))
        return Group(Text(self._line(), style="bold"), table, Text(self._incumbent(), style="dim"))

    def _incumbent(self) -> str:
        config_id, _ = incumbent_of(self._baseline, self._history)
        own = finished_incumbents(self._baseline, self._history)
        losses = [point.val_loss for t in own if (point := best(t.curve)) is not None]
        if not own or not losses:
            return f"incumbent {config_id}: being measured"
        if self._objective.gain == "time_to_target" and self._objective.target is not None:
            told = times(own, self._objective, self._history)
            if told is not None:
                return f"incumbent {config_id}: {times_words(told, self._objective.target)}"
        return (
            f"incumbent {config_id}: val_loss {mean_loss(losses):.4f} "
            f"over {len(losses)} seeds, {size(own[0].inventory.get('parameters'))} parameters"
        )


def _row(trial: Trial) -> tuple[str, ...]:
    edit = trial.request.purpose.edit
    change = Edit(**edit).key if edit else "(incumbent)"
    last = trial.curve[-1] if trial.curve else None
    loss = f"{last.val_loss:.4f}" if last else "-"
    return (
        str(trial.number),
        trial.request.purpose.phase,
        change,
        str(last.step if last else 0),
        loss,
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
