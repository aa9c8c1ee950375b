"""How fast the trainer is on one CPU core, beside karpathy/nanoGPT on the same model and data.

    python -m benchmarks.trainer_speed --nanogpt DIR --text FILE [--quick]

DIR is a checkout of nanoGPT, FILE a text such as tinyshakespeare. Both trainers take turns in fresh
processes of one thread. Two ratios of step times are taken, of the fastest turn of each and the
median over the turns; the figure is the smaller one, so that other work on the machine cannot
flatter it.

nanoGPT computes in float32 on a CPU; our float32 and our bfloat16 are both measured, and one counts
only when its validation loss after the same tokens is nanoGPT's within the noise of seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from spec import yaml
from spec.dataset import prepared_folder
from spec.records import End, Eval, Reader
from trainer.components import linear
from trainer.components.linear import Kernel

BAR = 1.6  # times nanoGPT's tokens per second
SAME_LOSS = 0.04  # nats; seeds of either trainer differ by about half of it this early in training
DTYPES = ("float32", "bfloat16")
RESULT = Path(__file__).parent / "results" / "trainer_speed.yaml"

SHAPE = {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "batch_size": 12}
LEARNING_RATE, BETA2, WARMUP = 1e-3, 0.99, 100
NANOGPT_OPTIONS = {
    **SHAPE,
    "device": "cpu",
    "compile": False,
    "dtype": "float32",
    "dropout": 0.0,
    "learning_rate": LEARNING_RATE,
    "min_lr": LEARNING_RATE / 10,
    "beta2": BETA2,
    "warmup_iters": WARMUP,
    "gradient_accumulation_steps": 1,
    "log_interval": 1,
    "dataset": "text",
    "out_dir": "out",
}


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        turns: Times each trainer has its turn.
        steps: Steps of one turn.
        loss_steps: Steps after which losses are compared; 0 leaves that out.
        loss_seeds: Seeds of ours whose losses are averaged.
    """

    turns: int
    steps: int
    loss_steps: int
    loss_seeds: int


FULL = Plan(turns=5, steps=60, loss_steps=300, loss_seeds=2)
QUICK = Plan(turns=2, steps=25, loss_steps=0, loss_seeds=0)


@dataclass(frozen=True)
class Run:
    """One training: its median step in milliseconds and its last validation loss."""

    step_ms: float
    val_loss: float


