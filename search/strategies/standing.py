"""Where candidates stand against the incumbent: gain, cost, quadrant, and their order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from search.costs import COSTS, Cost
from search.gains import (
    Gain,
    Noise,
    combined,
    compare,
    floored,
    log_quality,
    mean_loss,
    missed_at_bounds,
    pooled_noise,
    probability,
    scores,
)
from search.history import Description, Trial
from search.objective import Objective
from search.strategies.base import Candidate
from search.to_target import told_times
from spec.config import Data

Quadrant = Literal["better-cheaper", "better-dearer", "worse-cheaper", "worse-dearer"]
Measured = Mapping[str, Mapping[int, Trial]]
"""Config id -> seed -> trial that has ended."""


@dataclass(frozen=True)
class CostChange:
    """Difference of cost to the incumbent.

    Attributes:
        mean: The difference; positive is dearer.
        error: Its standard error: zero for a cost known before training, None while nobody knows
            how a measured one varies. Then the mean counts as it is, as for gains.
    """

    mean: float
    error: float | None

    @property
    def outside_noise(self) -> float:
        """The difference, or zero when it lies within two standard errors of zero."""
        return self.mean if abs(self.mean) > 2.0 * (self.error or 0.0) else 0.0

    @property
    def most(self) -> float:
        """The difference and two standard errors: paid at the most, saved at the least."""
        return self.mean + 2.0 * (self.error or 0.0)


@dataclass(frozen=True)
class Standing:
    """A candidate measured against the incumbent on shared seeds.

    Attributes:
        candidate: The neighbour.
        trials: Its trials, by seed.
        gain: Difference of quality; None when no seed was measured on both sides.
        cost: Difference of cost; None when it could not be measured.
        against: The incumbent's trials, by seed.
        repeated: Whether anything was measured twice, were it to miss a target.
    """

    candidate: Candidate
    trials: Mapping[int, Trial]
    gain: Gain | None
    cost: CostChange | None
    against: Mapping[int, Trial] = field(default_factory=dict)
    repeated: bool = True

    @property
    def diverged(self) -> bool:
        """Whether any of its seeds diverged: an outcome, which the others must not hide."""
        failures = (trial.failure for trial in self.trials.values())
        return any(failure is not None and failure.reason == "diverged" for failure in failures)

    @property
    def dearer(self) -> bool:
        """Whether it costs more than the incumbent, outside the cost's own noise."""
        return self.cost is None or self.cost.outside_noise > 0

    @property
    def quadrant(self) -> Quadrant | None:
        """Better or worse, by the mean; cheaper (or equal) or dearer."""
        if self.gain is None:
            return None
        better = self.gain.mean > 0
        if self.dearer:
            return "better-dearer" if better else "worse-dearer"
        return "better-cheaper" if better else "worse-cheaper"

    def margin(self, rate: float | None) -> float:
        """The gain it must exceed: zero, or what an exchange rate allows a cheaper one to lose.

        That is for what it saves at the least.
        """
        if rate is None or self.cost is None:
            return 0.0
        return rate * min(self.cost.most, 0.0)

    def value(self, gain: float) -> float:
        """What orders candidates of one side: gain when cheaper, else gain per cost at the most."""
        if not self.dearer or self.cost is None:
            return gain
        return gain / self.cost.most

    @property
    def rate(self) -> float | None:
        """Gain per unit of cost that a dearer one pays at the most; None for others."""
        if self.gain is None or self.cost is None or not self.dearer:
            return None
        return self.gain.mean / self.cost.most


