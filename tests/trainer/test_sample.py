"""Text from a checkpoint."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch

from spec.dataset import prepared_folder
from tests.trainer.models import VOCAB, build, model_config, some_tokens
from trainer import checkpoint, sample
from trainer.checkpoint import Checkpoint, Progress
from trainer.config import TrainerConfig
from trainer.sample import Draw, generate

PROMPT = [3, 1, 4]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of an untrained model over bytes, its vocabulary padded."""
    monkeypatch.setenv("ESPALIER_DATA", str(tmp_path / "prepared"))
    prepared = prepared_folder("pystdlib", "bytes")
    prepared.mkdir(parents=True)
    (prepared / "tokenizer.json").write_text('{"kind": "bytes"}')
    config = TrainerConfig(model=model_config(vocab_size=300))
    tensors = build(config.model).state_dict()
    checkpoint.save(tmp_path / "last", Checkpoint(config, 1, Progress(), "torch", tensors))
    return tmp_path / "last"


def run(folder: Path, *options: str) -> int:
    return sample.main(["--checkpoint", str(folder), "--tokens", "20", *options])


def test_the_text_continues_the_prompt_and_repeats_for_a_seed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--prompt", "def ", "--seed", "1") == 0
    assert run(folder, "--prompt", "def ", "--seed", "1") == 0
    assert run(folder, "--prompt", "def ", "--seed", "2") == 0
    first, second, other = capsys.readouterr().out.split("def ")[1:]
    assert first == second != other
    assert first


def test_temperature_zero_takes_the_likeliest_token_each_time() -> None:
    model = build(model_config())
    found = list(islice(generate(model, PROMPT, Draw(temperature=0)), 5))
    tokens = list(PROMPT)
    for _ in range(5):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert found == tokens[3:]
    assert found == list(islice(generate(model, PROMPT, Draw(top_k=1)), 5))


def test_draws_follow_the_models_own_distribution() -> None:
    logits, generator = torch.tensor([0.0, 1.0, -1.0]), torch.Generator().manual_seed(0)
    draws = torch.tensor([Draw(temperature=1.0)(logits, generator) for _ in range(4000)])
    found = draws.bincount(minlength=3) / len(draws)
    torch.testing.assert_close(found, logits.softmax(0), atol=0.03, rtol=0)


def test_a_text_may_outgrow_what_the_model_looks_back_on() -> None:
    model, prompt = build(model_config()), some_tokens(1, 30)[0].tolist()
    first, *rest = islice(generate(model, prompt, Draw(temperature=0)), 20)
    assert first == int(model(torch.tensor([prompt[-12:]]))[0, -1].argmax())
    assert len(rest) == 19


def test_padding_of_the_vocabulary_is_never_drawn() -> None:
    found = list(
        islice(generate(build(model_config()), PROMPT, Draw(temperature=50.0), vocab_size=5), 60)
    )
    assert set(found) == set(range(5)) < set(range(VOCAB))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", ""], "prompt '' has no tokens"),
        (["--checkpoint", "nowhere"], "nowhere: no checkpoint"),
    ],
)
def test_what_cannot_be_continued_is_refused(
    folder: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, *options) == 2
    assert message in capsys.readouterr().err
