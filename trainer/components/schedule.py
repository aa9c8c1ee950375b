"""Schedules: what the learning rate is multiplied by as training goes on."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

from pydantic import Field

from spec.family import Component, Family


class Schedule(Component):
    """Options of a schedule."""

    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate rises linearly from near zero."""

    def factor(self, step: int, planned_steps: int) -> float:
        """Multiplier of the peak learning rate.

        Args:
            step: Steps done before this one.
            planned_steps: The horizon: steps of the whole training.

        Returns:
            Between 0 and 1; never 0 before the horizon.
        """
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        return self.shape((step - self.warmup_steps) / max(1, planned_steps - self.warmup_steps))

    @abstractmethod
    def shape(self, progress: float) -> float:
        """Multiplier after the warm-up; ``progress`` in [0, 1) is the share done of its steps."""


schedules = Family[Schedule](
    "schedule", "step and horizon in, a multiplier of the learning rate in (0, 1] out"
)


@schedules.variant("cosine")
class Cosine(Schedule):
    """Half a cosine from the peak to the floor (Loshchilov and Hutter 2017, arXiv 1608.03983)."""

    final: float = Field(default=0.1, ge=0, le=1)
    """Multiplier at the horizon."""

    def shape(self, progress: float) -> float:
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


@schedules.variant("wsd")
class WarmupStableDecay(Schedule):
    """Flat, then down to the floor in the last stretch (Hu et al. 2024, arXiv 2404.06395)."""

    decay: float = Field(default=0.3, gt=0, le=1)
    """Share of the steps after the warm-up in which the rate falls; 1: from the start."""
    decay_shape: Literal["linear", "sqrt"] = "linear"
    """``linear``, or ``sqrt``: 1 - sqrt(share) (Haegele et al. 2024, arXiv 2405.18392)."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Multiplier at the horizon."""

    def shape(self, progress: float) -> float:
        share = max(0.0, (progress - (1 - self.decay)) / self.decay)
        fallen = share if self.decay_shape == "linear" else math.sqrt(share)
        return 1 - (1 - self.final) * fallen


@schedules.variant("constant")
class Constant(Schedule):
    """The peak rate to the end."""

    def shape(self, progress: float) -> float:
        return 1.0