@dataclass(frozen=True)
class Bench:
    """Compares candidates with one incumbent on what has been measured.

    Attributes:
        objective: What counts as better and what it is paid with.
        incumbent: Its config id and inventory.
        measured: Trials that may be used.
        earlier: Relative noise known from trials that are not among them.
    """

    objective: Objective
    incumbent: Description
    measured: Measured
    earlier: Noise | None = None

    @cached_property
    def _raw(self) -> dict[str, dict[int, float]]:
        """Log-quality of everything measured; a missed target is ``-inf``."""
        table: dict[str, dict[int, float]] = {}
        for config, row in self.measured.items():
            found = ((seed, log_quality(trial, self.objective)) for seed, trial in row.items())
            table[config] = {seed: value for seed, value in found if value is not None}
        return table

    @cached_property
    def _logs(self) -> dict[str, dict[int, float]]:
        """The same with misses at one floor."""
        return floored(self._raw)

    @cached_property
    def _bounds(self) -> dict[str, dict[int, float]]:
        """The same with misses at the least time they would have taken."""
        return missed_at_bounds(self._raw, self.measured, self.objective)

    def relative_noise(self) -> Noise | None:
        """Noise in proportion to quality, pooled over everything measured and known earlier.

        Probabilities vary in proportion to their size, so their logarithms, the losses, are pooled;
        time-to-target is a logarithm already. Where targets were missed, it is the larger of two:
        among the hits, which a cut-off makes look alike, and with each miss at its lower bound,
        which knows of configs that hit early or not at all. None when no config hit twice.
        """
        hits = combined((self.earlier, pooled_noise(self._raw)))  # leaves misses out
        if not any(-math.inf in row.values() for row in self._raw.values()):
            return hits
        bounded = combined((self.earlier, pooled_noise(self._bounds)))
        if hits is None or bounded is None:
            return None
        return max((hits, bounded), key=lambda noise: noise.deviation)

    def noise(self) -> Noise | None:
        """The same as noise of quality, at the incumbent's level."""
        noise = self.relative_noise()
        return noise and noise.at(self.level, self.objective)

    @property
    def level(self) -> float:
        """Mean quality of the incumbent; 1 while it is not measured."""
        own = self._qualities(self.incumbent.config_id).values()
        return math.fsum(own) / len(own) if own else 1.0

    def stand(self, candidate: Candidate, seeds: Iterable[int], noise: Noise | None) -> Standing:
        """Where a candidate stands on some seeds."""
        wanted = frozenset(seeds)
        assert candidate.description is not None
        ours = self._on(candidate.description.config_id, wanted)
        theirs = self._on(self.incumbent.config_id, wanted)
        sides = [
            _only(self._qualities(config_id), wanted)
            for config_id in (candidate.description.config_id, self.incumbent.config_id)
        ]
        gain = compare(sides[0], sides[1], noise)
        change = self._cost_change(candidate.description, ours, theirs)
        return Standing(candidate, ours, gain, change, theirs)

    def confirming(self, candidate: Candidate, seeds: Iterable[int]) -> Standing:
        """Where a candidate stands on fresh seeds: what ``search.strategies.verdict`` judges.

        There a missing incumbent counts as the least time it would have taken, and a candidate that
        is clearly noisier than the pool is judged by its own noise: that of its differences to the
        incumbent, on these seeds and, apart from them, on all others.
        """
        noise, wanted = self.noise(), frozenset(seeds)
        standing = self.stand(candidate, wanted, noise)
        assert candidate.description is not None
        timed = self.objective.gain == "time_to_target"
        ours, theirs = (
            self._bounds.get(config_id, {}) if timed else self._qualities(config_id)
            for config_id in (candidate.description.config_id, self.incumbent.config_id)
        )
        if timed:
            gain = compare(_only(ours, wanted), _only(theirs, wanted), noise)
            repeated = pooled_noise(self._bounds) is not None
            standing = replace(standing, gain=gain, repeated=repeated)
        apart: dict[str, dict[int, float]] = {"these": {}, "others": {}}
        for seed in ours.keys() & theirs.keys():
            apart["these" if seed in wanted else "others"][seed] = ours[seed] - theirs[seed]
        own = standing.gain and standing.gain.with_own(noise, pooled_noise(apart))
        return replace(standing, gain=own)

    def _on(self, config_id: str, seeds: frozenset[int]) -> dict[int, Trial]:
        row = self.measured.get(config_id, {})
        return {seed: row[seed] for seed in sorted(row) if seed in seeds}

    def _qualities(self, config_id: str) -> dict[int, float]:
        logs = self._logs.get(config_id, {})
        if self.objective.gain == "time_to_target":
            return logs
        return {seed: probability(value) for seed, value in logs.items()}

    def _cost_change(
        self, candidate: Description, ours: Mapping[int, Trial], theirs: Mapping[int, Trial]
    ) -> CostChange | None:
        cost = COSTS[self.objective.cost]
        before, after = _known(cost, self.incumbent, theirs), _known(cost, candidate, ours)
        if before is not None and after is not None:
            return CostChange(after - before, 0.0)
        sides = [
            {
                seed: value
                for seed, trial in side.items()
                if (value := self._measured_cost(trial)) is not None
            }
            for side in (ours, theirs)
        ]
        table = {
            config: {
                seed: value
                for seed, trial in row.items()
                if (value := self._measured_cost(trial)) is not None
            }
            for config, row in self.measured.items()
        }
        change = compare(sides[0], sides[1], pooled_noise(table))
        return None if change is None else CostChange(change.mean, change.error)

    def _measured_cost(self, trial: Trial) -> float | None:
        return COSTS[self.objective.cost].of(trial) if trial.state == "finished" else None


def _only(row: Mapping[int, float], seeds: frozenset[int]) -> dict[int, float]:
    return {seed: value for seed, value in row.items() if seed in seeds}


