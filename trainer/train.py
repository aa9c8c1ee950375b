"""Train one trial: ``python -m trainer.train --config trial/config.yaml --out trial/``."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from spec import yaml
from spec.errors import InputError
from spec.records import End, Eval, Record, Start
from trainer import runtime
from trainer.arguments import positive, seconds, whole
from trainer.batches import open_dataset
from trainer.config import TrainerConfig, resolve
from trainer.facts import Facts
from trainer.inventory import inventory
from trainer.loop import Training


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; None takes the process's own.

    Returns:
        Exit status: 0 for a trial that ended by itself or on request, 2 for input that cannot be
        used.
    """
    arguments = _parser().parse_args(argv)
    try:
        _train(arguments)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _train(arguments: argparse.Namespace) -> None:
    facts = Facts(
        seed=arguments.seed,
        device=runtime.pick_device(arguments.device),
        threads=arguments.threads,
        max_steps=arguments.max_steps,
        max_tokens=arguments.max_tokens,
        max_seconds=arguments.max_seconds,
        stop_at_loss=arguments.stop_at_loss,
        keep=arguments.checkpoints,
    )
    config = TrainerConfig.read(yaml.read(arguments.config))
    dataset = open_dataset(config.data)
    config = resolve(config, dataset.meta)
    training = Training(config, dataset, arguments.out, facts, _show)
    training.run(
        inventory(config, flops=False).full(),
        resume=arguments.resume,
        overwrite=arguments.overwrite,
    )


def _show(record: Record) -> None:
    match record:
        case Start():
            print(
                f"{record.parameters:,} parameters on {record.device}, seed {record.seed}",
                flush=True,
            )
        case Eval():
            print(
                f"step {record.step}: val {record.val_loss:.4f}, "
                f"train {record.train_loss or math.nan:.4f}, "
                f"{record.train_seconds:.1f} s",
                flush=True,
            )
        case End(best_val_loss=None):
            print(f"{record.status}: nothing was evaluated", flush=True)
        case End(best_val_loss=best):
            print(f"{record.status}: best val {best:.4f} at step {record.best_step}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.train", description=__doc__, allow_abbrev=False
    )
    add = parser.add_argument
    add("--config", type=Path, required=True, help="the trial's config")
    add("--out", type=Path, required=True, help="folder for metrics.jsonl and checkpoints/")
    add(
        "--seed",
        type=whole,
        default=1337,
        help="of weights, data order and dropout (default %(default)s)",
    )
    add("--device", default="auto", help="auto, cpu, cuda or cuda:0 (default %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default %(default)s)")
    add("--max-steps", type=positive, help="most optimizer steps; part of the schedule's horizon")
    add("--max-tokens", type=positive, help="most training tokens; part of the schedule's horizon")
    add(
        "--max-seconds",
        type=seconds,
        default=math.inf,
        help="most seconds of training; the schedule ignores it",
    )
    add(
        "--stop-at-loss",
        type=float,
        default=-math.inf,
        help="end at the first validation loss at or below it",
    )
    add(
        "--checkpoints",
        choices=("all", "last", "none"),
        default="last",
        help="what to keep (default %(default)s)",
    )
    again = parser.add_mutually_exclusive_group().add_argument
    again(
        "--resume",
        action="store_true",
        help="continue from OUT/checkpoints/last; without one, begin anew",
    )
    again(
        "--overwrite",
        action="store_true",
        help="begin anew over the trial that OUT holds, if any",
    )
    return parser


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is on disk; tearing the interpreter down takes longer than a small trial trains.
    os._exit(status)
