"""How often a greedy round takes a step that is none, and how surely it finds one that is.

    python -m benchmarks.false_accepts [--quick]

Simulated rounds over K neighbours. Without any true effect every accepted step is a false one; with
one true effect of so many sigma (the seed noise of one trial's loss) the acceptance of that very
neighbour is the power. Beside our strategy stand two rules of thumb on the same trials: the best of
a round by one seed each, and the ancestor's, the best gain per parameter above zero.
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
from pathlib import Path

from search.history import Description, Request
from search.moves import ChoicesRule
from search.objective import Budget, Objective, Seeds
from search.simulation import Outcome, Simulation, single
from search.strategies.base import Problem, Rejected
from search.strategies.greedy import Greedy
from spec.config import Data, identity

ALPHA = 0.05
RESULT = Path(__file__).parent / "results" / "false_accepts.txt"


@dataclass(frozen=True)
class Flat:
    """A baseline of loss 2 with K neighbours; half are dearer, half cheaper, none differs.

    Attributes:
        neighbours: K.
        noise: Standard deviation of one loss, once what the seed does to all is taken out, in nats.
        effect: How much lower the loss of neighbour 1 is, in units of the noise.
        salt: Makes another world of the same kind.
    """

    neighbours: int
    noise: float
    effect: float
    salt: int

    def problem(self) -> Problem:
        """The search over this world."""
        choices = tuple(range(self.neighbours + 1))
        (baseline,) = self.describe([{"x": 0}])
        assert isinstance(baseline, Description)
        space = {"x": ChoicesRule(choices=choices)}
        return Problem(baseline, space, Objective(), Budget(), Seeds(), "", self.describe)

    def describe(self, configs: Sequence[Data]) -> list[Description | Rejected]:
        """Odd neighbours are dearer, even ones cheaper."""
        sizes = [1000 + 10 * c["x"] * (-1) ** (c["x"] + 1) for c in configs]
        return [
            Description(config, identity(config), {"parameters": size})
            for config, size in zip(configs, sizes, strict=True)
        ]

    def train(self, request: Request) -> Outcome:
        """Loss of one trial: common noise of the seed, own noise, and the effect."""
        return single(self.loss(request.description.config["x"], request.seed))

    def loss(self, x: int, seed: int) -> float:
        """The same for a neighbour's number."""
        common = random.Random(f"{self.salt} {seed}").gauss(0.0, 3 * self.noise)
        own = random.Random(f"{self.salt} {seed} {x}").gauss(0.0, self.noise)
        return 2.0 - self.effect * self.noise * (x == 1) + common + own


def ours(world: Flat) -> tuple[int | None, int]:
    """The neighbour our strategy takes in one round, and the trials it spends."""
    simulation = Simulation(Greedy(alpha=ALPHA), world.problem(), world)
    simulation.run(max_accepted=1)
    accepted = simulation.history.accepted
    taken = accepted[0].config["x"] if accepted and accepted[0].config else None
    return taken, len(simulation.history)


def best_of_round(world: Flat) -> tuple[int | None, int]:
    """The neighbour with the lowest loss of one seed, if lower than the baseline's."""
    losses = {x: world.loss(x, 1337) for x in range(world.neighbours + 1)}
    best = min(losses, key=lambda x: losses[x])
    return best or None, len(losses)


def best_ratio(world: Flat) -> tuple[int | None, int]:
    """The ancestor's rule: the largest gain in score per parameter, if above zero."""
    scores = {x: math.exp(-world.loss(x, 1337)) for x in range(world.neighbours + 1)}
    sizes = {x: (10 * x if x % 2 else -10 * x) for x in scores}
    ratios = {x: (scores[x] - scores[0]) / sizes[x] for x in scores if x}
    best = max(ratios, key=lambda x: ratios[x])
    return (best if ratios[best] > 0 else None), len(scores)


Taken = Sequence[tuple[int | None, int]]

RULES = {"espalier": ours, "best of one seed": best_of_round, "gain/cost > 0": best_ratio}


def played(worlds: Sequence[Flat], pool: Executor) -> dict[str, Taken]:
    """What every rule takes in every world."""
    return {name: list(pool.map(rule, worlds, chunksize=10)) for name, rule in RULES.items()}


def null_table(rounds: int, quick: bool, pool: Executor) -> tuple[list[str], float]:
    """Share of rounds with a false step, by K and noise; and ours at its worst."""
    lines = [f"{'K':>4} {'noise':>7} " + " ".join(f"{name:>17}" for name in RULES) + "   trials"]
    worst = 0.0
    for neighbours in (14,) if quick else (4, 14, 40):
        for noise in (0.01,) if quick else (0.001, 0.01, 0.05):
            worlds = [Flat(neighbours, noise, 0.0, salt) for salt in range(rounds)]
            taken = played(worlds, pool)
            rates = {
                name: sum(x is not None for x, _ in found) / rounds for name, found in taken.items()
            }
            worst = max(worst, rates["espalier"])
            spent = sum(trials for _, trials in taken["espalier"]) / rounds
            cells = " ".join(f"{rate:16.1%} " for rate in rates.values())
            lines.append(f"{neighbours:4} {noise:7.3f} {cells} {spent:7.1f}")
    return lines, worst


def power_table(rounds: int, pool: Executor, neighbours: int = 14) -> list[str]:
    """Share of rounds that take the one true step, and the trials spent."""
    lines = [f"{'effect':>7} " + " ".join(f"{name:>17}" for name in RULES) + "   trials"]
    for effect in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0):
        worlds = [Flat(neighbours, 0.01, effect, salt) for salt in range(rounds)]
        taken = played(worlds, pool)
        rates = [sum(x == 1 for x, _ in found) / rounds for found in taken.values()]
        spent = sum(trials for _, trials in taken["espalier"]) / rounds
        lines.append(
            f"{effect:6.1f}s " + " ".join(f"{rate:16.1%} " for rate in rates) + f" {spent:7.1f}"
        )
    return lines


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
    quick, rounds = options.quick, 150 if options.quick else options.rounds
    started = time.monotonic()
    with ProcessPoolExecutor() as pool:
        null, worst = null_table(rounds, quick, pool)
        power = power_table(40 if quick else rounds * 3 // 10, pool)
    # the rate is itself an estimate: the bar allows what 1000 rounds at exactly alpha would show
    bar = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / rounds)
    text = "\n".join(
        [
            f"false steps in {rounds} rounds without any true effect, alpha {ALPHA}",
            *null,
            "",
            "acceptance of the one true step among 14 neighbours, by its effect in sigma",
            *power,
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