def _known(cost: Cost, config: Description, trials: Mapping[int, Trial]) -> float | None:
    """A cost that does not vary: told by describe, or else by the first trial that could tell."""
    inventories = [config.inventory, *(trial.inventory for trial in trials.values())]
    return next((value for i in inventories if (value := cost.known(i)) is not None), None)


def best_first(
    standings: Iterable[Standing], confidence: float, rate: float | None
) -> list[Standing]:
    """Those significantly above their margin, in the order they deserve.

    Cheaper (or equal) and better ones first, by gain; then dearer ones, by the lower confidence
    bound of gain per cost; last those that are worse but cheap enough for the exchange rate, by
    what they give up.
    """
    clear = [
        standing
        for standing in standings
        if standing.gain is not None and standing.gain.low(confidence) > standing.margin(rate)
    ]

    def order(standing: Standing) -> tuple[int, float, str]:
        assert standing.gain is not None
        key = standing.candidate.edit.key
        if standing.quadrant == "better-cheaper":
            return 0, -standing.gain.mean, key
        if standing.quadrant == "better-dearer":
            return 1, -standing.value(standing.gain.low(confidence)), key
        return 2, -standing.gain.mean, key

    return sorted(clear, key=order)


def contenders(
    standings: Sequence[Standing], width: int, confidence: float, rate: float | None
) -> list[Standing]:
    """Those worth another seed: they may still exceed their margin; see ``places``."""
    alive = [
        standing
        for standing in standings
        if standing.gain is not None and standing.gain.high(confidence) > standing.margin(rate)
    ]
    return places(alive, width, confidence)


def places(standings: Sequence[Standing], width: int, confidence: float) -> list[Standing]:
    """The most promising of those with a gain, as many as there are places.

    Half the places go to cheaper ones by gain, half to dearer ones by gain per cost; places one
    side does not need go to the other.
    """

    def promise(standing: Standing) -> tuple[bool, float, float, str]:
        assert standing.gain is not None
        low = standing.gain.low(confidence)
        clear = low > 0
        return (
            not clear,
            -standing.value(low) if clear else 0.0,
            -standing.gain.mean,
            standing.candidate.edit.key,
        )

    sides = [
        sorted((s for s in standings if s.dearer is dearer), key=promise)
        for dearer in (False, True)
    ]
    half = width // 2
    cheap = sides[0][: max(width - half, width - len(sides[1]))]
    return cheap + sides[1][: width - len(cheap)]


def tell(standing: Standing, objective: Objective, confidence: float) -> Data:
    """A standing as plain data, for the study and for people."""
    gain, cost = standing.gain, standing.cost
    told: dict[str, Any] = {
        **label(standing.candidate),
        "trials": [trial.number for trial in standing.trials.values()],
        "seeds": sorted(standing.trials),
        "quadrant": standing.quadrant,
    }
    finished = [trial for trial in standing.trials.values() if trial.state == "finished"]
    losses = [loss for trial in finished if (loss := scores(trial, objective).val_loss) is not None]
    if losses:
        told["avg_loss"] = mean_loss(losses)
    if objective.gain == "time_to_target":
        told["time"] = told_times(standing.trials, standing.against, objective)
    if gain is not None:
        told["gain"] = {"mean": gain.mean, "error": gain.error, "seeds": gain.seeds}
        if gain.error is not None:
            told["gain"] |= {
                "low": gain.low(confidence),
                "high": gain.high(confidence),
                "p": gain.p_value(),
            }
    if cost is not None:
        told["cost"] = told_cost(standing)
        if gain is not None and cost.outside_noise > 0:
            told["efficiency"] = gain.mean / cost.outside_noise
            told["efficiency_low"] = gain.low(confidence) / cost.most
    stopped = [str(trial.stopped) for trial in standing.trials.values() if trial.stopped]
    if stopped:
        told["stopped"] = stopped
    failures = [trial.failure for trial in standing.trials.values() if trial.failure is not None]
    if failures:
        told["failures"] = [
            {"reason": failure.reason, "message": str(failure)} for failure in failures
        ]
    return told


def told_cost(standing: Standing) -> Data | None:
    """The difference of cost and its standard error as plain data; None when it is unknown."""
    cost = standing.cost
    return None if cost is None else {"change": cost.mean, "error": cost.error}


def label(candidate: Candidate) -> Data:
    """A candidate's name as plain data."""
    told: dict[str, Any] = {"edit": candidate.edit.to_dict(), "key": candidate.edit.key}
    if candidate.description is not None:
        told["config_id"] = candidate.description.config_id
        told["inventory"] = dict(candidate.description.inventory)
    if candidate.rejected:
        told["rejected"] = candidate.rejected
    return told
