"""How a search proceeds: one strategy per file, joined to the family in ``base``."""

from search.strategies import greedy, grid, guided, optuna_samplers, random
from search.strategies.base import strategies

__all__ = ["greedy", "grid", "guided", "optuna_samplers", "random", "strategies"]