class Bench:
    """Both trainers on one text, in a folder of its own.

    Args:
        folder: Emptied by the caller.
        nanogpt: Checkout of karpathy/nanoGPT.
        text: File both train on.
    """

    def __init__(self, folder: Path, nanogpt: Path, text: Path) -> None:
        self._folder, self._nanogpt, self._text = folder, nanogpt.resolve(), text.resolve()
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", "ESPALIER_DATA": str(folder)}
        os.environ["ESPALIER_DATA"] = str(folder)

    def prepare(self) -> None:
        """Give both trainers the same tokens."""
        self._call([sys.executable, "-m", "data.prepare", str(self._text), "--tokenizer", "chars"])
        source, target = prepared_folder(str(self._text), "chars"), self._folder / "data" / "text"
        target.mkdir(parents=True)
        for split in ("train.bin", "val.bin"):
            shutil.copy(source / split, target / split)
        vocab_size = int(re.findall(r"vocab_size: (\d+)", (source / "meta.yaml").read_text())[0])
        (target / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": vocab_size}))
        shutil.copy(self._nanogpt / "configurator.py", self._folder)  # read from the current folder

    def theirs(self, steps: int, evaluations: int = 1) -> Run:
        """Train with nanoGPT; ``evaluations`` random batches give its loss."""
        options = NANOGPT_OPTIONS | {
            "max_iters": steps,
            "lr_decay_iters": steps,
            "eval_interval": steps,
            "eval_iters": evaluations,
        }
        flags = [f"--{key}={value}" for key, value in options.items()]
        output = self._call([sys.executable, str(self._nanogpt / "train.py"), *flags], self._folder)
        times = [float(found) for found in re.findall(r"iter \d+: loss .* time ([\d.]+)ms", output)]
        losses = re.findall(r"step \d+: .* val loss ([\d.]+)", output)
        # The first steps warm up; the last one's time includes the evaluation.
        return Run(statistics.median(times[5:-1]), float(losses[-1]))

    def ours(self, steps: int, dtype: str, seed: int = 1337, evaluation_tokens: int = 768) -> Run:
        """Train with Espalier."""
        config, out = self._folder / "config.yaml", self._folder / "trial"
        config.write_text(yaml.dump(self.config(steps, dtype, evaluation_tokens)))
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "trainer.train", "--config", config, "--out", out]
        options = ["--seed", str(seed), "--device", "cpu", "--checkpoints", "none"]
        self._call([*map(str, command), *options])
        records = Reader(out / "metrics.jsonl").read()
        (end,) = (record for record in records if isinstance(record, End))
        losses = [record.val_loss for record in records if isinstance(record, Eval)]
        assert end.step_ms is not None
        return Run(end.step_ms, losses[-1])

    def config(self, steps: int, dtype: str, evaluation_tokens: int) -> dict[str, Any]:
        """NanoGPT's model and training in our words."""
        attention = {"kind": "causal", "n_head": SHAPE["n_head"], "position": "none"}
        return {
            "data": {"dataset": str(self._text), "tokenizer": "chars"},
            "model": {
                "n_layer": SHAPE["n_layer"],
                "n_embd": SHAPE["n_embd"],
                "block_size": SHAPE["block_size"],
                "position": "learned",
                "block": {"norm": "layernorm", "attention": attention, "mlp": "mlp"},
                "norm": "layernorm",
            },
            "batch_size": SHAPE["batch_size"],
            "max_steps": steps,
            "dtype": dtype,
            "optimizer": {"kind": "adamw", "learning_rate": LEARNING_RATE, "beta2": BETA2},
            "schedule": {"kind": "cosine", "warmup_steps": min(WARMUP, steps - 1)},
            "evaluation": {"interval": steps, "tokens": evaluation_tokens},
        }

    def flops_per_token(self) -> float:
        """Of a training step: the backward pass costs two forward passes."""
        line = json.dumps({"config": self.config(1, "float32", 1)}) + "\n"
        answer = json.loads(self._call([sys.executable, "-m", "trainer.describe"], said=line))
        return 3 * float(answer["inventory"]["flops_per_token"])

    def _call(self, command: list[str], folder: Path | None = None, said: str = "") -> str:
        result = subprocess.run(
            command,
            cwd=folder,
            env=self._environment,
            input=said,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise SystemExit(f"{shlex.join(command)} failed:\n{result.stdout}{result.stderr}")
        return result.stdout


def measure(bench: Bench, plan: Plan) -> dict[str, Any]:
    """Take turns, then compare losses; everything a reader needs to judge the figure."""
    tokens = SHAPE["batch_size"] * SHAPE["block_size"]
    turns = []
    for turn in range(plan.turns):
        times = {"nanogpt": bench.theirs(plan.steps).step_ms}
        times |= {dtype: bench.ours(plan.steps, dtype).step_ms for dtype in DTYPES}
        turns.append(times)
        print(f"turn {turn + 1}: " + ", ".join(f"{who} {ms:.1f} ms" for who, ms in times.items()))
    peak, flops = peak_flops(), bench.flops_per_token()
    best = {who: tokens * 1000 / min(turn[who] for turn in turns) for who in turns[0]}
    return {
        "step_ms": {who: [round(turn[who], 2) for turn in turns] for who in turns[0]},
        "tokens_per_second": {who: round(rate) for who, rate in best.items()},
        "speedup": {dtype: min(_speedups(turns, dtype).values()) for dtype in DTYPES},
        "speedups": {dtype: _speedups(turns, dtype) for dtype in DTYPES},
        "flops_per_token": flops,
        "peak_gflops": {kernel: round(rate / 1e9, 1) for kernel, rate in peak.items()},
        "share_of_float32_peak": {
            who: round(rate * flops / max(peak["torch"], peak["onednn"]), 3)
            for who, rate in best.items()
            if who != "bfloat16"
        },
        "val_loss": _losses(bench, plan) if plan.loss_steps else {},
    }


def _speedups(turns: list[dict[str, float]], dtype: str) -> dict[str, float]:
    fastest = [min(turn[who] for turn in turns) for who in ("nanogpt", dtype)]
    median = statistics.median(turn["nanogpt"] / turn[dtype] for turn in turns)
    return {"fastest": round(fastest[0] / fastest[1], 3), "median": round(median, 3)}


def _losses(bench: Bench, plan: Plan) -> dict[str, list[float]]:
    """Validation losses after the same tokens; nanoGPT knows one seed."""
    losses = {"nanogpt": [bench.theirs(plan.loss_steps, evaluations=200).val_loss]}
    for dtype in DTYPES:
        losses[dtype] = [
            round(bench.ours(plan.loss_steps, dtype, seed, 100_000).val_loss, 4)
            for seed in range(plan.loss_seeds)
        ]
    return losses


def peak_flops(size: int = 1024, repeats: int = 5) -> dict[str, float]:
    """Floating-point operations per second of one core, by kernel, on a large matrix product."""
    torch.set_num_threads(1)
    x, weight = torch.randn(size, size), torch.randn(size, size)

    def rate(product: Callable[[], object]) -> float:
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            product()
            seconds.append(time.perf_counter() - start)
        return 2 * size**3 / min(seconds)

    rates = {}
    for kernel in (Kernel.TORCH, Kernel.ONEDNN):
        linear.use(kernel)
        rates[str(kernel)] = rate(lambda: linear.linear(x, weight))
    half_x, half_weight = x.bfloat16(), weight.bfloat16()
    rates["bfloat16"] = rate(lambda: F.linear(half_x, half_weight))
    return rates


def passing(measured: dict[str, Any]) -> list[str]:
    """The dtypes that reach the bar with nanoGPT's loss, fastest first."""
    losses = measured["val_loss"]
    same = [
        dtype
        for dtype in DTYPES
        if not losses or abs(statistics.mean(losses[dtype]) - losses["nanogpt"][0]) <= SAME_LOSS
    ]
    fast = [dtype for dtype in same if measured["speedup"][dtype] >= BAR]
    return sorted(fast, key=lambda dtype: -measured["speedup"][dtype])


def main() -> int:
    """Run the command; 1 when the bar is missed."""
    arguments = _parser().parse_args()
    nanogpt, text = arguments.nanogpt, arguments.text
    if nanogpt is None or not (nanogpt / "train.py").is_file() or not (text and text.is_file()):
        print("skipped: needs --nanogpt DIR (a checkout of karpathy/nanoGPT) and --text FILE")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), nanogpt, text)
        bench.prepare()
        measured = measure(bench, QUICK if arguments.quick else FULL)
    print(json.dumps(measured, indent=1))
    if not arguments.quick:
        _write(measured)
    winners, speedup = passing(measured), measured["speedup"]
    shown = ", ".join(f"{dtype} {speedup[dtype]:.2f}x" for dtype in DTYPES)
    verdict = f"reached in {winners[0]}" if winners else "missed"
    print(f"trainer speed over nanoGPT on one core: {shown} (bar {BAR}x: {verdict})")
    return 0 if winners else 1


def _write(measured: dict[str, Any]) -> None:
    RESULT.parent.mkdir(exist_ok=True)
    about = {
        "command": "python -m benchmarks.trainer_speed --nanogpt DIR --text tinyshakespeare.txt",
        "cpu": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
    RESULT.write_text(yaml.dump(about | measured))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--nanogpt", type=Path, help="checkout of karpathy/nanoGPT")
    parser.add_argument("--text", type=Path, help="text file to train on")
    parser.add_argument("--quick", action="store_true", help="two short turns, no loss")
    return parser


if __name__ == "__main__":
    sys.exit(main())
