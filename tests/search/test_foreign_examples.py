"""The ready examples under explorations/foreign: read, understood, run where their script is."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from math import log
from pathlib import Path
from types import SimpleNamespace

import pytest

from search.exploration import load
from search.summary import open_study
from search.trainers import Foreign
from search.trainers.environment import environment
from spec import yaml
from tests.search.test_foreign_readers import DONE, opened, points, write
from tests.search.test_run import run

FOREIGN = Path(__file__).parents[2] / "explorations" / "foreign"
PAGES = Path(__file__).parents[2] / "docs" / "07-foreign-trainers"

PRINTED = {
    "nanogpt": (
        "number of parameters: 0.01M\n"
        "num decayed parameter tensors: 6, with 15,392 parameters\n"
        "num non-decayed parameter tensors: 3, with 96 parameters\n"
        "step 0: train loss 4.1731, val loss 4.1767\n"
        "iter 0: loss 4.1662, time 29.70ms, mfu -100.00%\n"
        "step 20: train loss 4.1774, val loss 4.1703\n",
        [(0, 4.1767), (20, 4.1703)],
        {"parameters": 15392, "step_ms": 29.7, "train_loss": 4.1774},
    ),
    "reallmasic": (
        "step 0:, 15488, train loss 4.1855, train_stdev 0.0136, btc_val 9.94e-01, "
        "btc_val_per_param 6.42e-05, val loss 4.1803, val_stdev 0.0022, batch_size 8, lr 0.0010\n"
        "iter 10, 3.12 ms, 15488, loss 3.9086, epoch   0.00, tokens_trained 2.56e+03, mfu 0.00%\n"
        "step 10:, 15488, train loss 3.8603, train_stdev 0.0129, btc_val 1.36e+00, "
        "btc_val_per_param 8.76e-05, val loss 3.8698, val_stdev 0.0191, batch_size 8, lr 0.0010\n",
        [(0, 4.1803), (10, 3.8698)],
        {"parameters": 15488, "step_ms": 3.12, "train_loss": 3.8603},
    ),
    "nocap": (  # from the log of the run that NoCap-Test's own repository keeps
        "tokens per iteration: 524,288\n"
        "DataLoader: total number of tokens: 5,000,000,000 across 50 files\n"
        "compiling the model...\n"
        "step:0/4768 | val loss 10.967978\n"
        "step:0/4768 | loss 0.342625 | train_time:7.80s | step_avg:7803.76ms\n"
        "step:1/4768 | loss 0.338209 | train_time:11.95s | step_avg:5975.99ms\n"
        "step:4767/4768 | loss 0.105699 | train_time:19444.54s | step_avg:4078.13ms\n"
        "step:4768/4768 | val loss 3.382133\n"
        "peak memory consumption: 9829 MiB\n",
        [(0, 10.967978), (4768, 3.382133)],
        {
            "parameters": None,
            "step_ms": 5975.99,
            "train_loss": 0.105699,
            "train_seconds": 19444.54,
            "peak_memory_bytes": 9829 << 20,
        },
    ),
}


def understood(folder, name):
    """A trial's start, evaluations and end as the readers of an example see its files."""
    told = yaml.read(FOREIGN / f"{name}.yaml").data["trainer"]["metrics"]
    trial = opened(folder, *(told if isinstance(told, list) else [told]))
    start, *curve, end = trial.finish(DONE)
    return start, curve, end


