"""What a step trains on and an evaluation reads."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec.errors import InputError
from trainer.batches import EvaluationSet, Sampler
from trainer.evaluate import bits_per_byte, mean_loss

CPU = torch.device("cpu")
TOKENS = np.arange(500, dtype=np.uint16)
MANY = np.arange(5000, dtype=np.uint16)


def sampler(seed=1, block_size=8, tokens=TOKENS):
    return Sampler(tokens, block_size, seed, CPU)


def rows(batches):
    return torch.cat([tokens for tokens, _ in batches]).tolist()


@given(seed=st.integers(0, 2**32), step=st.integers(0, 2**40))
def test_batches_depend_on_seed_and_step_alone(seed, step):
    one = sampler(seed)
    one.batches(0, 2, 3)
    assert rows(one.batches(step, 2, 3)) == rows(sampler(seed).batches(step, 2, 3))


def test_steps_and_seeds_differ():
    found = [rows(sampler(seed).batches(step, 1, 8)) for seed in (1, 2) for step in range(5)]
    assert len({str(batch) for batch in found}) == len(found)


def test_targets_are_the_tokens_that_follow():
    for tokens, targets in sampler().batches(3, 2, 4):
        assert tokens.shape == targets.shape == (4, 8)
        assert tokens.dtype == targets.dtype == torch.int64
        assert torch.equal(targets, tokens + 1)


def test_accumulated_batches_are_the_same_sequences_as_one_large_batch():
    assert rows(sampler().batches(5, 3, 4)) == rows(sampler().batches(5, 1, 12))


def test_every_window_can_be_drawn_and_none_beyond_the_end():
    drawn = sampler(tokens=TOKENS[:12]).batches(0, 1, 400)[0][1]
    assert set(drawn[:, -1].tolist()) == {8, 9, 10, 11}


def test_a_split_shorter_than_a_sequence_is_refused():
    with pytest.raises(InputError, match="has 8 tokens, and block_size 8 needs 9 or more"):
        sampler(tokens=TOKENS[:8])
    with pytest.raises(InputError, match="validation split has 1 tokens, and block_size 8 needs 9"):
        evaluation_set(tokens=TOKENS[:1])
    assert rows(sampler(tokens=TOKENS[:9]).batches(0, 1, 1)) == [list(range(8))]


def evaluation_set(limit=None, block_size=8, tokens=TOKENS):
    return EvaluationSet(tokens, limit, block_size, CPU)


def predicted(evaluated, rows):
    return [target for _, targets in evaluated.batches(rows) for target in targets.flatten()]


@given(
    limit=st.none() | st.integers(1, 6000), block_size=st.integers(1, 2000), count=st.integers(1, 9)
)
def test_an_evaluation_predicts_the_same_tokens_whatever_the_shape(limit, block_size, count):
    evaluated = evaluation_set(limit, block_size, MANY)
    targets = predicted(evaluated, count)
    assert targets == predicted(evaluation_set(limit, 8, MANY), 64)
    assert len(set(map(int, targets))) == len(targets) == min(limit or 4999, 4999)
    for tokens, following in evaluated.batches(count):
        assert torch.equal(following, tokens + 1)
        assert tokens.shape[0] <= count
        assert tokens.shape[1] <= block_size


def test_an_evaluation_of_all_reads_the_split_in_order():
    assert predicted(evaluation_set(), rows=3) == list(range(1, 500))


def test_an_evaluation_of_some_is_spread_over_the_split_in_equal_spans():
    targets = torch.stack(predicted(evaluation_set(2148, tokens=MANY), rows=4))
    joints = torch.nonzero(targets.diff() != 1).flatten() + 1
    assert joints.tolist() == [1024, 2048]
    assert targets[[0, *joints.tolist()]].tolist() == [1, 1975, 3949]


def test_bytes_are_counted_of_the_tokens_that_are_predicted():
    lengths = [1] * 2500 + [3] * 2500
    assert evaluation_set(1000, tokens=MANY).bytes_per_token(lengths) == 1.0
    assert evaluation_set(tokens=MANY).bytes_per_token(lengths) == pytest.approx(2, abs=1e-3)


@given(block_size=st.integers(1, 30), count=st.integers(1, 9))
def test_every_token_weighs_the_same_in_the_mean_loss(block_size, count):
    def loss(tokens, targets):
        return targets.float().mean()

    batches = evaluation_set(100, block_size).batches(count)
    assert mean_loss(loss, batches, torch.no_grad()) == pytest.approx(50.5)


def test_an_interrupted_evaluation_has_no_result():
    batches = evaluation_set(100).batches(2)
    assert mean_loss(lambda x, y: y.sum(), batches, torch.no_grad(), lambda: True) is None


def test_eight_bits_of_ignorance_about_a_byte_are_eight_bits_per_byte():
    assert bits_per_byte(np.log(256), bytes_per_token=1.0) == pytest.approx(8)
    assert bits_per_byte(np.log(256), bytes_per_token=4.0) == pytest.approx(2)
