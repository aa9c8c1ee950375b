"""How often a greedy step is none, and how surely one that is there is found.

    python -m benchmarks.false_accepts [--quick]

Simulated worlds of K switches, each one a neighbour of the baseline. In a round without any true
effect every accepted step is a false one; with one true effect of so many sigma (the seed noise of
one trial's loss) its acceptance is the power. Beside our strategy stand two rules of thumb on the
same trials: the best of a round by one seed each, and the ancestor's, the best gain per parameter
above zero. Last, whole searches with several true effects: there a step is false when any of its
changes is, so those that join several changes or begin on carried seeds are judged too.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from search.history import Description, Request
from search.moves import ChoicesRule
from search.objective import Budget, Objective, Seeds
from search.simulation import Outcome, Simulation, single
from search.strategies.base import Problem, Rejected
from search.strategies.greedy import Greedy
from spec.config import Data, identity

ALPHA = 0.05
WILD = 3.0
"""How many times noisier a config is with a wild switch on."""
RESULT = Path(__file__).parent / "results" / "false_accepts.txt"


@dataclass(frozen=True)
class Switches:
    """A baseline of loss 2 and K switches; half make it dearer, half cheaper.

    Attributes:
        number: K.
        noise: Standard deviation of one loss, once what the seed does to all is taken out, in nats.
        effect: How much the first switches lower the loss, each, in units of the noise.
        true: How many of them do.
        salt: Makes another world of the same kind.
        wild: How many of the last switches make the loss noisier, as a rate near divergence does.
    """

    number: int
    noise: float
    effect: float
    true: int
    salt: int
    wild: int = 0

    def problem(self) -> Problem:
        """The search over this world."""
        (baseline,) = self.describe([self.config()])
        assert isinstance(baseline, Description)
        space = {name: ChoicesRule(choices=(0, 1)) for name in baseline.config}
        return Problem(baseline, space, Objective(), Budget(), Seeds(), "", self.describe)

    def config(self, on: int | None = None) -> Data:
        """All switches off but one."""
        return {f"x{index}": int(index == on) for index in range(self.number)}

    def size(self, config: Data) -> int:
        """Parameters: even switches make it dearer, odd ones cheaper."""
        return 1000 + sum(10 * (-1) ** index * on for index, on in enumerate(config.values()))

    def describe(self, configs: Sequence[Data]) -> list[Description | Rejected]:
        """See ``search.simulation.World``."""
        return [Description(c, identity(c), {"parameters": self.size(c)}) for c in configs]

    def train(self, request: Request) -> Outcome:
        """See ``search.simulation.World``."""
        return single(self.loss(request.description.config, request.seed))

    def loss(self, config: Data, seed: int) -> float:
        """Of one trial: what its switches bring, common noise of the seed, and noise of its own."""
        common = random.Random(f"{self.salt} {seed}").gauss(0.0, 3 * self.noise)
        wild = any(list(config.values())[self.number - self.wild :])
        noise = self.noise * (WILD if wild else 1.0)
        own = random.Random(f"{self.salt} {seed} {config}").gauss(0.0, noise)
        gained = self.effect * self.noise * sum(list(config.values())[: self.true])
        return 2.0 - gained + common + own

    def useless(self, before: Data, after: Data) -> bool:
        """Whether a step changes anything that brings nothing."""
        moved = [index for index, name in enumerate(before) if before[name] != after[name]]
        return any(index >= self.true or not after[f"x{index}"] for index in moved)


def ours(world: Switches) -> tuple[Data | None, int]:
    """What our strategy takes in one round, and the trials it spends."""
    simulation = Simulation(Greedy(alpha=ALPHA), world.problem(), world)
    simulation.run(max_accepted=1)
    accepted = simulation.history.accepted
    return (accepted[0].config if accepted else None), len(simulation.history)


def best_of_round(world: Switches) -> tuple[Data | None, int]:
    """The neighbour with the lowest loss of one seed, if lower than the baseline's."""
    losses = {on: world.loss(world.config(on), 1337) for on in (None, *range(world.number))}
    best = min(losses, key=lambda on: losses[on])
    return (None if best is None else world.config(best)), len(losses)


