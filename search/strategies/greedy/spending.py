"""How the error of a round is divided over all that is tested in it, so that its sum is kept."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

SHARE = 2.0 / 3.0
"""What an attempt may spend of the error that those before it have left: the first one is the most
likely to be right, by far."""


def levels(alpha: float, attempt: int, looks: Sequence[int]) -> list[float]:
    """At which level each look of an attempt is tested.

    The levels of all looks of all attempts add up to ``alpha`` at most (Bonferroni). Up to a look
    an attempt spends of its share the square of the part of its seeds seen so far (Kim and DeMets,
    Biometrika 74, 1987): little early, where only a large gain is sure, and most at the last look.

    Args:
        alpha: The error of a round.
        attempt: How many attempts come before it.
        looks: Numbers of seeds at the looks; without looks there are no levels.
    """
    share = alpha * SHARE * (1.0 - SHARE) ** attempt
    return [share * (now**2 - before**2) / looks[-1] ** 2 for before, now in pairwise((0, *looks))]
