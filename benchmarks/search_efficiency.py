"""How much is left to find after so many trainings: guided and greedy beside Optuna and a loop.

python -m benchmarks.search_efficiency [--quick]

Every search starts from the same baseline, under the same cap, on landscapes whose optimum is
known. Regret is the share of the way from the baseline to the optimum that the config it would
hand over has left, by what trainings of it come to on average. Exit status 1 when a bar is missed;
such cases stay in the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from threadpoolctl import threadpool_limits

from benchmarks.landscapes import LANDSCAPES, Landscape, Tabulated
from benchmarks.oracle import picked
from benchmarks.peers import ancestor_loop
from search.history import Decision, History
from search.simulation import Simulation
from search.strategies.greedy import Greedy
from search.strategies.guided import Guided
from search.strategies.optuna_samplers import Optuna
from search.strategies.random import Random
from search.strategies.sampling import Sampling
from spec.config import Data

RESULTS = Path(__file__).parent / "results"
BUDGETS = (25, 50, 100, 200)
NOISES = (0.0, 0.005, 0.02)
BAR = 100
"""The budget at which guided has to leave at most a third of the best sampler's regret."""
LOOPED = (50, 100, 200)
"""Trainings the ancestor's loop may spend."""
HALF = 0.5
"""Share of the loop's trainings that greedy may spend for the same quality."""
LOOP_TRIALS = 200
"""Trainings after which greedy and the loop are cut off."""

SEARCHES: Mapping[str, Callable[[], Sampling]] = {
    "guided": Guided,
    "tpe": Optuna,
    "gp": lambda: Optuna(sampler="gp"),
    "nsgaii": lambda: Optuna(sampler="nsgaii", options={"population_size": 20}),
    "cmaes": lambda: Optuna(sampler="cmaes"),
    "random": Random,
}
STEPWISE = ("greedy", "loop")
"""Searches with a way of accepted steps: how many trainings it took counts."""
TIMED = ("race",)
"""Landscapes without stepwise searches: the ancestor's loop knows no time to a target."""
ALIKE = ("race", "tabulated")
"""Landscapes in which all layers are alike."""
TOLD = (10, 20, 40)
"""How many of the best configs are told to one who only has to tell them apart."""
PICKS = 2000
"""How often that is repeated."""
PEERS = ("tpe", "gp", "nsgaii", "cmaes")
DEEP = 5
"""Seeds that go on to the largest budget, which costs most of the time; the others end at BAR."""
SLOW = {
    ("gp", name): (6, BAR, NOISES) if name in ALIKE else (3, BAR, (0.005,)) for name in LANDSCAPES
}
"""Searches too slow to repeat as often: how many seeds, how many trainings, which noises. GP takes
half a minute for the dimensions of the race, and a quarter of an hour where every layer has its
own."""


RAW = RESULTS / "search_efficiency.json"


@dataclass(frozen=True)
class Case:
    """One search on one landscape."""

    landscape: str
    noise: float
    search: str
    seed: int
    trials: int

    def world(self) -> Landscape:
        """A fresh world."""
        return LANDSCAPES[self.landscape](self.noise)


Done = Mapping[Case, Mapping[int, float]]


def regrets(case: Case) -> tuple[Case, dict[int, float]]:
    """The regret of one search at every budget."""
    world = case.world()
    problem = world.problem(first=1000 * case.seed + 7)
    options = SEARCHES[case.search]()
    # what a search tries does not depend on how many trials it may spend, so one run tells all
    search = options.model_copy(update={"trials": case.trials + 1})
    simulation = Simulation(search, problem, world)
    simulation.run(max_trials=case.trials)
    trials = list(simulation.history)
    found = {}
    for budget in (b for b in BUDGETS if b <= case.trials):
        decision = options.model_copy(update={"trials": budget}).propose(
            problem, History(trials[:budget])
        )
        taken = decision.config if isinstance(decision, Decision) else None
        found[budget] = world.regret(taken or world.baseline)
    return case, found


