"""The part of many values that a model is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def telling(ranked: Sequence[T], most: int) -> list[T]:
    """All, or at most so many: the best half, and an even sample of the rest.

    Args:
        ranked: Best first.
        most: How many to keep, at least two.
    """
    if len(ranked) <= most:
        return list(ranked)
    rest = ranked[most // 2 :]
    step = -(-len(rest) // (most - most // 2))
    return [*ranked[: most // 2], *rest[::step]]
