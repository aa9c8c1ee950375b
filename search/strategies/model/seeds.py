"""What a seed does to every config alike, and the noise that is left of a measurement then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

RATIOS = np.array([0.0, 1.0, 10.0, 1000.0])
"""Variance of what seeds do in units of that of the noise; the data weigh these."""
BELIEFS = np.array([0.5, 0.2, 0.2, 0.1])
"""How likely each is before any data."""


@dataclass(frozen=True)
class SeedEffects:
    """Seeds as random effects.

    Attributes:
        effects: Seed -> what it adds to every config; seeds that tell nothing are absent.
        variance: Of one measurement once that is taken out; None when nothing was repeated.
        freedom: Degrees of freedom of the variance.
    """

    effects: Mapping[int, float] = field(default_factory=dict)
    variance: float | None = None
    freedom: int = 0

    def levelled(self, row: Mapping[int, float]) -> float:
        """Mean of one config's measurements by seed, as if all seeds were alike."""
        return math.fsum(value - self.effects.get(seed, 0.0) for seed, value in row.items()) / len(
            row
        )


def seed_effects(table: Mapping[str, Mapping[int, float]]) -> SeedEffects:
    """Estimate what seeds do from all configs that were measured on several.

    The mixed model ``value = config + seed + noise`` with free configs and normal seeds (Searle,
    Casella and McCulloch, Variance Components, 1992, sec. 7): restricted likelihoods weigh a few
    ratios of the two variances, so seeds that seem to do nothing are left alone.

    Args:
        table: Config -> seed -> value, finite.
    """
    cells = [(c, s, v) for c, row in table.items() if len(row) > 1 for s, v in row.items()]
    freedom = len(cells) - len({config for config, _, _ in cells})
    if not freedom:
        return SeedEffects()
    configs, seeds = (sorted({cell[part] for cell in cells}) for part in (0, 1))
    inside = np.array([[cell[0] == config for config in configs] for cell in cells], dtype=float)
    shared = np.array([[cell[1] == seed for seed in seeds] for cell in cells], dtype=float)
    means = inside / inside.sum(axis=0)
    values = np.array([cell[2] for cell in cells])
    values, shared = (part - inside @ (means.T @ part) for part in (values, shared))
    cross, along = shared.T @ shared, shared.T @ values
    odds, found, variances = [], [], []
    for ratio, belief in zip(RATIOS, BELIEFS, strict=True):
        spread = np.eye(len(seeds)) + ratio * cross
        effects = ratio * np.linalg.solve(spread, along)
        left = max(float(values @ values - along @ effects), 0.0) + 1e-300
        evidence = -0.5 * float(np.linalg.slogdet(spread)[1]) - 0.5 * freedom * math.log(left)
        odds.append(evidence + math.log(belief))
        found.append(effects)
        variances.append(left / freedom)
    weights = np.exp(np.array(odds) - max(odds))
    weights /= weights.sum()
    effects = dict(zip(seeds, (weights @ np.array(found)).tolist(), strict=True))
    return SeedEffects(effects, float(weights @ np.array(variances)), freedom)
