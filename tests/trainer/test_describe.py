"""The describe command: files, and the server that a search keeps open."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spec.config import Data, identity
from trainer import describe
from trainer.components.mlp import Plain

SHORT: Data = {"model": {"n_layer": 2, "n_embd": 16, "block_size": 8, "vocab_size": 300}}


@pytest.fixture(autouse=True)
def _no_prepared_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_DATA", str(tmp_path / "prepared"))


def ask(*requests: Data | str) -> list[Data]:
    lines = [request if isinstance(request, str) else json.dumps(request) for request in requests]
    replies = io.StringIO()
    describe.serve(lines, replies)
    return [json.loads(line) for line in replies.getvalue().splitlines()]


def test_an_answer_is_the_full_form_its_id_its_costs_and_its_data() -> None:
    (found,) = ask({"config": SHORT})
    assert set(found) == {"config", "id", "inventory", "data"}
    assert len(found["config"]["model"]["layers"]) == 2
    assert found["id"] == identity(found["config"])
    assert found["inventory"]["parameters"] == sum(
        found["inventory"]["parameters_by_component"].values()
    )
    assert found["data"] == {"fingerprint": None}


def test_the_full_form_is_described_as_the_short_form_was() -> None:
    (first,) = ask({"config": SHORT})
    (second,) = ask({"config": first["config"]})
    assert first == second


def test_a_refused_config_is_answered_by_its_problems() -> None:
    (found,) = ask({"config": {"model": {**SHORT["model"], "n_embd": 18}}})
    (problem,) = found["error"]["problems"]
    assert problem["path"] == "model.block.attention.n_head"
    assert "n_head 4 does not divide n_embd 18" in problem["message"]


@pytest.mark.parametrize(
    "line", ["", "garbage", "[]", "3", '{"conf": {}}', '{"config": 3}', "\ufffd\x00", "{"]
)
def test_a_line_that_is_no_request_is_answered_and_the_next_one_too(line: str) -> None:
    bad, good = ask(line, {"config": SHORT})
    assert bad["error"]["problems"][0]["message"]
    assert good["id"]


def test_a_bug_in_a_component_is_an_answer_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Plain, n_embd: int) -> None:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(Plain, "build", broken)
    (found,) = ask(
        {"config": {"model": {**SHORT["model"], "n_embd": 8, "block": {"mlp": {"kind": "mlp"}}}}}
    )
    assert found["error"]["problems"] == [{"path": "", "message": "RuntimeError: no kernel"}]


def test_files_are_described_one_line_each_and_a_bad_one_fails_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("model: {n_layer: 1, vocab_size: 9}")
    bad.write_text("model: {n_layer: 1, vocab_size: 9}\nbatchsize: 3")
    assert describe.main([str(good)]) == 0
    assert describe.main([str(bad), str(good), str(tmp_path / "none.yaml")]) == 2
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["id" in found for found in answers] == [True, False, True, False]
    (problem,) = answers[1]["error"]["problems"]
    assert problem["message"] == "unknown key 'batchsize'; did you mean 'batch_size'?"
    assert problem["place"] == f"{bad}:2:1"


def test_the_server_prepares_data_speaks_only_answers_and_ends_with_its_input(
    tmp_path: Path, repository: Path
) -> None:
    text = tmp_path / "poem.txt"
    text.write_text("so much depends upon a red wheel barrow\n" * 200)
    data = {"dataset": str(text), "tokenizer": "bytes"}
    asked: Data = {"model": {"n_layer": 1, "n_embd": 16, "block_size": 8}, "data": data}
    small = {**asked, "model": {**asked["model"], "vocab_size": 10}}
    lines = [json.dumps({"config": asked}), "garbage", json.dumps({"config": small})]
    ended = subprocess.run(
        [sys.executable, "-m", "trainer.describe"],
        input="\n".join(lines).encode() + b"\n\xff\xfe",
        capture_output=True,
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=120,
    )
    good, garbage, cut, binary = (json.loads(line) for line in ended.stdout.splitlines())
    assert good["config"]["model"]["vocab_size"] == 256
    assert len(good["data"]["fingerprint"]) == 16
    assert "not JSON" in garbage["error"]["problems"][0]["message"]
    assert "vocab_size 10 is less than the 256" in cut["error"]["problems"][0]["message"]
    assert "not JSON" in binary["error"]["problems"][0]["message"]


def test_the_fingerprint_is_of_the_text_as_it_is_now(tmp_path: Path) -> None:
    text, found = tmp_path / "poem.txt", []
    for line in ("so much depends\n", "upon\n", "upon\n"):
        text.write_text(line * 100)
        data = {"dataset": str(text), "tokenizer": "bytes"}
        (answer,) = ask({"config": {"model": {"n_layer": 1}, "data": data}})
        assert ask({"config": answer["config"]}) == [answer]
        found.append(answer["data"]["fingerprint"])
    assert found[0] != found[1] == found[2]
