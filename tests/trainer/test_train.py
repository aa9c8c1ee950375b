"""The command that trains one trial, as another program meets it."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from spec.records import Eval, Reader
from tests.trainer.trials import (
    end_of,
    evals_of,
    run_trial,
    state_of,
    toy_data,
    trial_config,
    weights_of,
    write_config,
)
from trainer import train
from trainer.batches import fresh_meta
from trainer.config import DataConfig

__all__ = ["toy_data"]

pytestmark = pytest.mark.usefixtures("toy_data")


def command(out, *flags):
    config = str(out / "config.yaml")
    module = [sys.executable, "-m", "trainer.train"]
    return [*module, "--config", config, "--out", str(out), "--device", "cpu", *flags]


def wait_for_evaluation(out, seconds=60):
    reader, deadline = Reader(out / "metrics.jsonl"), time.monotonic() + seconds
    while not any(isinstance(record, Eval) for record in reader.read()):
        assert time.monotonic() < deadline, "no evaluation"
        time.sleep(0.02)


def test_signals_end_a_trial_with_a_checkpoint_a_record_and_status_0(tmp_path):
    out = tmp_path / "a"
    write_config(out, trial_config(max_steps=10**6))
    process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL)
    wait_for_evaluation(out)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    records = Reader(out / "metrics.jsonl").read()
    assert end_of(records).status == "stopped"
    assert weights_of(out)


def test_a_fresh_process_computes_what_this_one_does_without_loading_the_compiler(tmp_path):
    here = run_trial(tmp_path / "a")
    write_config(tmp_path / "b", trial_config())
    program = (
        "import json, sys; from trainer import train; status = train.main(sys.argv[1:]);"
        "print(json.dumps([status, 'torch._dynamo' in sys.modules, 'pandas' in sys.modules]))"
    )
    arguments = command(tmp_path / "b")[3:]
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout.splitlines()[-1]) == [0, False, False]
    there = Reader(tmp_path / "b" / "metrics.jsonl").read()
    assert [one.val_loss for one in evals_of(here)] == [one.val_loss for one in evals_of(there)]
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")


def fork_and_train(arguments, prepared, status):
    from trainer import preload

    # the server may be older than this test's settings
    os.environ |= {"ESPALIER_DATA": prepared, "ESPALIER_KERNEL": "torch"}
    status.value = preload.main(arguments)


def test_children_of_a_fork_server_train_the_same_on_any_number_of_threads(tmp_path):
    run_trial(tmp_path / "here")
    prepared = os.environ["ESPALIER_DATA"]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.preload"])
    for threads in ("1", "2"):
        out = tmp_path / threads
        write_config(out, trial_config())
        status = context.Value("i", -1)
        arguments = [*command(out)[3:], "--threads", threads]
        child = context.Process(target=fork_and_train, args=(arguments, prepared, status))
        child.start()
        child.join(60)
        assert (child.exitcode, status.value) == (0, 0)
    assert weights_of(tmp_path / "1") == weights_of(tmp_path / "here")


def test_the_last_line_tells_the_best_loss_to_four_digits(tmp_path, capsys):
    write_config(tmp_path / "a", trial_config())
    assert train.main(command(tmp_path / "a")[3:]) == 0
    end = end_of(Reader(tmp_path / "a" / "metrics.jsonl").read())
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"completed: best val {end.best_val_loss:.4f} at step {end.best_step}"


def test_a_folder_with_a_trial_is_not_overwritten(tmp_path, capsys):
    run_trial(tmp_path / "a")
    before = (tmp_path / "a" / "metrics.jsonl").read_bytes()
    assert train.main(command(tmp_path / "a")[3:]) == 2
    assert "there is a trial in this folder; write --resume" in capsys.readouterr().err
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == before


def test_a_trial_begins_anew_over_another_one_as_often_as_asked(tmp_path):
    whole = run_trial(tmp_path / "whole", "--checkpoints", "last")
    run_trial(tmp_path / "a", "--seed", "2", "--checkpoints", "all")
    for _ in range(2):
        records = run_trial(tmp_path / "a", "--overwrite")
        assert [type(record) for record in records] == [type(record) for record in whole]
        assert weights_of(tmp_path / "a") == weights_of(tmp_path / "whole")
        assert not (tmp_path / "a" / "checkpoints" / "best").exists()


def test_input_that_cannot_be_used_overwrites_nothing(tmp_path):
    run_trial(tmp_path / "a")
    before = weights_of(tmp_path / "a")
    assert train.main([*command(tmp_path / "a")[3:], "--overwrite", "--max-tokens", "1"]) == 2
    assert weights_of(tmp_path / "a") == before


def test_a_checkpoint_of_another_trial_is_refused(tmp_path, capsys):
    run_trial(tmp_path / "a")
    assert train.main([*command(tmp_path / "a")[3:], "--resume", "--seed", "2"]) == 2
    assert "a checkpoint of config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"max_stepz": 3}, "did you mean 'max_steps'"),
        ({"model": {"n_embd": 16, "n_layer": 1, "block_size": 1000}}, "1001 or more"),
        ({"data": {"dataset": "no_such", "tokenizer": "bytes"}}, "no_such"),
    ],
)
def test_input_that_cannot_be_used_is_explained_with_status_2(tmp_path, capsys, changes, complaint):
    write_config(tmp_path / "a", trial_config(**changes))
    assert train.main(command(tmp_path / "a")[3:]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "a" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--max-steps", "0"],
        ["--seed", "-1"],
        ["--max-seconds", "nan"],
        ["--threads", "no"],
        ["--overwrite", "--resume"],
    ],
)
def test_impossible_flags_are_refused(tmp_path, capsys, flags):
    with pytest.raises(SystemExit) as exit_:
        train.main([*command(tmp_path)[3:], *flags])
    assert exit_.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_missing_data_is_prepared_first(tmp_path, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 200)
    monkeypatch.setenv("ESPALIER_DATA", str(tmp_path / "fresh"))
    records = run_trial(tmp_path / "a", data={"dataset": str(text), "tokenizer": "chars"})
    assert end_of(records).status == "completed"
    assert os.listdir(tmp_path / "fresh")  # noqa: PTH208  # only whether there is anything


def test_a_changed_text_is_prepared_again(tmp_path, monkeypatch):
    text = tmp_path / "text.txt"
    monkeypatch.setenv("ESPALIER_DATA", str(tmp_path / "fresh"))
    data = {"dataset": str(text), "tokenizer": "chars"}
    for round_, alphabet in enumerate(("abc", "abcdef", "abcdef")):
        text.write_text(f"{alphabet}\n" * 400)
        run_trial(tmp_path / str(round_), data=data)
        model = state_of(tmp_path / str(round_))["config"]["model"]
        assert model["vocab_size"] == len(alphabet) + 1
        assert not fresh_meta(DataConfig(**data)).is_stale
