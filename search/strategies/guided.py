"""Greedy on a model: learn what each change gains, then take many steps at once within the caps."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated

import numpy as np
from pydantic import Field

from search.costs import COSTS
from search.history import Description
from search.moves import Edit
from search.strategies.base import Problem, strategies
from search.strategies.belief import Belief, Wish, belief_of
from search.strategies.draws import Begun, Draw, anywhere, chance, lattice_of, usable
from search.strategies.explored import Explored
from search.strategies.model.ascent import LEAST, Climb, Moves
from search.strategies.model.forms import Array
from search.strategies.model.lattice import Lattice, Points
from search.strategies.model.tariff import Tariff, price
from search.strategies.pareto import front
from search.strategies.sampling import Sampling
from spec import errors
from spec.config import Data, Seq

LOOKS = 40
"""Points of one climb that are described in search of one that can be trained."""
RIVALS = 4
"""Configs among which the best is told from the next best by further seeds."""
SURE = 1.645
"""Deviations by which the best has to lead: 95 %, one-sided."""
DARING = 0.5
"""Factor on the boldness of draws where the time to a target counts, reached so far or not. The
best of so many configs under a draw as bold as the posterior misses it nine times in ten, and from
a miss less is learnt."""
REPEATS = 3
"""Seeds of the baseline, which every finalist is compared with."""
AIMS = 3
"""Climbs for one draw: where estimates were too low, the next one aims lower."""


@strategies.variant("guided")
class Guided(Sampling):
    """Learn from every trial what changes gain, and try what looks best in one draw of that belief.

    Quality (minus the logarithm of the loss, or of the seconds of a training) is learnt by
    Bayesian models of the config, and so is the margin by which a training reaches a target: see
    ``Lessons``, ``Features`` and ``Ensemble``. Each config to try is the best under one Thompson
    sample of both (Thompson, Biometrika 25, 1933) that keeps the limits and reaches the target,
    found by a ratio-greedy climb over estimated costs and checked by ``describe``; every
    ``sober``-th is the best under the posterior mean, or, as long as noise leaves it open which of
    the best configs tried is the best, one of these on another seed. The noise is known from a few
    seeds of the baseline; with a target, which it may take long to reach or miss, from the best
    config so far. The finalists are the configs expected to be best if trained again.
    """

    scatter: Annotated[int, Field(ge=0)] = 8
    """Configs drawn before the model leads, their layers alike: at random, but so that each choice
    and each part of a range has its share."""
    boldness: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Factor on the deviation of a draw from the mean. At 1 it is Thompson sampling proper; for the
    gain time_to_target it is half of that for quality, and a quarter for the margin."""
    sober: Annotated[int, Field(ge=2)] = 3
    """One draw in so many is the best by the mean, without chance, or repeats one that may be."""
    caps: Annotated[Seq[Annotated[float, Field(gt=0)]], Field(min_length=1)] | None = None
    """Pareto mode: caps on the objective's cost that draws take in turn; ends with the front."""

    @property
    def weighs_losers(self) -> bool:
        """See ``Strategy.weighs_losers``: one may be the best under its cap."""
        return self.caps is not None

    def size(self, problem: Problem) -> int | None:
        """See ``Sampling.size``: some configs are measured again, who knows how often."""
        return None

    @property
    def unaided(self) -> int:
        """See ``Sampling.unaided``."""
        return min(super().unaided, self.scatter)

    def check(self, problem: Problem) -> None:
        """See ``Strategy.check``.

        Raises:
            ConfigError: For a rule without an end, or caps on a cost that has to be measured.
        """
        super().check(problem)
        cost = problem.objective.cost
        if self.caps is not None and cost not in _known(problem):
            words = (
                f"{cost} is not known before training, so no config can be drawn under a cap on "
                "it; choose a cost that the trainer's describe tells, or leave caps out"
            )
            fault = errors.Problem("strategy.caps", words, loc=("strategy", "caps"))
            raise errors.ConfigError([fault])

    def draw(self, explored: Explored, index: int, begun: Begun) -> Draw | None:
        """See ``Sampling.draw``."""
        problem, guide = explored.problem, guide_of(explored.problem)
        if (left := _repeats(problem) - index) >= 0:
            return Draw(problem.baseline, None)
        if -left <= self.scatter:
            return self._scattered(problem, -left, begun)
        belief = belief_of(explored)
        if belief is None:
            return self._anywhere(problem, index, begun, alike=1.0)
        rng = chance(problem, index)
        bold = 0.0 if index % self.sober == 0 else self.boldness * _daring(problem)
        asks = self.caps is None or not belief.noise_known  # on a front none is the best
        if not bold and asks and (again := guide.doubtful(explored, belief, begun)):
            edit = explored.edits[again]
            assert edit is not None  # see Guide.doubtful
            return Draw(explored.configs[again], Edit(**edit))
        wish = belief.sample(rng, bold) if bold else belief.mean()
        found = guide.best(wish, self._caps(problem, index), belief.points, rng, begun)
        return found or self._anywhere(problem, index, begun)

    def _scattered(self, problem: Problem, index: int, begun: Begun) -> Draw | None:
        """One of the first configs; where it does not fit, or is no new one, any other."""
        lattice = lattice_of(problem)
        points = lattice.balanced(chance(problem, 0), self.scatter)
        drawn = usable(problem, lattice.edit(points[index - 1]), begun, self._largest(problem))
        return drawn or self._anywhere(problem, index, begun, alike=1.0)

    def _anywhere(
        self, problem: Problem, index: int, begun: Begun, alike: float = 0.0
    ) -> Draw | None:
        """By chance, below the largest cap if chance finds that: what is above teaches as well."""
        below = anywhere(problem, index, begun, alike, self._largest(problem))
        return below or anywhere(problem, index, begun, alike)

    def ranked(self, explored: Explored) -> list[str]:
        """See ``Sampling.ranked``."""
        measured = super().ranked(explored)
        belief = belief_of(explored)
        expected = {} if belief is None else belief.expected
        return sorted(measured, key=lambda name: -expected.get(name, -math.inf))

    def ending(self, explored: Explored) -> Data:
        """See ``Sampling.ending``."""
        if self.caps is None:
            return {}
        return {"front": front(explored, (explored.problem.objective.cost,))}

    def remark(self, explored: Explored) -> str:
        """See ``Sampling.remark``: caps that nothing was found to keep."""
        cost = explored.problem.objective.cost
        told = (COSTS[cost].known(explored.configs[name].inventory) for name in explored.qualities)
        least = min((value for value in told if value is not None), default=0.0)
        below = [f"{cap:,.6g}" for cap in self.caps or () if cap < least]
        if not below:
            return ""
        return f"; nothing was found under {' or '.join(below)} {cost}, the least is {least:,.6g}"

    def _largest(self, problem: Problem) -> dict[str, float]:
        """The largest cap, if there are caps."""
        return {} if self.caps is None else {problem.objective.cost: max(self.caps)}

    def _caps(self, problem: Problem, index: int) -> dict[str, float]:
        known, asked = _known(problem), problem.objective.limits
        limits = {name: limit for name, limit in asked.items() if name in known}
        if self.caps is None:
            return limits
        cost, cap = problem.objective.cost, self.caps[index // self.sober % len(self.caps)]
        return {**limits, cost: min(cap, limits.get(cost, math.inf))}


@dataclass(frozen=True)
class Guide:
    """What guided search knows of a problem before any trial."""

    problem: Problem
    tariff: Tariff
    moves: Moves

    @property
    def lattice(self) -> Lattice:
        """The space."""
        return lattice_of(self.problem)

    def doubtful(self, explored: Explored, belief: Belief, begun: Begun) -> str | None:
        """The config to measure again, of those that may be the best; None when one surely is.

        Of the few most promising ones the one with the fewest seeds begun. While the noise is
        unknown it is the most promising one that may have more seeds, unless a repeat under way
        will tell it.
        """
        drawn = (n for n in belief.expected if explored.edits[n] is not None and explored.hit(n))
        ranked = sorted(drawn, key=lambda name: -belief.expected[name])
        able = (name for name in ranked if self._able(explored, name, len(begun[name])))
        if not ranked or not belief.noise_known:
            return None if _awaited(explored, begun) else next(able, None)
        best, *others = ranked[:RIVALS]
        rivals = {name for name in others if _open(belief, best, name)}
        asked = [name for name in able if rivals and name in {best, *rivals}]
        return min(asked, key=lambda name: len(begun[name]), default=None)

    def _able(self, explored: Explored, name: str, count: int) -> bool:
        """Whether a config may have more seeds: it has failed on none, and enough are left."""
        seeds = self.problem.seeds
        failed = any(trial.state == "failed" for trial in explored.rows[name].values())
        return not failed and seeds.screen <= count <= seeds.max - seeds.screen

    def best(
        self,
        wish: Wish,
        caps: Mapping[str, float],
        tried: Points,
        rng: np.random.Generator,
        taken: Container[str],
    ) -> Draw | None:
        """The config of highest quality under a wish that is new and keeps the caps.

        Where none has the margin that is wished for, the one that comes nearest to it.
        """
        aims = dict(caps)
        starts = self._starts(wish, tried, rng)
        for _ in range(AIMS):
            over = 1.0
            climb = Climb(self.lattice, self.moves, wish.quality, self._loads(wish, aims))
            for point in climb.run(starts)[:LOOKS]:
                (answer,) = self.lattice.described(point[None])
                if answer is None or answer.config_id in taken:
                    continue
                share = self._share(answer, caps)
                if share <= 1.0:
                    return Draw(answer, self.lattice.edit(point))
                over = max(over, share)
            if over == 1.0:  # what fits was tried already: aiming lower finds nothing better
                break
            aims = {name: aim / over for name, aim in aims.items()}
        if wish.margin is None:
            return None
        return self.best(Wish(wish.margin), caps, tried, rng, taken)

    def _loads(self, wish: Wish, aims: Mapping[str, float]) -> Sequence[Callable[[Array], Array]]:
        """What a climb has to keep at 1 or below."""
        loads = [partial(self.tariff.share, name, aim) for name, aim in aims.items()]
        return loads if wish.margin is None else [*loads, wish.shortfall]

    def _share(self, description: Description, caps: Mapping[str, float]) -> float:
        """The largest part of a cap that a config uses."""
        return max((price(name, description) / cap for name, cap in caps.items()), default=0.0)

    def _starts(self, wish: Wish, tried: Points, rng: np.random.Generator) -> list[Points]:
        """Where climbs begin: the best tried, the smallest, and anywhere alike."""
        marks = self.lattice.marks(tried)
        best = tried[np.lexsort((-wish.quality(marks), wish.shortfall(marks) > 1.0))[:2]]
        smallest = np.zeros(len(self.lattice), dtype=np.intp)
        return [*best, smallest, *self.lattice.scattered(rng, 2, alike=1.0)]


def _open(belief: Belief, best: str, rival: str) -> bool:
    """Whether noise leaves it open which of two configs is better."""
    lead = belief.expected[best] - belief.expected[rival] + LEAST
    return lead < SURE * math.hypot(belief.doubts[best], belief.doubts[rival])


def _awaited(explored: Explored, begun: Begun) -> bool:
    """Whether a config has more than one seed and one of them is under way: it tells the noise."""
    rows = explored.rows
    return any(1 < len(seeds) > len(rows.get(name, ())) for name, seeds in begun.items())


@lru_cache(maxsize=4)
def guide_of(problem: Problem) -> Guide:
    """The guide of a problem: describes a sample of the space once."""
    lattice = lattice_of(problem)
    tariff = Tariff(lattice, _known(problem), problem.seeds.first)
    return Guide(problem, tariff, Moves(lattice))


def _repeats(problem: Problem) -> int:
    """Draws that measure the baseline again, before all others."""
    if problem.objective.gain == "time_to_target":
        return 0
    return max(min(REPEATS, problem.seeds.max) // problem.seeds.screen - 1, 0)


def _daring(problem: Problem) -> float:
    """Factor on the boldness of draws, as the objective has it."""
    return DARING if problem.objective.gain == "time_to_target" else 1.0


def _known(problem: Problem) -> list[str]:
    """The costs that are asked about and that describe tells, so that no training is needed."""
    names = {problem.objective.cost, *problem.objective.limits}
    inventory = problem.baseline.inventory
    return sorted(name for name in names if COSTS[name].known(inventory) is not None)
