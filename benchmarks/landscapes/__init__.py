"""Search problems whose optimum is known: three formulas, and one table of real trainings."""

from collections.abc import Callable, Mapping

from benchmarks.landscapes.additive import additive
from benchmarks.landscapes.base import Landscape
from benchmarks.landscapes.race import race
from benchmarks.landscapes.tabulated import Tabulated
from benchmarks.landscapes.tabulated import tabulated as tabulated_landscape
from benchmarks.landscapes.trap import trap

LANDSCAPES: Mapping[str, Callable[[float], Landscape]] = {
    "additive": additive,
    "trap": trap,
    "tabulated": tabulated_landscape,
    "race": race,
}
"""By name: a landscape with so much noise."""

__all__ = ["LANDSCAPES", "Landscape", "Tabulated"]
