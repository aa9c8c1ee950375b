"""Which axes matter: a length for every axis, by the evidence of a Gaussian process."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from search.strategies.model.forms import FREEDOM, Array, matern
from search.strategies.model.subset import telling

FEWEST = 4
"""Values below which nothing is told."""
MOST = 120
"""Values that are looked at; see ``telling``."""
LENGTH = 0.6
"""Typical length of one axis in units of its range, for each root of the number of axes: distances
grow with it (Hvarfner et al., ICML 2024)."""
NOISE = 0.05
"""Typical variance of what is no smooth function of the config, in units of what is."""
DEVIATIONS = 1.0, 1.5
"""Of the logarithms of lengths and of the noise around the typical ones, before any data."""
FARTHEST = 4.0
"""Deviations of these that are looked at."""
ROUNDS = 60
"""Most steps of the climb."""
JITTER = 1e-8
"""Added to the noise, so that every matrix has a root."""


def lengths(mains: Array, owners: NDArray[np.intp], values: Array) -> Array:
    """The length over which each axis acts, in units of its range: short for what matters.

    Automatic relevance determination (Neal, Bayesian Learning for Neural Networks, 1996; Rasmussen
    and Williams, Gaussian Processes for Machine Learning, 2006, sec. 5.1 and 5.4.1): lengths of
    Matern's kernel that maximise the evidence and their log-normal prior, by its gradient.

    Args:
        mains: (n, m), common effects of each config; a range is one long.
        owners: (m,), the axis of each of them, from 0 on.
        values: (n,), what is to be explained.

    Returns:
        (axes,): the typical length for all where nothing is known.
    """
    count = int(owners.max(initial=-1)) + 1
    kept = telling(np.argsort(-values, kind="stable").tolist(), MOST)
    if len(kept) < FEWEST or float(np.ptp(values[kept])) <= 0:
        return np.full(count, typical(count))
    mains, values = mains[kept], (values[kept] - values[kept].mean()) / values[kept].std()
    columns = [mains[:, owners == axis] for axis in range(count)]
    apart = np.array([((c[:, None] - c[None]) ** 2).sum(axis=2).ravel() for c in columns])
    middle = np.append(np.full(count, math.log(typical(count))), math.log(NOISE))
    deviations = np.append(np.full(count, DEVIATIONS[0]), DEVIATIONS[1])
    found = minimize(
        _cost,
        middle,
        args=(apart, values, middle, deviations),
        jac=True,
        method="L-BFGS-B",
        bounds=list(
            zip(middle - FARTHEST * deviations, middle + FARTHEST * deviations, strict=True)
        ),
        options={"maxiter": ROUNDS},
    )
    return np.asarray(np.exp(found.x[:-1]))


def typical(count: int) -> float:
    """Length of one axis of so many, before any data."""
    return LENGTH * math.sqrt(count)


def _cost(
    logs: Array, apart: Array, values: Array, middle: Array, deviations: Array
) -> tuple[float, Array]:
    """Minus the logarithm of evidence and prior, with its slopes; the scale is integrated out.

    Args:
        logs: (axes + 1,), logarithms of the lengths and of the noise.
        apart: (axes, n x n), squared distances.
        values: (n,), centred.
        middle: Means of the logarithms.
        deviations: Of these.
    """
    size, inverse = len(values), np.exp(-2.0 * logs[:-1])
    near, noise = inverse @ apart, math.exp(logs[-1])
    far = np.sqrt(FREEDOM * near)
    spread = matern(near).reshape(size, size) + (noise + JITTER) * np.eye(size)
    factor = cho_factor(spread, lower=True)
    inverted = cho_solve(factor, np.eye(size))
    along = inverted @ values
    height = float(values @ along) / size
    pull = inverted - np.outer(along, along) / height
    off = (logs - middle) / deviations
    cost = float(np.log(np.diag(factor[0])).sum()) + size / 2 * math.log(height)
    steepness = FREEDOM / 3.0 * (1.0 + far) * np.exp(-far)  # of the kernel, by minus half of near
    slopes = 0.5 * (apart @ (steepness * pull.ravel())) * inverse
    slopes = np.append(slopes, 0.5 * float(np.trace(pull)) * noise)
    return cost + 0.5 * float(off @ off), slopes + off / deviations
