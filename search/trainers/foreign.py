"""Any trainer, unchanged: a command template, readers of what it writes, and nothing else."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from search.costs import COSTS
from search.executors.base import Slot
from search.history import Description, Request
from search.objective import CAPS, Budget, Objective, Seeds
from search.trainers import arguments
from search.trainers.arguments import Args
from search.trainers.base import Launch, Records, Trainer, trainers
from search.trainers.curve import ForeignRecords
from search.trainers.describing import ForeignDescriber
from search.trainers.environment import environment
from search.trainers.merge import Stream
from search.trainers.readers import readers
from search.trainers.readers.base import MetricReader
from spec import yaml
from spec.config import Config, Data, Fault, Seq
from spec.errors import InputError
from spec.path import Path as DottedPath
from spec.records import End, Eval


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str | Mapping) else value


def _styled(value: Any) -> Any:
    return {"style": value} if isinstance(value, str) else value


Keys = Annotated[Seq[str], BeforeValidator(_several)]


class BudgetKeys(Config):
    """Which keys of the script's config take the exploration's budget; a name or several.

    Of several, the first is the length that the script trains for.
    """

    max_steps: Keys = ()
    """Such as ``max_iters``, or with the schedule's own length ``[max_iters, lr_decay_iters]``."""
    max_tokens: Keys = ()
    """Training tokens."""
    max_seconds: Keys = ()
    """Seconds; without a key the search ends the trial after so many."""
    stop_at_loss: Keys = ()
    """A loss; without a key the search ends the trial at the first evaluation that reaches it."""

    def of(self, name: str) -> tuple[str, ...]:
        """The keys of one entry of the budget."""
        keys: tuple[str, ...] = getattr(self, name)
        return keys


_KEPT_FROM_HERE = ("max_seconds", "stop_at_loss")


