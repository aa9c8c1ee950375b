"""What the command line says about a trial: everything that is no decision of its config."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from spec.errors import InputError
from trainer.config import TrainerConfig

Keep = Literal["all", "last", "none"]


@dataclass(frozen=True)
class Facts:
    """What the command line says about a trial.

    Attributes:
        seed: Of the initial weights, the order of the data, and dropout.
        device: Where it trains.
        threads: CPU threads of one operator.
        max_steps: Most optimizer steps.
        max_tokens: Most training tokens.
        max_seconds: Most seconds of training; a pure stop, the schedule does not know it.
        stop_at_loss: The first validation loss at or below it ends the trial.
        keep: ``last`` writes a checkpoint at the end; ``all`` also one at each evaluation and of
            the best; ``none`` none.
    """

    seed: int
    device: torch.device
    threads: int = 1
    max_steps: int | None = None
    max_tokens: int | None = None
    max_seconds: float = math.inf
    stop_at_loss: float = -math.inf
    keep: Keep = "last"


def planned_steps(config: TrainerConfig, facts: Facts) -> int:
    """The horizon: steps the schedule is laid out for.

    Raises:
        InputError: When the tokens are not enough for one step, or the steps not for the warm-up.
    """
    limits = [config.max_steps]
    if facts.max_steps is not None:
        limits.append(facts.max_steps)
    if facts.max_tokens is not None:
        if facts.max_tokens < config.tokens_per_step:
            raise InputError(
                f"--max-tokens {facts.max_tokens}: one step takes {config.tokens_per_step} tokens "
                "(batch_size x block_size x gradient_accumulation_steps); allow at least so many"
            )
        limits.append(facts.max_tokens // config.tokens_per_step)
    planned, warmup = min(limits), config.schedule.warmup_steps
    if warmup >= planned:
        raise InputError(
            f"the budget allows {planned} steps, and schedule.warmup_steps {warmup} needs "
            f"{warmup + 1} or more to reach the peak rate; allow more with --max-steps or "
            "--max-tokens, or set a shorter warm-up in the config"
        )
    return planned
