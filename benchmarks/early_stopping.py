"""What ending trials by their curves saves, and how often it is wrong, on recorded whole curves.

    python -m benchmarks.early_stopping [--quick] [--make STUDY]

``curves.json`` holds the curves of small models that were trained to their end (``curves.yaml`` is
the exploration; --make writes the file from its study). They arrive one after the other in random
orders; each is watched evaluation by evaluation, as in a search: against the best that came to its
end before, and, which is harder, against one incumbent drawn from the better half. A stop is wrong
when the trial would have ended better than what it was measured against. The bar is for the
confidence that the docs advise: a fifth of all steps saved, at most one stop in a hundred wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from search.history import Description, History, Purpose, Request, Trial
from search.objective import Budget, Objective
from search.stopping import EarlyStopping
from search.study import Study
from spec.records import End, Eval

CURVES = Path(__file__).parent / "curves.json"
RESULT = Path(__file__).parent / "results" / "early_stopping.txt"
CONFIDENCES = (0.9, 0.95, 0.99, 0.999)
ADVISED = 0.99
SAVED = 0.2
WRONG = 0.01
OBJECTIVE = Objective()


@dataclass
class Tally:
    """What happened over all orders.

    Attributes:
        steps: Steps of all trials, had none been stopped.
        saved: Steps that were not trained.
        trials: Trials watched.
        stopped: Trials ended early.
        wrong: Those that would have ended better than what they were measured against.
        lost: Loss of the best in the end, minus that without stopping, nats, one per order.
        errors: Predicted minus true final loss of the stopped trials, nats.
        below: Those that would have ended below the lower bound of what was predicted.
    """

    steps: int
    saved: int
    trials: int
    stopped: int
    wrong: int
    lost: list[float]
    errors: list[float]
    below: int = 0


def recorded() -> list[Trial]:
    """The trials of the file, finished."""
    data = json.loads(CURVES.read_text(encoding="utf-8"))
    found = []
    for number, losses in enumerate(data["losses"]):
        points = zip(data["steps"], losses, strict=True)
        curve = tuple(Eval(step=s, train_seconds=float(s), val_loss=loss) for s, loss in points)
        inventory = {"planned_steps": data["steps"][-1]}
        description = Description({"number": number}, str(number), inventory)
        request = Request(description, 1, Budget(), Purpose(0, "explore", {"path": "all"}))
        end = End(status="completed")
        found.append(Trial(number, request, "finished", curve=curve, end=end))
    return found


def final(trial: Trial) -> float:
    """The loss a whole trial comes to."""
    return min(point.val_loss for point in trial.curve)


def replay(trials: list[Trial], confidence: float, orders: int, moving: bool) -> Tally:
    """Let the trials arrive in random orders, against the best so far or one incumbent."""
    options, tally = EarlyStopping(confidence=confidence), Tally(0, 0, 0, 0, 0, [], [])
    for order in range(orders):
        rng = random.Random(order)
        better = sorted(trials, key=final)[: len(trials) // 2]
        against = best = rng.choice(better)
        history = History([against])
        for trial in rng.sample(trials, len(trials)):
            if trial is against:
                continue
            tally.trials += 1
            tally.steps += trial.curve[-1].step
            if not _watched(trial, against, history, options, tally):
                history.put(trial)
                best = min(best, trial, key=final)
                against = best if moving else against
        tally.lost.append(final(best) - min(map(final, trials)))
    return tally


def _watched(
    trial: Trial, best: Trial, history: History, options: EarlyStopping, tally: Tally
) -> bool:
    """Whether the trial is stopped at one of its evaluations."""
    for seen in range(1, len(trial.curve)):
        so_far = replace(trial, state="running", curve=trial.curve[:seen], end=None)
        stopped = options.verdict(so_far, best.config_id, history, OBJECTIVE)
        if stopped is not None and stopped.predicted is not None:
            tally.stopped += 1
            tally.saved += trial.curve[-1].step - so_far.curve[-1].step
            tally.wrong += final(trial) < final(best)
            tally.errors.append(stopped.predicted - final(trial))
            assert stopped.least is not None
            tally.below += final(trial) < stopped.least
            return True
    return False


def line(name: str, confidence: float, tally: Tally) -> str:
    """One row of the table."""
    off = math.sqrt(fmean(error**2 for error in tally.errors)) if tally.errors else math.nan
    saved, stopped = tally.saved / tally.steps, tally.stopped / tally.trials
    return (
        f"{name:12} {confidence:10} {saved:8.1%} {stopped:9.1%} "
        f"{tally.wrong / max(tally.stopped, 1):8.2%} {fmean(tally.lost):13.4f} {off:18.4f} "
        f"{tally.below / max(tally.stopped, 1):14.1%}"
    )


def make(folder: Path) -> int:
    """Write the file of curves from a finished study; returns how many there are."""
    study = Study.read(folder / "study.db")
    whole = [trial for trial in study.history if trial.state == "finished"]
    study.close()
    steps = [point.step for point in whole[0].curve]
    losses = [[round(point.val_loss, 5) for point in trial.curve] for trial in whole]
    rows = ",\n".join(json.dumps(row) for row in losses)
    command = "nice python -m search.run benchmarks/curves.yaml"
    text = f'{{"command": "{command}",\n"steps": {steps},\n"losses": [\n{rows}\n]}}\n'
    CURVES.write_text(text, encoding="utf-8")
    return len(losses)


def main() -> int:
    """Replay the curves and tell whether the bar is met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer orders; keeps no result")
    parser.add_argument("--make", type=Path, metavar="STUDY", help="write curves.json and end")
    options = parser.parse_args()
    if options.make:
        print(f"{make(options.make)} curves in {CURVES}")
        return 0
    trials = recorded()
    orders = 5 if options.quick else 50
    tallies = {
        (name, level): replay(trials, level, orders, name == "best so far")
        for name in ("best so far", "incumbent")
        for level in CONFIDENCES
    }
    advised = [tally for (_, level), tally in tallies.items() if level == ADVISED]
    saved = min(tally.saved / tally.steps for tally in advised)
    wrong = max(tally.wrong / max(tally.stopped, 1) for tally in advised)
    lines = [
        f"{len(trials)} curves in {orders} orders",
        "against      confidence    saved   stopped    wrong     best lost    off by, nats    "
        "below bound",
        *(line(name, level, tally) for (name, level), tally in tallies.items()),
        f"at {ADVISED}, the worse of both: {saved:.0%} of all steps saved (bar {SAVED:.0%}), "
        f"{wrong:.1%} of the stops wrong (bar {WRONG:.0%})",
    ]
    text = "\n".join(lines)
    print(text)
    if not options.quick:
        RESULT.write_text(f"python -m benchmarks.early_stopping\n\n{text}\n", encoding="utf-8")
    return int(saved < SAVED or wrong > WRONG)


if __name__ == "__main__":
    sys.exit(main())
