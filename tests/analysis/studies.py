"""Studies made by the real strategy in the real store, with trials computed, not trained."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.dimensions import point
from search.exploration import Exploration
from search.history import (
    INTERRUPTED,
    Decision,
    Description,
    Failure,
    History,
    Purpose,
    Request,
    Trial,
)
from search.objective import Budget
from search.session import begin
from search.strategies.base import Problem, Rejected, Run
from search.study import Study
from search.summary import Asked, Opened
from spec.config import Data, identity
from spec.records import End, Eval

BASELINE: Data = {
    "model": {
        "n_embd": 64,
        "layers": [
            {"norm": "rmsnorm", "attention": {"n_head": 4}, "mlp": {"hidden": 128}}
            for _ in range(2)
        ],
    },
    "optimizer": {"learning_rate": 0.004},
}
SPACE: Data = {
    "model.layers": {"duplicate": "each", "drop": "each", "max": 4},
    "model.layers[*].mlp.hidden": {"step": 64, "min": 64},
    "model.layers[:].norm": {"choices": ["rmsnorm", "layernorm"]},
    "model.layers[:].attention.n_head": {"choices": [2, 4, 5]},
    "model.n_embd": {"step": 32, "max": 256},
    "optimizer.learning_rate": {"scale": 1.5},
}


@dataclass(frozen=True)
class Outcome:
    """What a trial comes to."""

    curve: tuple[Eval, ...]
    failure: Failure | None = None


Train = Callable[[Request], Outcome]


def exploration(**changes: object) -> Exploration:
    asked = {
        "study": "toy",
        "baseline": BASELINE,
        "budget": {"max_steps": 400},
        "objective": {"gain": "val_loss", "target": 2.2, "limits": {"parameters": 130_000}},
        "space": SPACE,
        "strategy": {"kind": "greedy", "max_rounds": 4},
        "seeds": {"screen": 1, "max": 4, "confirm": 2},
    }
    return Exploration.model_validate({**asked, **changes})


def describe(configs: Sequence[Data]) -> list[Description | Rejected]:
    return [_describe(config) for config in configs]


def train(request: Request) -> Outcome:
    """A smooth loss with seed noise; wide layers run out of memory, high learning rates diverge."""
    config, noise = (
        request.description.config,
        random.Random(f"{request.description.config_id} {request.seed}"),
    )
    rate = config["optimizer"]["learning_rate"]
    if rate > 0.0085:
        points = tuple(_point(step, 5.5 + step / 60) for step in (50, 100))
        points += (_point(150, math.nan),)
        return Outcome(points, Failure("diverged", "the loss became nan at step 150"))
    if max(layer["mlp"]["hidden"] for layer in config["model"]["layers"]) > 250:
        return Outcome(
            (), Failure("gpu_memory", "out of GPU memory: wanted 2.1 GiB of <40> & more")
        )
    size = request.description.inventory["parameters"]
    final = 1.6 + 18.0 * size**-0.3 + 0.15 * math.log(rate / 0.006) ** 2
    final += 0.02 * (config["model"]["layers"][0]["norm"] == "layernorm")
    final += random.Random(request.seed).gauss(0, 0.01) + noise.gauss(0, 0.004)
    curve = [
        _point(s, final + 3.4 * math.exp(-s / 70) + noise.gauss(0, 0.003))
        for s in range(50, 401, 50)
    ]
    return Outcome(tuple(curve))


def grow(
    folder: Path, asked: Exploration | None = None, train: Train = train, most: int = 10_000
) -> Path:
    """A study as ``search.run`` would leave it, after so many trials at most."""
    asked = asked or exploration()
    study = started(folder, asked)
    baseline = _describe(dict(asked.baseline))
    assert isinstance(baseline, Description)
    problem = Problem(
        baseline, asked.space, asked.objective, asked.trial_budget, asked.seeds, "", describe
    )
    while (room := most - len(study.history)) > 0:
        proposal = asked.strategy.propose(problem, study.history)
        if isinstance(proposal, Decision):
            study.decide(proposal)
            if proposal.kind == "stop":
                break
            continue
        _run(study, proposal, train, room)
    study.close()
    return folder


def started(folder: Path, asked: Exploration) -> Study:
    """An empty study that has begun."""
    folder.mkdir(parents=True, exist_ok=True)
    study = Study.open(folder / "study.db", asked.study)
    baseline = _describe(dict(asked.baseline))
    assert isinstance(baseline, Description)
    begin(study, asked, baseline, "0123abcd")
    return study


def launch(study: Study, request: Request, slot: int = 0) -> int:
    """Record a trial as running."""
    number = len(study.history)
    folder = Path("/home/me/espalier/hp_searches/toy/trials") / f"{number:04d}"
    facts = {
        "command": ["python", "-m", "trainer.train", "--config", str(folder / "config.yaml"),
                    "--out", str(folder), "--seed", str(request.seed)],
        "cwd": "/home/me/espalier",
        "slot": f"cpu:{slot}",
        "device": "cpu",
    }  # fmt: skip
    return study.launch(request, point({}, request.description.config), facts).number


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> &lt;b&gt; %{x} ' \" </title>"


def messy(folder: Path) -> Path:
    """A study in its first round, with one of every unhappy trial and hostile texts."""
    asked = exploration()
    grow(folder, asked, most=8)
    study = Study.open(folder / "study.db", asked.study)
    setting = study.history[0].request
    config = {**setting.description.config, HOSTILE: HOSTILE}
    other = Description(config, identity(config), {})
    edit = {"path": HOSTILE, "op": "set", "value": HOSTILE, "move": HOSTILE}

    def again(seed: int) -> int:
        purpose = Purpose(0, HOSTILE, edit)
        request = Request(other, seed, setting.budget, purpose)
        return launch(study, request)

    measured = again(1337)
    study.add_facts(measured, {"slot": HOSTILE})
    study.report(measured, train(setting).curve)
    study.finish(measured, End(status="completed"), 2.0)
    failed = again(1338)
    study.report(failed, [_point(50, math.nan), _point(100, math.inf)])
    study.fail(failed, Failure("crashed", f"the log ended with {HOSTILE} \ud800 \x00"))
    study.fail(again(1339), Failure(INTERRUPTED, "ended with the search"))
    running = again(1340)
    study.report(running, [_point(50, 3.25)])
    again(1341)
    study.close()
    return folder


def crowded(count: int) -> Opened:
    """Many finished trials, in memory, twenty to a round."""
    asked = exploration()
    (baseline,) = describe([dict(asked.baseline)])
    assert isinstance(baseline, Description)
    random_ = random.Random(0)
    trials = []
    for number in range(count):
        config = {**baseline.config, "number": number}
        inventory = {**baseline.inventory, "parameters": 50_000 + random_.randrange(100_000)}
        edit = {"path": f"model.layers[{number}].mlp.hidden", "op": "set", "value": 1, "move": "+1"}
        request = Request(
            Description(config, identity(config), inventory), 1337, Budget(max_steps=400),
            Purpose(number // 20, "screen", edit if number else None),
        )  # fmt: skip
        loss = 2.0 + random_.random()
        curve = tuple(_point(step, loss + 50 / step) for step in range(20, 401, 20))
        facts = {"cwd": "/home/me", "slot": f"cpu:{number % 4}", "command": ["python"] * 12}
        trials.append(
            Trial(number, request, "finished", facts, curve, End(status="completed"), None,
                  1e9 + number, 1e9 + number + 4)
        )  # fmt: skip
    noted = Asked.model_validate(asked.model_dump(mode="json"))
    return Opened(noted, baseline, History(trials))


def _run(study: Study, run: Run, train: Train, room: int) -> None:
    """Run what was proposed, one after the other, on two slots."""
    for index, request in enumerate(run.requests[:room]):
        number = launch(study, request, index % 2)
        outcome = train(request)
        study.report(number, outcome.curve)
        if outcome.failure is not None:
            study.fail(number, outcome.failure)
        else:
            losses = [point.val_loss for point in outcome.curve]
            end = End(status="completed", best_val_loss=min(losses), step_ms=31.0,
                      peak_memory_bytes=3 * 10**8)  # fmt: skip
            study.finish(number, end, min(losses))


def _describe(config: Data) -> Description | Rejected:
    width, layers = config["model"]["n_embd"], config["model"]["layers"]
    heads = next(
        (x["attention"]["n_head"] for x in layers if width % x["attention"]["n_head"]), None
    )
    if heads:
        return Rejected(
            f"n_head {heads} does not divide n_embd {width}; set head_dim to decouple them"
        )
    parameters = 256 * width + sum(4 * width**2 + 2 * width * x["mlp"]["hidden"] for x in layers)
    inventory = {
        "parameters": parameters,
        "flops_per_token": 2 * parameters,
        "weight_bytes": 4 * parameters,
        "kv_bytes": 2 * 64 * width * len(layers) * 4,
    }
    return Description(config, identity(config), inventory)


def _point(step: int, value: float) -> Eval:
    return Eval(
        step=step,
        tokens=step * 512,
        train_seconds=step * 0.031,
        cpu_seconds=step * 0.03,
        val_loss=value,
        val_bpb=value / math.log(2),
        train_loss=value - 0.05,
    )
