"""What a trial does between its first step and its end."""

import math
import os
import signal

import pytest
import torch

from spec.errors import InputError
from spec.records import Eval, Reader
from tests.trainer.trials import (
    end_of,
    evals_of,
    run_trial,
    start_of,
    state_of,
    toy_data,
    trial_config,
    weights_of,
)
from trainer.batches import Sampler
from trainer.config import TrainerConfig
from trainer.facts import Facts, planned_steps
from trainer.loop import Training
from trainer.runtime import Clock

__all__ = ["toy_data"]

pytestmark = pytest.mark.usefixtures("toy_data")

DROPOUT = {"model": {"n_layer": 1, "n_embd": 16, "block_size": 8, "block": {"dropout": 0.2}}}
UNTIMED = {"train_seconds", "cpu_seconds"}


def content(records):
    return [record.model_dump(exclude=UNTIMED) for record in evals_of(records)]


@pytest.fixture
def terminate_at(monkeypatch):
    """Sends this process SIGTERM while a given step is under way."""

    def arrange(step):
        original = Sampler.batches

        def batches(self, now, *arguments):
            if now == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(self, now, *arguments)

        monkeypatch.setattr(Sampler, "batches", batches)
        return lambda: monkeypatch.setattr(Sampler, "batches", original)

    return arrange


def test_a_trial_writes_a_start_its_evaluations_and_an_end(tmp_path):
    records = run_trial(tmp_path / "a")
    start, end = start_of(records), end_of(records)
    assert (start.protocol, start.device, start.seed, start.threads) == (1, "cpu", 1337, 1)
    assert start.parameters == start.inventory["parameters"]
    assert start.inventory["planned_steps"] == 12
    assert [record.step for record in evals_of(records)] == [4, 8, 12]
    assert [record.tokens for record in evals_of(records)] == [128, 256, 384]
    assert end.status == "completed"
    assert (end.peak_memory_bytes or 0) > 0
    assert (end.step_ms or 0) > 0
    assert len(records) == 5


def test_evaluations_tell_loss_bits_and_time(tmp_path):
    evaluations = evals_of(run_trial(tmp_path / "a"))
    times = [record.train_seconds for record in evaluations]
    assert times == sorted(times)
    for record in evaluations:
        assert record.val_bpb == pytest.approx(record.val_loss / math.log(2) / 2.0)
        assert record.cpu_seconds
        assert record.train_loss
        assert 1.0 < record.train_loss < 3.0


def test_training_lowers_the_loss_and_the_end_names_the_best(tmp_path):
    records = run_trial(tmp_path / "a", max_steps=120, evaluation={"interval": 20})
    losses = {record.step: record.val_loss for record in evals_of(records)}
    best = min(losses, key=losses.__getitem__)
    assert losses[120] < 1.0 < losses[20]
    assert (end_of(records).best_step, end_of(records).best_val_loss) == (best, losses[best])


def test_the_last_step_is_evaluated_even_off_the_interval(tmp_path):
    records = run_trial(tmp_path / "a", "--max-steps", "6")
    assert [record.step for record in evals_of(records)] == [4, 6]


@pytest.mark.parametrize("changes", [{}, DROPOUT, {"optimizer": "muon"}, {"dtype": "bfloat16"}])
def test_one_seed_gives_one_result_byte_by_byte(tmp_path, changes):
    one, two = (run_trial(tmp_path / name, **changes) for name in "ab")
    assert content(one) == content(two)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")


def test_another_seed_gives_another_result(tmp_path):
    one, two = (run_trial(tmp_path / seed, "--seed", seed) for seed in "12")
    assert content(one) != content(two)


@pytest.mark.parametrize("step", range(12))
def test_a_trial_stopped_at_any_step_and_resumed_ends_the_same(tmp_path, terminate_at, step):
    whole = run_trial(tmp_path / "whole", **DROPOUT)
    stop_terminating = terminate_at(step)
    stopped = run_trial(tmp_path / "parts", **DROPOUT)
    assert end_of(stopped).status == "stopped"
    assert state_of(tmp_path / "parts")["progress"]["step"] == step + 1
    stop_terminating()
    resumed = run_trial(tmp_path / "parts", "--resume", **DROPOUT)
    assert content(resumed) == content(whole)
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")
    assert [type(record) for record in resumed] == [type(record) for record in whole]
    assert end_of(resumed).status == "completed"


