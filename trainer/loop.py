"""The training of one trial, from its first step or a checkpoint to its ``end`` record."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import nn

from spec.config import identity
from spec.errors import InputError
from spec.records import End, Eval, Record, Start, Status, Writer
from trainer import checkpoint, journal, runtime
from trainer.batches import Batch, Dataset, EvaluationSet, Sampler
from trainer.checkpoint import Checkpoint, Progress
from trainer.components import linear
from trainer.components.optimizer import restore
from trainer.config import TrainerConfig
from trainer.evaluate import bits_per_byte, mean_loss
from trainer.facts import Facts, planned_steps
from trainer.model import GPT


class Training:
    """One trial.

    Args:
        config: Full form.
        dataset: What it trains on.
        out: Folder of its records and checkpoints.
        facts: The command line's part.
        report: Called with every record once it is written.

    Raises:
        InputError: When the data or the budget is too small for one step.
    """

    def __init__(
        self,
        config: TrainerConfig,
        dataset: Dataset,
        out: Path,
        facts: Facts,
        report: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self._config, self._out, self._facts = config, out, facts
        self._report = report
        self._planned = planned_steps(config, facts)
        block_size, device = config.model.block_size, facts.device
        self._sampler = Sampler(dataset.train, block_size, facts.seed, device)
        self._evaluated = EvaluationSet(dataset.val, config.evaluation.tokens, block_size, device)
        self._bytes_per_token = dataset.bytes_per_token(self._evaluated)
        self._precision = runtime.prepare(facts.device, facts.threads, config.dtype)
        with torch.device(facts.device):
            self._model = GPT(config.model)
        self._model.initialize(facts.seed)
        self._parameters = list(self._model.parameters())
        self._forward: Callable[..., Any] = (
            torch.compile(self._model) if config.compile else self._model
        )
        self._updater = config.optimizer.build(self._model.named_parameters())
        self._scaler = torch.amp.GradScaler(facts.device.type, enabled=config.dtype == "float16")
        self._progress = Progress()
        self._clock = runtime.Clock(facts.device)
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=facts.device)
        self._interrupt = runtime.Interrupt()

    def run(
        self, inventory: dict[str, Any], *, resume: bool = False, overwrite: bool = False
    ) -> Status:
        """Train to the horizon, or until something else ends the trial.

        Args:
            inventory: The cost inventory, for the ``start`` record.
            resume: Continue from the last checkpoint; without one, begin anew.
            overwrite: Begin anew over whatever trial the folder holds.

        Raises:
            InputError: When the folder holds another trial, or, unless resuming or overwriting,
                any.
        """
        if overwrite:
            checkpoint.discard(self._out / "checkpoints")
        with self._interrupt, self._open(inventory, resume, overwrite) as self._writer:
            self._warm_up()
            status = self._train()
            if status != "diverged" and self._facts.keep != "none":
                self._save("last")
            self._append(self._end_record(status))
        return status

    def _train(self) -> Status:
        while not self._interrupt.requested:
            if self._target_is_reached():
                return "target_reached"
            if self._evaluation_is_due():
                finite = self._evaluate()
            elif self._is_over():
                return "completed"
            else:
                with self._clock:
                    finite = self._stretch()
            if not finite:
                return "diverged"
        return "stopped"

    def _target_is_reached(self) -> bool:
        best = self._progress.best_val_loss
        return best is not None and best <= self._facts.stop_at_loss

    def _is_over(self) -> bool:
        return (
            self._progress.step >= self._planned or self._clock.seconds >= self._facts.max_seconds
        )

    def _evaluation_is_due(self) -> bool:
        step = self._progress.step
        if step == self._progress.evaluated_step:
            return False
        return step % self._config.evaluation.interval == 0 or self._is_over()

    def _stretch(self) -> bool:
        """Steps up to the next evaluation or interrupt; False when the loss is no longer finite.

        On a GPU the loss is looked at once, at the end: looking makes the GPU wait for us.
        """
        watch = self._facts.device.type == "cpu"
        while not (self._interrupt.requested or self._evaluation_is_due()):
            self._step()
            self._clock.lap()
            if watch and not self._loss_sum.isfinite():
                break
        return bool(self._loss_sum.isfinite())

    def _step(self) -> None:
        config, step = self._config, self._progress.step
        runtime.seed_step(self._facts.device, self._facts.seed, step)
        for batch in self._sampler.batches(
            step, config.gradient_accumulation_steps, config.batch_size
        ):
            self._loss_sum += self._backward(batch)
        self._update(config.schedule.factor(step, self._planned))
        self._progress.step += 1
        self._progress.loss_steps += 1

    def _backward(self, batch: Batch) -> torch.Tensor:
        """Add one batch's share to the gradient; its share of the step's loss."""
        with self._precision:
            loss = self._forward(*batch) / self._config.gradient_accumulation_steps
        self._scaler.scale(loss).backward()
        return loss.detach()

    def _update(self, factor: float) -> None:
        optimizer: Any = SimpleNamespace(
            param_groups=[{"params": self._parameters}], step=self._updater.step
        )  # as much of torch's optimizers as the scaler looks at
        self._scaler.unscale_(optimizer)
        if self._config.grad_clip is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._config.grad_clip, foreach=True)
        self._scaler.step(optimizer, factor)
        self._scaler.update()
        self._drop_gradients()

    def _drop_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _warm_up(self) -> None:
        """Let compilers and allocators do outside the clock what they do once; no state stays."""
        if self._config.compile or self._facts.device.type == "cuda":
            self._backward(self._sampler.batches(0, 1, self._config.batch_size)[0])
            self._drop_gradients()

    def _evaluate(self) -> bool:
        """Evaluate and record it; False when the loss is no longer finite."""
        progress = self._progress
        batches = self._evaluated.batches(self._config.batch_size)
        self._model.eval()
        loss = mean_loss(self._forward, batches, self._precision, lambda: self._interrupt.requested)
        self._model.train()
        if loss is None:  # interrupted; it is due again on resume
            return True
        if not math.isfinite(loss):
            return False
        self._append(self._eval_record(loss))
        progress.evaluated_step, progress.loss_steps = progress.step, 0
        self._loss_sum.zero_()
        self._keep_if_best(loss)
        return True

    def _keep_if_best(self, loss: float) -> None:
        progress = self._progress
        if progress.best_val_loss is None or loss < progress.best_val_loss:
            progress.best_val_loss, progress.best_step = loss, progress.step
            if self._facts.keep == "all":
                self._save("best")
        if self._facts.keep == "all":
            self._save("last")

    def _append(self, record: Record) -> None:
        self._writer.append(record)
        self._report(record)

    def _start_record(self, inventory: dict[str, Any]) -> Start:
        return Start(
            parameters=sum(parameter.numel() for parameter in self._parameters),
            inventory=inventory | {"planned_steps": self._planned},
            device=str(self._facts.device),
            torch=torch.__version__,
            seed=self._facts.seed,
            threads=self._facts.threads,
            kernel=self._kernel(),
        )

    def _eval_record(self, loss: float) -> Eval:
        progress = self._progress
        return Eval(
            step=progress.step,
            tokens=progress.step * self._config.tokens_per_step,
            train_seconds=self._clock.seconds,
            cpu_seconds=self._clock.cpu_seconds,
            val_loss=loss,
            val_bpb=bits_per_byte(loss, self._bytes_per_token),
            train_loss=self._loss_sum.item() / progress.loss_steps if progress.loss_steps else None,
        )

    def _end_record(self, status: Status) -> End:
        return End(
            status=status,
            best_val_loss=self._progress.best_val_loss,
            best_step=self._progress.best_step,
            step_ms=self._clock.median_lap_ms,
            peak_memory_bytes=runtime.peak_memory_bytes(self._facts.device),
        )

    def _kernel(self) -> str | None:
        return str(linear.kernel()) if self._facts.device.type == "cpu" else None

    def _save(self, name: Literal["best", "last"]) -> None:
        progress, clock = self._progress, self._clock
        progress.train_seconds, progress.cpu_seconds = clock.seconds, clock.cpu_seconds
        progress.loss_sum = self._loss_sum.item()
        resumable = name == "last"
        checkpoint.save(
            self._out / "checkpoints" / name,
            Checkpoint(
                config=self._config,
                seed=self._facts.seed,
                progress=progress,
                kernel=self._kernel(),
                model=self._model.state_dict(),
                optimizer=self._updater.state() if resumable else {},
                scaler=self._scaler.state_dict() if resumable else {},
            ),
        )

    def _open(self, inventory: dict[str, Any], resume: bool, overwrite: bool) -> Writer:
        """The records' writer: after the last checkpoint's, or after a ``start``."""
        folder = self._out / "checkpoints" / "last"
        if resume and checkpoint.exists(folder):
            self._restore(folder)
            return journal.reopen(self._out, self._progress.step)
        writer = journal.begin(self._out, over=resume or overwrite)
        start = self._start_record(inventory)
        writer.append(start)
        self._report(start)
        return writer

    def _restore(self, folder: Path) -> None:
        saved = checkpoint.load(folder, self._facts.device, optimizer=True)
        ours, theirs = identity(self._config.full()), identity(saved.config.full())
        if (ours, self._facts.seed) != (theirs, saved.seed):
            raise InputError(
                f"{folder}: a checkpoint of config {theirs}, seed {saved.seed}; this trial is "
                f"config {ours}, seed {self._facts.seed}; resume with those, or use another --out"
            )
        self._model.load_state_dict(saved.model)
        restore(self._updater, saved.optimizer)
        if saved.scaler:
            self._scaler.load_state_dict(saved.scaler)
        if saved.kernel:
            linear.use(linear.Kernel(saved.kernel))
        self._progress = progress = saved.progress
        self._clock = runtime.Clock(
            self._facts.device, progress.train_seconds, progress.cpu_seconds
        )
        self._loss_sum.fill_(progress.loss_sum)
