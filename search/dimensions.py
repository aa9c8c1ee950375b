"""A config as a point in its space, in Optuna's terms: names, values and distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.moves import ChoicesRule, LayersRule, Rule, ScaleRule, StepRule, chosen, word
from spec.config import Data
from spec.path import Path, Span

_WIDE = 2**31 - 1


def point(space: Mapping[str, Rule], full: Data) -> dict[str, tuple[Any, BaseDistribution]]:
    """Each dimension's value in a full form, with a distribution that holds it.

    A list under ``duplicate`` or ``drop`` counts its items; ``[:]`` is one dimension while all
    layers agree and is left out when they differ (its layers then show in dimensions of their own,
    if the space has them).
    """
    found: dict[str, tuple[Any, BaseDistribution]] = {}
    for text, rule in space.items():
        for path in Path.parse(text).expand(full, skip=True):
            value = path.get(full)
            if Span.ALL in path.steps:
                if any(item != value[0] for item in value):
                    continue
                value = value[0]
            found[str(path)] = _coordinate(rule, value)
    return found


def _whole(rule: StepRule) -> bool:
    return all(float(x).is_integer() for x in (rule.step, rule.min, rule.max) if x is not None)


def _coordinate(rule: Rule, value: Any) -> tuple[Any, BaseDistribution]:
    if isinstance(rule, LayersRule):
        count = len(value)
        return count, IntDistribution(min(rule.min, count), max(rule.max or _WIDE, count))
    if isinstance(rule, ChoicesRule):
        names = [word(choice) for choice in rule.choices]
        here = next((word(choice) for choice in rule.choices if chosen(value, choice)), word(value))
        return here, CategoricalDistribution([*names, *([] if here in names else [here])])
    assert isinstance(rule, StepRule | ScaleRule)
    log = isinstance(rule, ScaleRule)
    if isinstance(value, int) and (isinstance(rule, ScaleRule) or _whole(rule)):
        low = max(int(rule.min or 1), 1) if log else int(rule.min or 0)
        high = _WIDE if rule.max is None else int(rule.max)
        return value, IntDistribution(min(low, value), max(high, value), log=log)
    least = (1e-12 if log else -1e12) if rule.min is None else float(rule.min)
    most = 1e12 if rule.max is None else float(rule.max)
    return float(value), FloatDistribution(min(least, value), max(most, value), log=log)
