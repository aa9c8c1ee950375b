"""``python -m search.convert``: a ``hyperparam_search.py`` command line becomes an exploration."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.command import guarded
from search.exploration import Exploration, load
from search.imported import SweepLog, import_log
from spec import yaml
from spec.config import Data
from spec.errors import InputError

LISTS = "_layerlist"
LENGTH = "max_iters"
COSTS = {"params": "parameters", "vram": "peak_memory", "iter": "step_ms"}
METRICS: list[Data] = [
    {
        "regex": [
            r"step (?P<step>\d+):, (?P<parameters>\d+), train loss (?P<train_loss>[^,]+),"
            r".* val loss (?P<val_loss>[^,]+),",
            r"iter \d+, (?P<step_ms>\S+) ms",
        ]
    },
    {
        "file": "checkpoints/best_val_loss_and_iter.txt",
        "columns": [None, None, "parameters", None, None, "peak_memory_bytes"],
        "scale": {"peak_memory_bytes": 2.0**20},
    },
]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of ``hyperparam_search.py`` and ours: where it is, and where to write."""
    parser = argparse.ArgumentParser(prog="python -m search.convert", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="exploration file to write")
    parser.add_argument("--cwd", default=".", help="folder of train.py")
    parser.add_argument("--python", default="python", help="interpreter that runs train.py")
    parser.add_argument("--out", type=Path, default=Path("hp_searches"), help="folder of studies")
    parser.add_argument("--orig_settings", type=Path, required=True)
    parser.add_argument("--param_names", nargs="+", required=True)
    parser.add_argument("--increments", nargs="+", type=float, required=True)
    parser.add_argument("--iterations", type=int, required=True)
    parser.add_argument("--num_iterations", type=int, default=1)
    parser.add_argument("--random_iterations", type=int, default=1)
    parser.add_argument("--results_file", type=Path, default=Path("sweep_log.yaml"))
    parser.add_argument("--spawn_subprocess", action="store_true")
    parser.add_argument("--override_cfg", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--max_iters_increase", type=int)
    parser.add_argument(
        "--nlayer_dup_mode", default="dup_middle", choices=["dup_middle", "dup_each"]
    )
    parser.add_argument("--efficiency_target", default="params", choices=list(COSTS))
    return parser.parse_args(words)


def exploration(options: argparse.Namespace, start: Data) -> Data:
    """The exploration that searches what the command line searched.

    Args:
        options: Its options.
        start: The config it starts from, as its own YAML has it.

    Raises:
        InputError: When increments and parameters do not match, or layer lists are uneven.
    """
    increments = options.increments
    if len(increments) == 1:
        increments = increments * len(options.param_names)
    if len(increments) != len(options.param_names):
        raise InputError(
            f"--increments has {len(increments)} values for {len(options.param_names)} names; "
            "give one, or one for each name"
        )
    seed = start.get("seed", 1337)
    most = max(3, options.random_iterations)
    made = {
        "trainer": _trainer(options),
        "baseline": layered(start),
        "objective": {"gain": "val_loss", "cost": COSTS[options.efficiency_target]},
        "space": _space(dict(zip(options.param_names, increments, strict=True)), start),
        "strategy": {"kind": "greedy", "max_rounds": options.num_iterations},
        "seeds": {"first": seed, "screen": options.random_iterations, "max": most, "confirm": 2},
    }
    return made if _fixed_length(options, start) else _raised(made, options.max_iters_increase)


def _raised(made: Data, increase: int) -> Data:
    """An exploration whose ``max_iters`` is the budget of a trial, raised once."""
    baseline = dict(made["baseline"])
    length = baseline.pop(LENGTH)
    more = {"raise_budget": {"factor": (length + increase) / length, "times": 1}}
    return made | {
        "trainer": made["trainer"] | {"budget": {"max_steps": LENGTH}},
        "baseline": baseline,
        "budget": {"max_steps": length},
        "strategy": made["strategy"] | more,
    }


def _fixed_length(options: argparse.Namespace, start: Data) -> str:
    """Why ``max_iters`` stays part of the config; empty when it becomes a budget that is raised."""
    increase, length = options.max_iters_increase, start.get(LENGTH)
    if increase is None:
        return "it was not asked for"
    if increase < 1 or not isinstance(length, int) or length < 1:
        return f"it takes an increase above 0 and a whole {LENGTH} in the settings"
    if LENGTH in options.param_names:
        return f"{LENGTH} is searched itself"
    return "the trials of a log keep their lengths" if options.results_file.is_file() else ""


def notes(options: argparse.Namespace, start: Data) -> list[str]:
    """What of the command line has another meaning here."""
    told = [
        "moves go both ways; a step counts when it is significant, and is confirmed on fresh seeds",
        "better and cheaper comes first; worse and cheaper is not taken",
    ]
    if options.iterations > 1:
        told.append(f"--iterations {options.iterations}: one increment a round; more rounds go on")
    if options.nlayer_dup_mode == "dup_middle":
        told.append("--nlayer_dup_mode dup_middle: every layer is tried, not the middle one alone")
    if options.max_iters_increase is not None:
        told.append(_length_note(options, start))
    return told


def _length_note(options: argparse.Namespace, start: Data) -> str:
    """What becomes of ``--max_iters_increase``."""
    asked = f"--max_iters_increase {options.max_iters_increase}"
    if why := _fixed_length(options, start):
        return (
            f"{asked}: not converted, {why}; when the search stops, raise baseline.{LENGTH} and "
            "begin another study"
        )
    longer = start[LENGTH] + options.max_iters_increase
    return (
        f"{asked}: {LENGTH} is the budget, raised once to {longer} when no neighbour is "
        "significant, and everything is measured again; strategy.raise_budget.times raises it "
        "more often, each time by the same factor"
    )


def layered(config: Data) -> Data:
    """A config of theirs as ours: lists per layer become layers; a trial's own facts go.

    Raises:
        InputError: When lists of layers have different lengths.
    """
    lists = {key: value for key, value in config.items() if _is_list(key, value)}
    private = {"seed", "out_dir", "device", *(key for key in config if str(key).startswith("_"))}
    plain = {k: v for k, v in config.items() if k not in private and k not in lists}
    if not lists:
        return plain
    depth = int(plain.pop("n_layer", len(next(iter(lists.values())))))
    for key, values in lists.items():
        if len(values) != depth:
            raise InputError(
                f"{key} has {len(values)} values for {depth} layers; give one for each layer"
            )
    names = {key: key.removesuffix(LISTS) for key in lists}
    layers = [{names[key]: lists[key][index] for key in lists} for index in range(depth)]
    return {**plain, "layers": layers}


def _is_list(key: str, value: Any) -> bool:
    return key.endswith(LISTS) and isinstance(value, list) and bool(value)


def _trainer(options: argparse.Namespace) -> Data:
    place = ["--device", "{device}", "--out_dir", "{out}/checkpoints", "--seed", "{seed}"]
    return {
        "command": [options.python, "train.py", "{args}", *place],
        "cwd": str(Path(options.cwd).resolve()),
        "env": {"COLUMNS": "400"},
        "args": {
            "style": "--{key} {value}",
            "booleans": "flag",  # as the ancestor writes them
            "lists": "joined",
            "columns": {"layers": {"count": "n_layer", "name": "{key}" + LISTS}},
        },
        "metrics": METRICS,
    }


def _space(increments: dict[str, float], start: Data) -> Data:
    listed = any(_is_list(key, value) for key, value in start.items())
    space: Data = {}
    for name, amount in increments.items():
        here = start.get(name)
        whole = int(amount) if float(amount).is_integer() else amount
        if name == "n_layer" and listed:
            space["layers"] = {"duplicate": "each"}
        elif _is_list(name, here):
            space[f"layers[*].{name.removesuffix(LISTS)}"] = {"step": whole, "min": whole}
        elif isinstance(here, int | float) and not isinstance(here, bool):
            space[name] = {"step": whole, "min": min(whole, here)}
        else:
            raise InputError(f"{name} is {here!r} in the settings; only numbers can be searched")
    return space


def overridden(config: Data, changes: Sequence[str]) -> Data:
    """A config with ``KEY=VALUE`` changes; values are Python literals, or else text.

    Raises:
        InputError: For a change without ``=``.
    """
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise InputError(f"--override_cfg {change!r} has no '='; write KEY=VALUE")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        config = {**config, key: value}
    return config


def convert(options: argparse.Namespace) -> list[str]:
    """Write the exploration, import the log where there is one, and say what was done.

    Raises:
        InputError: When something cannot be converted.
    """
    log = SweepLog.read(options.results_file) if options.results_file.is_file() else None
    settings = yaml.read(options.orig_settings).data
    start = overridden(settings, options.override_cfg) if log is None else log.start
    remarks = notes(options, start)
    text = "".join(f"# {line}\n" for line in ["From hyperparam_search.py:", *remarks])
    options.to.write_text(text + yaml.dump(exploration(options, start)), encoding="utf-8")
    told = [f"wrote {options.to}", *remarks]
    if log is not None:
        asked: Exploration = load(options.to)[0]
        count = import_log(log, asked, options.out / asked.study, layered)
        told.append(f"imported {count} single-seed measurements from {options.results_file}")
    return [*told, f"go on with: python -m search.run {options.to} --out {options.out}"]


def main() -> int:
    """The command."""
    options = arguments()

    def work() -> None:
        sys.stdout.write("\n".join(convert(options)) + "\n")

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
