"""Optimizers: how gradients become a step."""

from trainer.components.optimizer import adamw, muon  # noqa: F401  # importing registers the variants
from trainer.components.optimizer.base import Named, Optimizer, Updater, optimizers, restore

__all__ = ["Named", "Optimizer", "Updater", "optimizers", "restore"]
