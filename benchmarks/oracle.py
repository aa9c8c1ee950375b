"""How well one picks who knows the best configs beforehand, but not their order."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.landscapes import Tabulated


def picked(world: Tabulated, trainings: int, told: int, rng: np.random.Generator) -> float:
    """The loss without noise of the config that is picked.

    Sequential halving (Karnin, Koren and Somekh, ICML 2013) spends the trainings on the best
    configs alone and keeps the better half of them by their means, again and again. No search is
    told which they are.

    Args:
        world: Where the best configs are known.
        trainings: To spend, at least twice as many as are told.
        told: How many of the best configs are told.
        rng: Of the noise.
    """
    assert trainings >= 2 * told
    fitting = sorted(loss for parameters, loss in world.rows.values() if parameters <= world.cap)
    losses, left = np.array(fitting[:told]), np.arange(told)
    sums, counts = np.zeros(told), np.zeros(told)
    for halvings in range(math.ceil(math.log2(told)), 0, -1):
        each = max(1, trainings // (halvings * len(left)))
        trainings -= each * len(left)
        noise = world.noise * rng.standard_normal((each, len(left)))
        sums[left] += (losses[left] * (1.0 + noise)).sum(axis=0)
        counts[left] += each
        left = left[np.argsort(sums[left] / counts[left])][: math.ceil(len(left) / 2)]
    return float(losses[left[0]])
