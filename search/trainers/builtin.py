"""Our own trainer as the search sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from search.executors.base import Slot
from search.history import Description, Request
from search.objective import Budget
from search.strategies.base import Rejected
from search.trainers.base import Describer, Launch, Trainer, trainers
from spec.config import Data, Fault
from spec.errors import InputError, Problem


@trainers.variant("builtin")
class Builtin(Trainer):
    """Our own trainer."""

    preload = "trainer.preload"
    settles = True

    def too_short(self, budget: Budget, baseline: Description) -> Iterator[Fault]:
        """See ``Trainer.too_short``: the schedule's warm-up has to end."""
        warmup, size = baseline.config["schedule"]["warmup_steps"], baseline.inventory
        needed = {"max_steps": warmup + 1, "max_tokens": (warmup + 1) * size["tokens_per_step"]}
        for name, least in needed.items():
            value = getattr(budget, name)
            if value is not None and value < least:
                shorter = ", or set a shorter warm-up with --set baseline.schedule.warmup_steps=..."
                words = (
                    f"{value:,} is too little for the baseline, whose schedule.warmup_steps is "
                    f"{warmup}; allow {least:,} or more{shorter if warmup else ''}"
                )
                yield ("budget", name), value, words

    def longest(self, baseline: Description) -> Mapping[str, float]:
        """See ``Trainer.longest``."""
        steps = baseline.inventory["planned_steps"]
        return {"max_steps": steps, "max_tokens": steps * baseline.inventory["tokens_per_step"]}

    def describer(self) -> Describer:
        """See ``Trainer.describer``."""
        return PipedDescriber((sys.executable, "-m", "trainer.describe"))

    def launch(self, request: Request, folder: Path, slot: Slot, checkpoints: str) -> Launch:
        """See ``Trainer.launch``."""
        budget = request.budget
        flags: dict[str, Any] = {
            "--config": folder / "config.yaml",
            "--out": folder,
            "--seed": request.seed,
            "--device": slot.device,
            "--threads": slot.threads,
            "--max-steps": budget.max_steps,
            "--max-tokens": budget.max_tokens,
            "--max-seconds": budget.max_seconds,
            "--stop-at-loss": budget.stop_at_loss,
            "--checkpoints": checkpoints,
        }
        again = (*_argv({**flags, "--out": folder / "rerun"}), "--overwrite")
        return Launch(_argv(flags), rerun=again)


def _argv(flags: Mapping[str, Any]) -> tuple[str, ...]:
    given = [(flag, str(value)) for flag, value in flags.items() if value is not None]
    return (sys.executable, "-m", "trainer.train", *(word for pair in given for word in pair))


class PipedDescriber:
    """Talks to a describe process in JSON lines, once per distinct config."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._known: dict[str, Description | Rejected] = {}
        self._works = False
        self.fingerprint: str | None = None

    def __call__(self, configs: Sequence[Data]) -> list[Description | Rejected]:
        """See ``Describer``."""
        return [self._one(config) for config in configs]

    def remember(self, description: Description) -> None:
        """See ``Describer.remember``."""
        self._known[_word(description.config)] = description

    def _one(self, config: Data) -> Description | Rejected:
        word = _word(config)
        if word not in self._known:
            answer = self._ask(word)
            self._known[word] = answer if isinstance(answer, Rejected) else self._understand(answer)
        return self._known[word]

    def _understand(self, answer: Data) -> Description | Rejected:
        if "error" in answer:
            problems = tuple(Problem(**problem) for problem in answer["error"]["problems"])
            more = f" (and {len(problems) - 1} more like it)" if len(problems) > 1 else ""
            return Rejected(f"{problems[0]}{more}", problems)
        self.fingerprint = answer.get("data", {}).get("fingerprint") or self.fingerprint
        return Description(answer["config"], answer["id"], answer["inventory"])

    def _ask(self, word: str) -> Data | Rejected:
        """The answer; a config that kills the process is refused, and the next one starts anew.

        Raises:
            InputError: When the process answers not even its first config.
        """
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f'{{"config": {word}}}\n')
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            self._works = True
            answer: Data = json.loads(line)
            return answer
        process.communicate()
        self._process = None
        said = f"{' '.join(self._command)} ended with status {process.returncode} over it"
        if not self._works:
            raise InputError(f"no config could be described: {said}; what it said is above")
        return Rejected(f"{said}, most likely because the model is too large to describe")

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            # a session of its own: Ctrl-C is for the orchestrator, which then closes the pipe
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        return self._process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()


def _word(config: Data) -> str:
    return json.dumps(config, sort_keys=True)
