"""Small trials for tests: data that a model can learn, a config, and ways to run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spec import yaml
from spec.config import Data
from spec.dataset import Chars, Meta
from spec.records import End, Eval, Reader, Record, Start
from trainer import train

VOCAB = 16


@pytest.fixture
def toy_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared data set named ``toy``: each token is mostly the last one plus one or two.

    Its letters have two bytes each.
    """
    random = np.random.default_rng(0)
    tokens = np.cumsum(1 + (random.random(1200) < 0.3)).astype("<u2") % VOCAB
    folder = tmp_path / "prepared" / "toy-chars"
    folder.mkdir(parents=True)
    tokens[:1000].tofile(folder / "train.bin")
    tokens[1000:].tofile(folder / "val.bin")
    meta = Meta(
        dataset="toy",
        tokenizer="chars",
        vocab_size=VOCAB,
        dtype="uint16",
        train_tokens=1000,
        val_tokens=200,
        train_bytes=2000,
        val_bytes=400,
        bytes_per_token=2.0,
        fingerprint="0" * 16,
        sources=(),
    )
    (folder / "meta.yaml").write_text(yaml.dump(meta.full()))
    letters = Chars(characters="".join(chr(0x3B1 + number) for number in range(VOCAB)))
    (folder / "tokenizer.json").write_text(json.dumps(letters.full()))
    monkeypatch.setenv("ESPALIER_DATA", str(folder.parent))
    monkeypatch.setenv("ESPALIER_KERNEL", "torch")  # a race may end differently in two processes
    return folder


def trial_config(**changes: Any) -> Data:
    """Twelve steps of a one-layer model, evaluated every four."""
    config = {
        "data": {"dataset": "toy", "tokenizer": "chars"},
        "model": {"n_layer": 1, "n_embd": 16, "block_size": 8},
        "batch_size": 4,
        "max_steps": 12,
        "optimizer": {"kind": "adamw", "learning_rate": 0.01},
        "evaluation": {"interval": 4, "tokens": 50},
    }
    return config | changes


def write_config(folder: Path, config: Data) -> Path:
    """Write a config where a trial looks for it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(yaml.dump(config))
    return file


def run_trial(out: Path, *flags: str, **changes: Any) -> list[Record]:
    """Run the command in this process; its records."""
    file = write_config(out, trial_config(**changes))
    argv = ["--config", str(file), "--out", str(out), "--device", "cpu", *flags]
    assert train.main(argv) == 0
    return Reader(out / "metrics.jsonl").read()


def start_of(records: list[Record]) -> Start:
    """The first record."""
    assert isinstance(records[0], Start)
    return records[0]


def evals_of(records: list[Record]) -> list[Eval]:
    """The evaluations."""
    return [record for record in records if isinstance(record, Eval)]


def end_of(records: list[Record]) -> End:
    """The last record."""
    assert isinstance(records[-1], End)
    return records[-1]


def state_of(out: Path, name: str = "last") -> dict[str, Any]:
    """What a checkpoint's ``state.json`` says."""
    return json.loads((out / "checkpoints" / name / "state.json").read_text())


def weights_of(out: Path, name: str = "last") -> bytes:
    """A checkpoint's model, byte by byte."""
    return (out / "checkpoints" / name / state_of(out, name)["files"]["model"]).read_bytes()