@pytest.mark.parametrize("changes", [{"optimizer": "muon"}, {"dtype": "float16"}])
def test_every_optimizer_and_loss_scaling_resume_exactly(tmp_path, terminate_at, changes):
    run_trial(tmp_path / "whole", **changes)
    stop_terminating = terminate_at(6)
    run_trial(tmp_path / "parts", **changes)
    stop_terminating()
    run_trial(tmp_path / "parts", "--resume", **changes)
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")


def test_a_trial_stopped_before_its_first_step_is_a_trial(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_warm_up", lambda self: os.kill(os.getpid(), signal.SIGTERM))
        stopped = run_trial(tmp_path / "a")
    assert [record.event for record in stopped] == ["start", "end"]
    resumed = run_trial(tmp_path / "a", "--resume")
    assert content(resumed) == content(run_trial(tmp_path / "b"))
    assert [record.event for record in resumed] == ["start", "eval", "eval", "eval", "end"]


def test_training_time_continues_on_resume(tmp_path, terminate_at):
    stop_terminating = terminate_at(5)
    run_trial(tmp_path / "a")
    stop_terminating()
    before = state_of(tmp_path / "a")["progress"]
    evaluation = evals_of(run_trial(tmp_path / "a", "--resume"))[1]
    assert evaluation.train_seconds > before["train_seconds"] > 0
    assert (evaluation.cpu_seconds or 0) > before["cpu_seconds"] > 0


def test_resuming_drops_records_that_came_after_the_checkpoint(tmp_path, terminate_at):
    stop_terminating = terminate_at(5)
    run_trial(tmp_path / "a")
    stop_terminating()
    late = Eval(step=8, train_seconds=1.0, val_loss=9.0).model_dump_json()
    with (tmp_path / "a" / "metrics.jsonl").open("a") as stream:
        stream.write(late + "\n" + '{"event": "ev')
    records = run_trial(tmp_path / "a", "--resume")
    assert [record.step for record in evals_of(records)] == [4, 8, 12]
    assert all(record.val_loss < 9 for record in evals_of(records))


def test_resuming_without_a_checkpoint_begins_anew(tmp_path):
    run_trial(tmp_path / "a", "--checkpoints", "none")
    records = run_trial(tmp_path / "a", "--resume", "--checkpoints", "none")
    assert [record.step for record in evals_of(records)] == [4, 8, 12]
    assert len(records) == 5


def test_resuming_a_finished_trial_changes_nothing(tmp_path):
    one = run_trial(tmp_path / "a")
    two = run_trial(tmp_path / "a", "--resume")
    assert one[:-1] == two[:-1]
    assert end_of(two).status == "completed"


@pytest.mark.parametrize("flag", ["--max-steps=7", "--max-tokens=255"])
def test_a_budget_of_steps_or_tokens_moves_the_horizon(tmp_path, flag):
    records = run_trial(tmp_path / "a", flag)
    assert evals_of(records)[-1].step == start_of(records).inventory["planned_steps"] == 7
    run_trial(tmp_path / "b", max_steps=7)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")


def test_a_budget_of_seconds_stops_and_does_not_bend_the_schedule(tmp_path, terminate_at):
    long = {"max_steps": 100_000, "evaluation": {"interval": 100_000}}
    records = run_trial(tmp_path / "a", "--max-seconds", "0.05", **long)
    (last,) = evals_of(records)
    assert end_of(records).status == "completed"
    assert last.train_seconds >= 0.05
    terminate_at(last.step - 1)
    run_trial(tmp_path / "b", **long)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")


def test_the_shortest_limit_is_the_horizon():
    config = TrainerConfig.model_validate(trial_config(max_steps=50, gradient_accumulation_steps=2))
    assert config.tokens_per_step == 64
    device = torch.device("cpu")
    assert planned_steps(config, Facts(1, device)) == 50
    assert planned_steps(config, Facts(1, device, max_steps=60)) == 50
    assert planned_steps(config, Facts(1, device, max_steps=30, max_tokens=64 * 20 + 63)) == 20
    with pytest.raises(InputError, match="--max-tokens 63: one step takes 64 tokens"):
        planned_steps(config, Facts(1, device, max_tokens=63))


@pytest.mark.parametrize("facts", [{"max_steps": 20}, {"max_tokens": 20 * 32}])
def test_a_budget_that_ends_in_the_warm_up_is_refused(facts):
    schedule = {"kind": "cosine", "warmup_steps": 20}
    config = TrainerConfig.model_validate(trial_config(max_steps=50, schedule=schedule))
    assert planned_steps(config, Facts(1, torch.device("cpu"), max_steps=21)) == 21
    with pytest.raises(InputError, match=r"allows 20 steps, and schedule\.warmup_steps 20 needs"):
        planned_steps(config, Facts(1, torch.device("cpu"), **facts))


def test_the_target_ends_the_trial_at_the_first_evaluation_that_reaches_it(tmp_path):
    whole = evals_of(run_trial(tmp_path / "a"))
    target = whole[1].val_loss
    assert whole[0].val_loss > target
    records = run_trial(tmp_path / "b", "--stop-at-loss", str(target))
    assert end_of(records).status == "target_reached"
    assert [record.step for record in evals_of(records)] == [4, 8]
    again = run_trial(tmp_path / "b", "--resume", "--stop-at-loss", str(target))
    assert again[:-1] == records[:-1]


def test_a_loss_that_is_no_number_ends_the_trial_as_diverged(tmp_path):  # behaviours 14
    optimizer = {"kind": "adamw", "learning_rate": 1e30, "weight_decay": 0.0}
    records = run_trial(
        tmp_path / "a", optimizer=optimizer, grad_clip=None, evaluation={"interval": 1000}
    )
    assert end_of(records).status == "diverged"
    assert not evals_of(records)
    assert not (tmp_path / "a" / "checkpoints").exists()


def test_two_halves_of_a_batch_train_like_the_whole(tmp_path):
    whole = evals_of(run_trial(tmp_path / "a"))
    halves = evals_of(run_trial(tmp_path / "b", batch_size=2, gradient_accumulation_steps=2))
    for one, two in zip(whole, halves, strict=True):
        assert one.tokens == two.tokens
        assert one.val_loss == pytest.approx(two.val_loss, abs=1e-4)
        assert one.train_loss == pytest.approx(two.train_loss, abs=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_trains_about_as_well(tmp_path, dtype):
    exact = evals_of(run_trial(tmp_path / "a"))[-1].val_loss
    records = run_trial(tmp_path / "b", dtype=dtype)
    assert start_of(records).kernel == dtype
    assert evals_of(records)[-1].val_loss == pytest.approx(exact, abs=0.05)


def noting(noted, method, counters):
    """A method that notes how many graphs were compiled before its call."""

    def noting_method(*arguments):
        noted.append(counters["stats"]["unique_graphs"])
        return method(*arguments)

    return noting_method


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler talks about itself
def test_a_compiled_model_trains_the_same_and_is_compiled_outside_the_clock(tmp_path, monkeypatch):
    from torch._dynamo.utils import counters

    compiled_so_far: list[int] = []
    for name in ("__enter__", "__exit__"):
        monkeypatch.setattr(Clock, name, noting(compiled_so_far, getattr(Clock, name), counters))
    plain = evals_of(run_trial(tmp_path / "a"))
    compiled = evals_of(run_trial(tmp_path / "b", compile=True))
    for one, two in zip(plain, compiled, strict=True):
        assert two.val_loss == pytest.approx(one.val_loss, abs=1e-3)
    assert compiled_so_far[-1] > 0
    assert compiled_so_far[::2] == compiled_so_far[1::2]


def test_without_a_limit_the_gradient_is_not_clipped(tmp_path):
    run_trial(tmp_path / "a", grad_clip=None)
    run_trial(tmp_path / "b", grad_clip=1e9)
    run_trial(tmp_path / "c", grad_clip=1e-3)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b") != weights_of(tmp_path / "c")


@pytest.mark.parametrize(
    ("keep", "kept"), [("all", {"best", "last"}), ("last", {"last"}), ("none", set())]
)
def test_checkpoints_are_kept_as_asked(tmp_path, keep, kept):
    run_trial(tmp_path / "a", "--checkpoints", keep)
    folder = tmp_path / "a" / "checkpoints"
    assert {path.name for path in folder.glob("*")} == kept


def test_the_best_checkpoint_is_of_the_best_evaluation(tmp_path):
    records = run_trial(tmp_path / "a", "--checkpoints", "all")
    assert state_of(tmp_path / "a", "best")["progress"]["step"] == end_of(records).best_step


def test_records_are_on_disk_before_they_are_reported(tmp_path, monkeypatch):
    seen = []
    file = tmp_path / "a" / "metrics.jsonl"
    monkeypatch.setattr("trainer.train._show", lambda record: seen.append(Reader(file).read()[-1]))
    records = run_trial(tmp_path / "a")
    assert seen == records