def stepwise(case: Case) -> tuple[Case, dict[int, float]]:
    """Regret of what would be handed over, after each training that changed that.

    Greedy hands over its incumbent. The loop goes round in circles, so a person takes the config
    for which it has recorded the lowest loss so far.
    """
    world = case.world()
    if case.search == "loop":
        best, taken = -math.inf, {}
        for spent, held, score in ancestor_loop(world, case.seed, case.trials):
            if score > best:
                best, taken[spent] = score, world.regret(held)
        return case, taken
    problem = world.problem(first=1000 * case.seed + 7, confirm=2)
    simulation = Simulation(Greedy(), problem, world)
    found, accepted = {0: 1.0}, 0
    while simulation.run(case.trials, accepted + 1) is None:
        steps = simulation.history.accepted
        if len(steps) == accepted:
            break
        accepted = len(steps)
        config: Data | None = steps[-1].config
        assert config is not None
        found[len(simulation.history)] = world.regret(config)
    return case, found


def run(
    cases: list[Case],
    workers: int,
    save: Callable[[Done], None],
    done: dict[Case, dict[int, float]],
) -> None:
    """All cases that are not done yet, a few at a time."""
    todo = [case for case in cases if case not in done]
    started, before = time.monotonic(), len(done)
    with ProcessPoolExecutor(workers, initializer=_on_one_core) as pool:
        for case, found in pool.map(_one, todo):
            done[case] = found
            save(done)
            if (len(done) - before) % 20 == 0:
                spent = time.monotonic() - started
                print(f"{len(done) - before}/{len(todo)} searches, {spent:.0f} s", file=sys.stderr)


def _on_one_core() -> None:
    """Searches that run side by side would wait for each other's threads; GP takes torch's."""
    os.environ["OMP_NUM_THREADS"] = "1"
    threadpool_limits(limits=1)


def _one(case: Case) -> tuple[Case, dict[int, float]]:
    return (stepwise if case.search in STEPWISE else regrets)(case)


def save(done: Done) -> None:
    """Keep every search's regrets, so that a long benchmark can go on with --resume."""
    RESULTS.mkdir(exist_ok=True)
    rows = [json.dumps([*vars(case).values(), found]) for case, found in done.items()]
    RAW.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


def saved() -> dict[Case, dict[int, float]]:
    """What an earlier run has kept."""
    rows = json.loads(RAW.read_text(encoding="utf-8")) if RAW.exists() else []
    return {Case(*row[:-1]): {int(k): v for k, v in row[-1].items()} for row in rows}


def planned(quick: bool, seeds: int, names: list[str]) -> list[Case]:
    """What to run; --quick leaves out the slow samplers, noises and seeds."""
    cases = []
    for landscape in LANDSCAPES:
        for noise in (0.005,) if quick else NOISES:
            for name in names:
                count, trials, noises = SLOW.get((name, landscape), (seeds, BUDGETS[-1], NOISES))
                if name in STEPWISE:
                    trials = LOOP_TRIALS
                if quick and name not in STEPWISE:
                    trials = min(trials, 50)
                if noise in noises and not (name in STEPWISE and landscape in TIMED):
                    cases += [
                        Case(landscape, noise, name, k, _depth(name, k, trials))
                        for k in range(count)
                    ]
    return sorted(cases, key=lambda case: case.seed)  # cut short, it still compares like with like


def _depth(name: str, seed: int, trials: int) -> int:
    return trials if name in STEPWISE or seed < DEEP else min(trials, BAR)


def table(done: Done) -> dict[tuple[str, float, str, int], float]:
    """Mean regret by landscape, noise, search and budget."""
    columns: dict[tuple[str, float, str, int], list[float]] = {}
    for case, found in done.items():
        if case.search not in STEPWISE:
            for budget, regret in found.items():
                key = (case.landscape, case.noise, case.search, budget)
                columns.setdefault(key, []).append(regret)
    return {key: fmean(values) for key, values in columns.items()}


Way = Mapping[int, float]
"""Regret of what a stepwise search would hand over, from each training that changed it."""


def ways(done: Done, place: tuple[str, float]) -> list[tuple[Way, Way]]:
    """Per seed: the ways of greedy and of the loop."""
    loops = [c for c in done if c.search == "loop" and (c.landscape, c.noise) == place]
    return [(done[replace(case, search="greedy")], done[case]) for case in loops]


def spent_for_same_mean(pairs: Sequence[tuple[Way, Way]], budget: int) -> float:
    """Trainings after which greedy's mean regret is that of the loop after so many."""
    wanted = fmean(_after(loop, budget) for _, loop in pairs)
    return _first(
        {k: fmean(_after(w, k) for w, _ in pairs) for k in range(LOOP_TRIALS + 1)}, wanted
    )


