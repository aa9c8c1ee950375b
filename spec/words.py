"""Words that everything which talks to people shares."""

from __future__ import annotations


def counted(amount: int, thing: str, plural: str = "") -> str:
    """Such as ``1 trial`` and ``2 trials``."""
    return f"{amount:,} {thing if amount == 1 else plural or thing + 's'}"