@pytest.mark.parametrize("file", sorted(FOREIGN.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_ready_example_can_be_read(file):
    load(file)


@pytest.mark.parametrize("name", PRINTED)
def test_the_ready_examples_understand_what_their_scripts_print(tmp_path, name):
    output, curve, told = PRINTED[name]
    write(tmp_path, output)
    best = "3.66, 20, 15488, 1.6e+00, 1.0e-04, 7.5, 4.2,"
    (tmp_path / "checkpoints").mkdir()
    write(tmp_path, best, "checkpoints/best_val_loss_and_iter.txt")
    start, found, end = understood(tmp_path, name)
    assert points(found) == curve
    seen = {**found[-1].model_dump(), **end.model_dump(), "parameters": start.parameters}
    assert {key: seen[key] for key in told} == told


def test_the_tutorial_runs_as_its_page_says(tmp_path):
    page = (PAGES / "README.md").read_text()
    assert "python -m search.run explorations/foreign/tutorial.yaml" in page
    for block in re.findall(r"```(?:python|yaml)\n(.*?)```", page, re.DOTALL):
        known = [file.read_text() for file in FOREIGN.glob("tutorial.*")]
        assert any(block.strip() in text for text in known), block
    run(FOREIGN / "tutorial.yaml", tmp_path, "--max-trials", "3")
    assert [t.state for t in open_study(tmp_path / "tutorial").history] == ["finished"] * 3


# -- NoCap-Test ------------------------------------------------------------------------------------

NOCAP = Path(os.environ.get("ESPALIER_NOCAP", ""))
nocap = pytest.mark.skipif(
    "ESPALIER_NOCAP" not in os.environ, reason="ESPALIER_NOCAP names no checkout of NoCap-Test"
)


def trainer_of(name, *changes):
    exploration, _ = load(FOREIGN / f"{name}.yaml", changes)
    assert isinstance(exploration.trainer, Foreign)
    return exploration.trainer, exploration.baseline


def test_behind_torchrun_the_checksum_is_that_of_the_script(tmp_path):
    trainer, _ = trainer_of("nocap")
    (tmp_path / "train_gpt2.py").write_text("1")
    before, _ = environment(trainer.command, tmp_path)
    assert before["script"]["file"] == "train_gpt2.py"
    (tmp_path / "train_gpt2.py").write_text("2")
    after, _ = environment(trainer.command, tmp_path)
    assert after["script"]["sha256"] != before["script"]["sha256"]


@nocap
def test_nocaps_own_log_is_understood_to_its_last_line(tmp_path):
    (log_file,) = NOCAP.glob("wandb/*/files/output.log")
    text = log_file.read_text()
    write(tmp_path, text)
    _, curve, end = understood(tmp_path, "nocap")
    printed = re.findall(r"step:(\d+)/\d+ \| val loss ([\d.]+)", text)
    assert points(curve) == [(int(step), float(loss)) for step, loss in printed]
    assert (curve[-1].step, end.best_val_loss) == (4768, 3.382133)
    assert curve[-1].train_seconds == 19444.54


@nocap
def test_the_patterns_are_those_of_nocaps_script_as_it_is_now(tmp_path):
    source = (NOCAP / "train_gpt2.py").read_text()
    told = re.findall(r'print0\(\s*(f"(?:step:|peak memory)[^"]*")', source)
    names = {
        "step": 7,
        "args": SimpleNamespace(num_iterations=8),
        "approx_training_time_ms": 16000.0,
        "lossf": 0.5,
        "val_loss": log(2.0),
        "torch": SimpleNamespace(cuda=SimpleNamespace(max_memory_allocated=lambda: 5 << 20)),
    }
    assert len(told) == 3
    for line in sorted(told, key=lambda line: ("val loss" in line, "peak" in line)):
        write(tmp_path, f"{eval(line, names)}\n")
    _, (point,), end = understood(tmp_path, "nocap")
    assert (point.step, point.val_loss, point.train_seconds) == (7, 0.693147, 16.0)
    assert (end.step_ms, end.peak_memory_bytes) == (2000.0, 5 << 20)


@nocap
def test_nocaps_script_takes_the_command_line_as_far_as_its_own_assertion():
    trainer, baseline = trainer_of("nocap")
    command = trainer.argv(trainer.command, baseline, NOCAP, {"out": "/tmp"})
    begin = command.index("train_gpt2.py")
    done = subprocess.run(
        [sys.executable, *command[begin:]],
        cwd=NOCAP,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "for now i think we need CUDA for DDP" in done.stderr


# -- Hugging Face ----------------------------------------------------------------------------------

INTERPRETER = os.environ.get("ESPALIER_HUGGINGFACE", sys.executable)
"""A Python that has transformers; the search itself needs tensorboard."""


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None
    or (sys.executable == INTERPRETER and importlib.util.find_spec("transformers") is None),
    reason="needs tensorboard here and transformers here or in the Python of ESPALIER_HUGGINGFACE",
)
def test_a_hugging_face_trainer_is_searched_and_its_numbers_are_those_it_printed(tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question. " * 400)
    short = {
        "trainer.command[0]": INTERPRETER,
        "baseline.text": tmp_path / "text.txt",
        "baseline.eval_steps": 2,
        "baseline.logging_steps": 2,
        "baseline.n_embd": 32,
        "budget.max_steps": 4,
        "space": "{learning_rate: {scale: 2}}",
        "report": "false",
    }
    options = [word for key, value in short.items() for word in ("--set", f"{key}={value}")]
    run(FOREIGN / "huggingface.yaml", tmp_path, *options, "--workers", "1", "--max-trials", "2")
    for trial in open_study(tmp_path / "huggingface").history:
        assert trial.state == "finished", trial.failure
        assert trial.inventory["parameters"] > 0
        folder = tmp_path / f"huggingface/trials/{trial.number:04d}"
        printed = re.findall(r"'eval_loss': ([\d.]+)", (folder / "output.log").read_text())
        assert [p.val_loss for p in trial.curve] == pytest.approx([float(x) for x in printed])
        assert [p.step for p in trial.curve] == [2, 4]