def spent_for_same(ours: Way, loop: Way) -> float:
    """Trainings of greedy over those of the loop until each has what the loop hands over at last.

    Infinite where greedy never gets as far.
    """
    held = loop[max(loop)]
    return _first(ours, held) / max(_first(loop, held), 1.0)


def _after(way: Way, trainings: int) -> float:
    """The regret after so many trainings; before the first change it is the baseline's."""
    return way.get(max((spent for spent in way if spent <= trainings), default=-1), 1.0)


def _first(way: Way, level: float) -> float:
    return next((spent for spent in sorted(way) if way[spent] <= level + 1e-9), math.inf)


def report(done: Done, bar: int, command: str) -> tuple[str, bool]:
    """The tables as Markdown, and whether every bar is met."""
    means = table(done)
    places = list(dict.fromkeys((case.landscape, case.noise) for case in done))
    searches = {case.search for case in done}
    compared = "guided" in searches and searches & set(PEERS)
    guided = [_guided_row(means, place, bar) for place in places if compared]
    looped = [place for place in places if set(STEPWISE) <= searches and place[0] not in TIMED]
    greedy = [_greedy_row(done, place) for place in looped]
    lines = ["# Search efficiency", "", f"`{command}`", ""]
    lines += [f"Mean regret after so many trainings, in % (0: the optimum). Bar at {bar}.", ""]
    lines += _regret_rows(done, means)
    head = f"| landscape | noise | guided / best sampler at {bar}, % | bar 1/3 |"
    lines += ["", head, "|---|---|---|---|", *(row for row, _ in guided)]
    lines += _oracle_rows(places, bar)
    lines += [
        "",
        "Trainings greedy needs for the mean regret of what the ancestor's loop hands over after",
        f"so many, over these. The loop does not end by itself; the bar is at {LOOPED[-1]}.",
        "Stricter, per seed (median): over those after which the loop first had what it hands over",
        "at last.",
        "",
    ]
    heads = [*(f"of {budget}" for budget in LOOPED), "bar 1/2", "stricter", "bar 1/2"]
    heads += ["greedy ends at", "loop ends at"]
    lines += [f"| landscape | noise | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    lines += [row for row, *_ in greedy]
    bars = {
        "guided": [fine for _, fine in guided],
        "greedy": [fine for _, fine, _ in greedy],
        "greedy, stricter": [fine for _, _, fine in greedy],
    }
    told = [f"{name} {sum(fine)} of {len(fine)}" for name, fine in bars.items() if fine]
    lines += ["", f"Bars met: {'; '.join(told)}."]
    return "\n".join(lines) + "\n", all(itertools.chain(*bars.values()))


def _regret_rows(done: Done, means: Mapping[tuple[str, float, str, int], float]) -> list[str]:
    budgets = sorted({key[3] for key in means})
    lines = ["| landscape | noise | search | " + " | ".join(map(str, budgets)) + " | seeds |"]
    lines.append("|---|---|---|" + "---|" * (len(budgets) + 1))
    for landscape, noise, name in sorted({key[:3] for key in means}):
        cells = [means.get((landscape, noise, name, budget)) for budget in budgets]
        shown = " | ".join("-" if cell is None else f"{max(100 * cell, 0.0):.2f}" for cell in cells)
        own = [
            f
            for c, f in done.items()
            if (c.landscape, c.noise, c.search) == (landscape, noise, name)
        ]
        deep = sum(budgets[-1] in found for found in own)
        seeds = f"{len(own)}" if deep in (0, len(own)) else f"{len(own)}, {deep} at {budgets[-1]}"
        lines.append(f"| {landscape} | {noise:.1%} | {name} | {shown} | {seeds} |")
    return lines


def _guided_row(
    means: Mapping[tuple[str, float, str, int], float], place: tuple[str, float], bar: int
) -> tuple[str, bool]:
    own = means[*place, "guided", bar]
    peers = {name: found for name in PEERS if (found := means.get((*place, name, bar))) is not None}
    best = min(peers, key=lambda name: peers[name])
    fine = own <= peers[best] / 3 + 1e-4
    share = f"{max(100 * own, 0.0):.2f} / {100 * peers[best]:.2f} ({best})"
    return f"| {place[0]} | {place[1]:.1%} | {share} | {_word(fine)} |", fine


def _oracle_rows(places: Sequence[tuple[str, float]], bar: int) -> list[str]:
    """What one leaves who is told the best configs, where they are known."""
    rows, known = [], [told for told in TOLD if 2 * told <= bar]
    for landscape, noise in places:
        world = LANDSCAPES[landscape](noise)
        if noise and isinstance(world, Tabulated):
            means = [_oracle(world, bar, told) for told in known]
            cells = " | ".join(f"{100 * mean:.2f}" for mean in means)
            rows.append(f"| {landscape} | {noise:.1%} | {cells} |")
    if not rows:
        return []
    heads = " | ".join(f"told {told}" for told in known)
    return [
        "",
        f"A yardstick for noise: the regret in % after {bar} trainings of one who is told the best",
        "configs of the table beforehand, and only tells them apart by sequential halving.",
        "",
        f"| landscape | noise | {heads} |",
        "|---" * (2 + len(known)) + "|",
        *rows,
    ]


def _oracle(world: Tabulated, trainings: int, told: int) -> float:
    """Its mean regret."""
    rng = np.random.default_rng(0)
    return world.regret_of(fmean(picked(world, trainings, told, rng) for _ in range(PICKS)))


def _greedy_row(done: Done, place: tuple[str, float]) -> tuple[str, bool, bool]:
    pairs = ways(done, place)
    shares = [spent_for_same_mean(pairs, budget) / budget for budget in LOOPED]
    strict = median(spent_for_same(ours, loop) for ours, loop in pairs)
    ends = [fmean(pair[side][max(pair[side])] for pair in pairs) for side in (0, 1)]
    fine = shares[-1] <= HALF, strict <= HALF
    cells = [*(f"{share:.2f}" for share in shares), _word(fine[0]), f"{strict:.2f}", _word(fine[1])]
    cells += [f"{100 * end:.1f} %" for end in ends]
    return f"| {place[0]} | {place[1]:.1%} | {' | '.join(cells)} |", *fine


def _word(fine: bool) -> str:
    return "met" if fine else "MISSED"


def plot(done: Done) -> go.Figure:
    """Regret against trainings, a panel per landscape and noise."""
    means = table(done)
    panels = list(dict.fromkeys((key[0], key[1]) for key in means))
    columns = len({noise for _, noise in panels})
    titles = [f"{landscape}, noise {noise:.1%}" for landscape, noise in panels]
    figure = make_subplots(math.ceil(len(panels) / columns), columns, subplot_titles=titles)
    for number, (landscape, noise) in enumerate(panels):
        for color, name in enumerate(SEARCHES):
            points = sorted(
                (k[3], v) for k, v in means.items() if k[:3] == (landscape, noise, name)
            )
            line = go.Scatter(
                x=[x for x, _ in points],
                y=[max(100 * y, 0.01) for _, y in points],
                name=name,
                legendgroup=name,
                showlegend=number == 0,
                line_color=f"hsl({color * 60}, 60%, 45%)",
            )
            figure.add_trace(line, number // columns + 1, number % columns + 1)
    figure.update_xaxes(title="trainings", type="log")
    figure.update_yaxes(title="regret, %", type="log")
    return figure.update_layout(template="plotly_white", height=900, width=1300)


def main() -> int:
    """Run, write table and plot, and tell whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: one noise, two seeds")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    resume = "keep what earlier runs found: only while searches and landscapes are the same"
    parser.add_argument("--resume", action="store_true", help=resume)
    parser.add_argument("--searches", default=",".join([*SEARCHES, *STEPWISE]))
    options = parser.parse_args()
    names = [
        n for n in options.searches.split(",") if not (n == "cmaes" and not find_spec("cmaes"))
    ]
    names = [n for n in names if not (options.quick and n in ("gp", "random"))]
    done = saved() if options.resume else {}
    cases = planned(options.quick, 2 if options.quick else options.seeds, names)
    run(cases, options.workers, (lambda _: None) if options.quick else save, done)
    done = {case: done[case] for case in cases}
    asked = f"--seeds {options.seeds} --searches {','.join(names)}"
    command = f"python -m benchmarks.search_efficiency {asked}"
    text, met = report(done, 50 if options.quick else BAR, command)
    print(text, end="")
    if not options.quick and {"guided", *STEPWISE} <= set(names):
        (RESULTS / "search_efficiency.md").write_text(text, encoding="utf-8")
        plot(done).write_html(RESULTS / "search_efficiency.html", include_plotlyjs="cdn")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