@trainers.variant("command")
class Foreign(Trainer):
    """A training script that knows nothing of us.

    In ``command``, ``{args}`` stands for the whole config as options, ``{path.to.key}`` for one
    value (which ``{args}`` then leaves out), ``{config}`` for a file that holds the config,
    ``{out}`` for the trial's folder, ``{seed}``, ``{device}`` and ``{threads}`` for the trial's
    facts, and ``{python}`` for the interpreter of the search.
    """

    told_by: ClassVar[str] = "command"

    command: Annotated[Seq[str], Field(min_length=1)]
    """Program and arguments, one by one; no shell reads them."""
    cwd: str = "."
    """Where it runs; in an exploration's file relative to the file's folder."""
    env: dict[str, str] = Field(default_factory=dict)
    """Variables on top of the search's own."""
    args: Annotated[Args, BeforeValidator(_styled)] = Args()
    """How ``{args}`` writes a value; a bare style or a mapping."""
    config_file: Literal["yaml", "json"] = "yaml"
    """Format of the file that ``{config}`` names."""
    metrics: Annotated[
        Seq[Annotated[MetricReader, readers]], BeforeValidator(_several), Field(min_length=1)
    ]
    """What is read from what it writes; one reader or several."""
    describe: Seq[str] = ()
    """A command that prints a JSON object with ``parameters`` and the like, told from the config
    alone, and fails for an impossible config; without it costs are measured."""
    seed: str | None = None
    """The config's key that carries the seed, where the command has no ``{seed}``."""
    budget: BudgetKeys = BudgetKeys()
    """Which keys take the budget."""
    stop_file: str | None = None
    """What to touch to end a trial, below its folder; without it a trial is sent SIGTERM."""

    # -- before the search -------------------------------------------------------------------------

    def faults(
        self,
        baseline: Data,
        space: Sequence[str],
        budget: Budget,
        seeds: Seeds,
        objective: Objective,
    ) -> Iterator[Fault]:
        """See ``Trainer.faults``."""
        yield from self._budget_faults(budget)
        yield from self._seed_faults(seeds)
        yield from self._limit_faults(objective.limits)
        if not any("val_loss" in reader.fields() for reader in self.metrics):
            yield ("trainer", "metrics"), None, "no reader tells val_loss; name a group or key so"
        try:
            config = self.overlaid(baseline, seeds.first, budget)
        except InputError as error:
            yield ("trainer",), None, f"a key for seed or budget cannot be set: {error}"
            return
        yield from self._template_faults(config)
        for path in space:
            if not arguments.reaches(self.command, path):
                way = f"{{{path}}}, {{args}} or {{config}}"
                yield ("space", path), None, f"does not reach the script; put {way} in the command"

    def longest(self, baseline: Description) -> Mapping[str, float]:
        """See ``Trainer.longest``."""
        keys = {name: self.budget.of(name) for name in CAPS}
        own = {name: _least(baseline.config, of[0], math.inf) for name, of in keys.items() if of}
        return {name: cap for name, cap in own.items() if cap < math.inf}

    def _budget_faults(self, budget: Budget) -> Iterator[Fault]:
        for name, value in budget.model_dump(exclude_none=True).items():
            for key in self.budget.of(name):
                if not arguments.reaches(self.command, key):
                    yield ("trainer", "budget", name), key, f"{key} does not reach the script"
            if not self.budget.of(name) and name not in _KEPT_FROM_HERE:
                way_out = f"say which key takes it, such as trainer.budget: {{{name}: {name}}}"
                yield ("budget", name), value, f"the script does not know {name}; {way_out}"

    def _seed_faults(self, seeds: Seeds) -> Iterator[Fault]:
        if self.seed is not None and not arguments.reaches(self.command, self.seed):
            yield ("trainer", "seed"), self.seed, f"{self.seed} does not reach the script"
        if self.seed is not None or "seed" in self._names():
            return
        most = {"screen": 1, "max": 1, "confirm": 0}
        for name, limit in most.items():
            if (value := getattr(seeds, name)) > limit:
                yield (
                    ("seeds", name),
                    value,
                    f"{name} {value} would train the same trial again, for no seed reaches the "
                    "script; name its key with trainer.seed, or set "
                    "seeds: {screen: 1, max: 1, confirm: 0}",
                )

    def untold(self, limits: Mapping[str, float], baseline: Description) -> Iterator[Fault]:
        """See ``Trainer.untold``."""
        yield from self._limit_faults(limits, baseline)

    def _limit_faults(
        self, limits: Mapping[str, float], baseline: Description | None = None
    ) -> Iterator[Fault]:
        """Limits that nobody could check, because neither describe nor a reader tells the cost.

        Before the baseline is described, a describe command is trusted to tell what it can.
        """
        told = dict.fromkeys({name for reader in self.metrics for name in reader.fields()}, 1)
        curve = (Eval(step=1, train_seconds=1.0, val_loss=1.0),)
        end = End.model_validate({"status": "completed", **told})
        for name, limit in limits.items():
            cost = COSTS[name]
            described = bool(self.describe) and cost.derived is not None
            if baseline is not None:
                described = cost.known(baseline.inventory) is not None
            measurable = cost.measured is not None and cost.measured(curve, end) is not None
            if not (described or measurable or cost.known(told) is not None):
                also = "" if cost.derived is None else ", or a describe command"
                way_out = f"let a reader of trainer.metrics tell it{also}"
                yield ("objective", "limits", name), limit, f"nothing tells {name}; {way_out}"

    def _template_faults(self, config: Data) -> Iterator[Fault]:
        facts = arguments.FACTS
        few = ("out", "seed")
        for index, text in enumerate(self.command):
            if wrong := arguments.check(text, config, facts):
                yield ("trainer", "command", index), text, wrong
        for index, text in enumerate(self.describe):
            if wrong := arguments.check(text, config, facts):
                yield ("trainer", "describe", index), text, wrong
        for index, reader in enumerate(self.metrics):
            if wrong := arguments.check(reader.place() or "", config, few):
                yield ("trainer", "metrics", index), reader.place(), wrong
            if reader.place() in ("metrics.jsonl", "{out}/metrics.jsonl"):
                words = "metrics.jsonl is what the search writes; give the script's another name"
                yield ("trainer", "metrics", index), reader.place(), words
        if wrong := arguments.check(self.stop_file or "", config, few):
            yield ("trainer", "stop_file"), self.stop_file, wrong

    def _names(self) -> set[str]:
        return {name for text in self.command for name in arguments.placeholders(text)}

    def describer(self) -> ForeignDescriber:
        """See ``Trainer.describer``."""
        for reader in self.metrics:
            reader.require()
        return ForeignDescriber(self)

    # -- one trial ---------------------------------------------------------------------------------

    def folder(self) -> Path:
        """The working directory.

        Raises:
            InputError: When it is no folder.
        """
        cwd = Path(self.cwd).expanduser().resolve()
        if not cwd.is_dir():
            raise InputError(
                f"trainer.cwd: no folder {str(cwd)!r}; give the script's folder, "
                "for instance with --set trainer.cwd=PATH"
            )
        return cwd

    def overlaid(self, config: Data, seed: int, budget: Budget) -> Data:
        """A config with seed and budget in the script's own keys.

        Raises:
            PathError: When a key leads through something that holds no keys.
        """
        told = config if self.seed is None else _put(config, self.seed, seed)
        for name, cap in budget.model_dump(exclude_none=True).items():
            for key in self.budget.of(name):
                told = _put(told, key, _least(told, key, cap))
        return told

    def argv(
        self, command: Sequence[str], config: Data, folder: Path, facts: Mapping[str, str]
    ) -> tuple[str, ...]:
        """A command for a config that has seed and budget already.

        Raises:
            InputError: When a value cannot be written.
        """
        config = self.args.spread(config)
        if any("{config}" in text for text in command):
            file = folder / f"given.{self.config_file}"
            plain = arguments.given(config)
            text = json.dumps(plain, indent=2) if self.config_file == "json" else yaml.dump(plain)
            file.write_text(text, encoding="utf-8")
            facts = {**facts, "config": str(file)}
        return arguments.expand(command, {**facts, "python": sys.executable}, config, self.args)

    def launch(self, request: Request, folder: Path, slot: Slot, checkpoints: str) -> Launch:
        """See ``Trainer.launch``."""
        config, facts = self._told(request), _facts(request, folder) | _place(slot)
        argv, cwd = self.argv(self.command, config, folder, facts), self.folder()
        stop_file = self._path(self.stop_file, request, folder) if self.stop_file else None
        env = {**slot.env, **self.env}
        found = shutil.which(argv[0], path=env.get("PATH"))  # a shell may look elsewhere for it
        rerun = (found or argv[0], *argv[1:])
        known, packages = environment(rerun, cwd)
        (folder / "environment.yaml").write_text(
            yaml.dump({**known, "packages": packages}), encoding="utf-8"
        )
        return Launch(argv, cwd, env, stop_file, known, rerun)

    def reader(self, request: Request, folder: Path, slot: Slot) -> Records:
        """See ``Trainer.reader``."""
        streams = [
            Stream(reader, reader.open(self._path(reader.place() or "output.log", request, folder)))
            for reader in self.metrics
        ]
        taken = {name: None for name in Budget.model_fields if self.budget.of(name)}
        kept = request.budget.model_copy(update=taken)
        return ForeignRecords(streams, request, folder, slot, kept)

    def _told(self, request: Request) -> Data:
        return self.overlaid(request.description.config, request.seed, request.budget)

    def _path(self, template: str, request: Request, folder: Path) -> Path:
        """A file of one trial: below its folder, unless the template says otherwise."""
        text = arguments.fill(template, _facts(request, folder), self._told(request), self.args)
        return folder / (text or template)


def _facts(request: Request, folder: Path) -> dict[str, str]:
    return {"out": str(folder), "seed": str(request.seed)}


def _place(slot: Slot) -> dict[str, str]:
    return {"device": slot.device, "threads": str(slot.threads)}


def _put(config: Data, key: str, value: Any) -> Data:
    told: Data = DottedPath.parse(key).put(config, value)
    return told


def _least(config: Data, key: str, cap: float) -> Any:
    """The budget, or what the config asks for already when that is less."""
    own = arguments.value_at(config, key)
    number = isinstance(own, int | float) and not isinstance(own, bool)
    return min(own, cap) if number else cap