def best_ratio(world: Switches) -> tuple[Data | None, int]:
    """The ancestor's rule: the largest gain in score per parameter, if above zero."""
    start = world.config()
    scores = {on: math.exp(-world.loss(world.config(on), 1337)) for on in range(world.number)}
    first = math.exp(-world.loss(start, 1337))
    ratios = {
        on: (score - first) / (world.size(world.config(on)) - world.size(start))
        for on, score in scores.items()
    }
    best = max(ratios, key=lambda on: ratios[on])
    return (world.config(best) if ratios[best] > 0 else None), len(scores) + 1


@dataclass(frozen=True)
class Walk:
    """A whole search: rounds, false steps, true effects found, and trials."""

    rounds: int
    false: int
    found: int
    trials: int


def walk(combine: bool, world: Switches) -> Walk:
    """Search until no neighbour is significant."""
    simulation = Simulation(Greedy(alpha=ALPHA, combine=combine), world.problem(), world)
    simulation.run()
    steps = [world.config(), *(d.config or {} for d in simulation.history.accepted)]
    false = sum(world.useless(before, after) for before, after in pairwise(steps))
    found = sum(list(steps[-1].values())[: world.true])
    return Walk(len(steps), false, found, len(simulation.history))


Taken = Sequence[tuple[Data | None, int]]

RULES = {"espalier": ours, "best of one seed": best_of_round, "gain/cost > 0": best_ratio}


def played(worlds: Sequence[Switches], pool: Executor) -> dict[str, Taken]:
    """What every rule takes in every world."""
    return {name: list(pool.map(rule, worlds, chunksize=10)) for name, rule in RULES.items()}


def null_table(rounds: int, quick: bool, pool: Executor) -> tuple[list[str], float]:
    """Share of rounds with a false step, by K and noise; and ours at its worst."""
    lines = [f"{'K':>4} {'noise':>7} " + " ".join(f"{name:>17}" for name in RULES) + "   trials"]
    worst = 0.0
    for neighbours in (14,) if quick else (4, 14, 40):
        for noise in (0.01,) if quick else (0.001, 0.01, 0.05):
            worlds = [Switches(neighbours, noise, 0.0, 0, salt) for salt in range(rounds)]
            taken = played(worlds, pool)
            rates = {
                name: sum(c is not None for c, _ in found) / rounds for name, found in taken.items()
            }
            worst = max(worst, rates["espalier"])
            spent = sum(trials for _, trials in taken["espalier"]) / rounds
            cells = " ".join(f"{rate:16.1%} " for rate in rates.values())
            lines.append(f"{neighbours:4} {noise:7.3f} {cells} {spent:7.1f}")
    return lines, worst


