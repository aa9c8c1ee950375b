"""The kinds of numbers that the trainer's commands take."""

from __future__ import annotations

from argparse import ArgumentTypeError


def positive(text: str) -> int:
    """1, 2, 3 ..."""
    number = int(text)
    if number < 1:
        raise ArgumentTypeError(f"{text} is less than 1; write 1 or more")
    return number


def whole(text: str) -> int:
    """0, 1, 2 ..."""
    number = int(text)
    if number < 0:
        raise ArgumentTypeError(f"{text} is negative; write 0 or more")
    return number


def seconds(text: str) -> float:
    """A time; infinity is one."""
    number = float(text)
    if not number > 0:
        raise ArgumentTypeError(f"{text} is no time; write more than 0 seconds")
    return number


def temperature(text: str) -> float:
    """What logits are divided by; 0 is one."""
    number = float(text)
    if not number >= 0:
        raise ArgumentTypeError(f"{text} is no temperature; write 0 or more")
    return number
