"""A checkpoint is all there or not there, and holds data only."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from spec.errors import InputError
from tests.trainer.trials import trial_config
from trainer import checkpoint
from trainer.checkpoint import Checkpoint, Progress
from trainer.config import TrainerConfig


def some_checkpoint(step=3):
    return Checkpoint(
        config=TrainerConfig.model_validate(trial_config()),
        seed=1,
        progress=Progress(step=step, train_seconds=0.1 + 0.2, best_val_loss=1 / 3, best_step=2),
        kernel="torch",
        model={"a.weight": torch.randn(3, 2), "b": torch.tensor(float(step))},
        optimizer={"a.weight.first": torch.zeros(3, 2)},
        scaler={"scale": 65536.0},
    )


def same(one, two):
    tensors = ("model", "optimizer")
    for name in tensors:
        ours, theirs = getattr(one, name), getattr(two, name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    plain: dict[str, Any] = {name: {} for name in tensors}
    assert dataclasses.replace(one, **plain) == dataclasses.replace(two, **plain)


def test_what_is_saved_is_loaded_to_the_last_bit(tmp_path):
    saved = some_checkpoint()
    checkpoint.save(tmp_path / "last", saved)
    same(checkpoint.load(tmp_path / "last", optimizer=True), saved)


def test_the_optimizer_is_read_only_when_asked_for(tmp_path):
    checkpoint.save(tmp_path, some_checkpoint())
    assert checkpoint.load(tmp_path).optimizer == {}


def test_a_new_checkpoint_replaces_the_old_one(tmp_path):
    checkpoint.save(tmp_path, some_checkpoint(3))
    checkpoint.save(tmp_path, some_checkpoint(4))
    assert checkpoint.load(tmp_path).progress.step == 4
    names = {"model-4.safetensors", "optimizer-4.safetensors", "state.json"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("survivors", range(3))
def test_a_save_that_dies_half_way_leaves_the_old_checkpoint(tmp_path, monkeypatch, survivors):
    old = some_checkpoint(3)
    checkpoint.save(tmp_path, old)
    done: list[Path] = []
    original = Path.replace

    def replace(self, target):
        if len(done) == survivors:
            raise KeyboardInterrupt
        done.append(target)
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, some_checkpoint(4))
    same(checkpoint.load(tmp_path, optimizer=True), old)
    monkeypatch.undo()
    checkpoint.save(tmp_path, some_checkpoint(5))
    assert len(list(tmp_path.iterdir())) == 3


def test_there_are_only_safetensors_and_json(tmp_path):
    checkpoint.save(tmp_path, some_checkpoint())
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}
    json.loads((tmp_path / "state.json").read_text())


def test_a_missing_checkpoint_is_named(tmp_path):
    assert not checkpoint.exists(tmp_path)
    with pytest.raises(InputError, match="no checkpoint; give a folder such as"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("state.json", "{"),
        ("state.json", '{"format": 99}'),
        ("state.json", '{"format": 1}'),
        ("model-3.safetensors", "nonsense"),
    ],
)
def test_a_damaged_checkpoint_is_explained(tmp_path, file, content):
    checkpoint.save(tmp_path, some_checkpoint())
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=str(tmp_path)):
        checkpoint.load(tmp_path)