def uneven_table(rounds: int, quick: bool, pool: Executor) -> tuple[list[str], float]:
    """The same where some neighbours are noisier than the rest.

    Steps of several changes are told, but are not among the worst: the step as a whole is better,
    even where one of its changes does nothing.
    """
    lines, worst = ["wild of 14    false   trials"], 0.0
    for wild in (1,) if quick else (1, 5, 14):
        worlds = [Switches(14, 0.01, 0.0, 0, salt, wild) for salt in range(rounds)]
        found = list(pool.map(ours, worlds, chunksize=10))
        rate = sum(config is not None for config, _ in found) / rounds
        lines.append(f"{wild:10} {rate:8.1%} {sum(trials for _, trials in found) / rounds:8.1f}")
        worst = max(worst, rate)
    lines.append("whole searches, 5 wild, 5 true ones of 6 sigma: rounds with a useless change")
    worlds = [Switches(14, 0.01, 6.0, 5, salt, 5) for salt in range(rounds // 5)]
    for combine in (False, True):
        walks = list(pool.map(partial(walk, combine), worlds, chunksize=5))
        rate = sum(w.false for w in walks) / sum(w.rounds for w in walks)
        lines.append(f"{'of several' if combine else 'of one':>10} {rate:8.1%}")
        worst = worst if combine else max(worst, rate)
    return lines, worst


def power_table(rounds: int, pool: Executor, neighbours: int = 14) -> list[str]:
    """Share of rounds that take the one true step, and the trials spent."""
    lines = [f"{'effect':>7} " + " ".join(f"{name:>17}" for name in RULES) + "   trials"]
    for effect in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0):
        worlds = [Switches(neighbours, 0.01, effect, 1, salt) for salt in range(rounds)]
        taken = played(worlds, pool)
        rates = [
            sum(config is not None and config["x0"] for config, _ in found) / rounds
            for found in taken.values()
        ]
        spent = sum(trials for _, trials in taken["espalier"]) / rounds
        lines.append(
            f"{effect:6.1f}s " + " ".join(f"{rate:16.1%} " for rate in rates) + f" {spent:7.1f}"
        )
    return lines


def walk_table(searches: int, quick: bool, pool: Executor) -> tuple[list[str], float]:
    """Whole searches among 14 switches, 5 of them true; and the most false steps in a round."""
    lines = [f"{'effect':>7} {'steps':>10}    false per round    true ones found   trials"]
    worst = 0.0
    for effect in (3.0,) if quick else (1.5, 3.0, 6.0):
        worlds = [Switches(14, 0.01, effect, 5, salt) for salt in range(searches)]
        for combine in (True, False):
            walks = list(pool.map(partial(walk, combine), worlds, chunksize=5))
            rate = sum(w.false for w in walks) / sum(w.rounds for w in walks)
            found = sum(w.found for w in walks) / (5 * searches)
            trials = sum(w.trials for w in walks) / searches
            kind = "of several" if combine else "of one"
            lines.append(f"{effect:6.1f}s {kind:>10} {rate:17.1%} {found:18.0%} {trials:8.1f}")
            worst = max(worst, rate)
    return lines, worst


def main() -> int:
    """Run the benchmark and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.false_accepts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds; keeps no result")
    parser.add_argument("--rounds", type=int, default=1000, help="of each K and noise")
    options = parser.parse_args()
    quick, rounds = options.quick, 100 if options.quick else options.rounds
    started = time.monotonic()
    with ProcessPoolExecutor() as pool:
        null, worst = null_table(rounds, quick, pool)
        uneven, unevenly = uneven_table(rounds, quick, pool)
        power = power_table(40 if quick else rounds * 3 // 10, pool)
        walked, walking = walk_table(30 if quick else rounds // 5, quick, pool)
    # the rate is itself an estimate: the bar allows what 1000 rounds at exactly alpha would show
    bar = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / rounds)
    worst = max(worst, unevenly, walking)
    text = "\n".join(
        [
            f"false steps in {rounds} rounds without any true effect, alpha {ALPHA}",
            *null,
            "",
            f"the same where some neighbours have {WILD:g} times the noise",
            *uneven,
            "",
            "acceptance of the one true step among 14 neighbours, by its effect in sigma",
            *power,
            "",
            "whole searches among 14 neighbours, 5 of which gain so many sigma each",
            *walked,
            "",
            f"{time.monotonic() - started:.0f} s",
            f"false acceptances at the worst: {worst:.1%} (bar: {ALPHA:.0%}, "
            f"{bar:.1%} with the uncertainty of {rounds} rounds)",
        ]
    )
    print(text)  # the figure
    if not quick:
        RESULT.parent.mkdir(exist_ok=True)
        command = f"python -m benchmarks.false_accepts --rounds {rounds}"
        RESULT.write_text(f"{command}\n\n{text}\n", encoding="utf-8")
    return int(worst > bar)


if __name__ == "__main__":
    sys.exit(main())
