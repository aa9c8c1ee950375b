"""What a candidate costs: a registry of costs, known before training or measured by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spec.records import End, Eval

if TYPE_CHECKING:
    from search.history import Trial


@dataclass(frozen=True)
class Cost:
    """One kind of cost.

    Attributes:
        name: Its word in the exploration.
        unit: Unit of the value, empty for counts.
        meaning: One sentence for tables.
        derived: From the inventory of ``describe``; None when the cost can only be measured.
        measured: From a trial's curve and end; None when it is known before training.
    """

    name: str
    unit: str
    meaning: str
    derived: Callable[[Mapping[str, Any]], float] | None = None
    measured: Callable[[tuple[Eval, ...], End | None], float | None] | None = None

    @property
    def timed(self) -> bool:
        """Whether a clock tells it, so that trials packed otherwise cannot be compared."""
        return self.unit in ("s", "ms")

    def known(self, inventory: Mapping[str, Any]) -> float | None:
        """The cost told by an inventory; None when it tells too little, or only training can."""
        try:
            return None if self.derived is None else self.derived(inventory)
        except KeyError:  # a trainer that describes itself in part
            return None

    def of(self, trial: Trial) -> float | None:
        """The cost as one finished trial told it, before training or by it."""
        known = self.known(trial.inventory)
        if known is not None or self.measured is None:
            return known
        return self.measured(trial.curve, trial.end)


def _train_seconds(curve: tuple[Eval, ...], end: End | None) -> float | None:
    return curve[-1].train_seconds if curve else None


def _peak_memory(curve: tuple[Eval, ...], end: End | None) -> float | None:
    return None if end is None else end.peak_memory_bytes


def _step_ms(curve: tuple[Eval, ...], end: End | None) -> float | None:
    return None if end is None else end.step_ms


def size(parameters: int | None) -> str:
    """A model's size for people; that of a foreign trainer may have to be measured first."""
    return "unmeasured" if parameters is None else f"{parameters:,}"


COSTS: dict[str, Cost] = {
    cost.name: cost
    for cost in (
        Cost("parameters", "", "trainable parameters", lambda inventory: inventory["parameters"]),
        Cost(
            "flops",
            "FLOP/token",
            "forward operations per token, full attention",
            lambda inventory: inventory["flops_per_token"],
        ),
        Cost(
            "memory",
            "bytes",
            "weights and the key/value cache of one full context",
            lambda inventory: inventory["weight_bytes"] + inventory["kv_bytes"],
        ),
        Cost("train_seconds", "s", "training time of the trial", measured=_train_seconds),
        Cost("peak_memory", "bytes", "largest memory of the trial", measured=_peak_memory),
        Cost("step_ms", "ms", "median time of one training step", measured=_step_ms),
    )
}
