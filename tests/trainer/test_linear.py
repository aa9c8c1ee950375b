"""Every kernel of the dense product computes what torch computes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from spec.errors import InputError
from trainer.components import linear
from trainer.components.linear import Kernel, Linear

TOLERANCE = {Kernel.TORCH: 0.0, Kernel.ONEDNN: 1e-5, Kernel.BFLOAT16: 2e-2, Kernel.FLOAT16: 3e-3}
sizes = st.integers(1, 40)
every_kernel = pytest.mark.parametrize("kernel", Kernel)


@pytest.fixture(autouse=True)
def kernel_afterwards():
    before = linear.kernel()
    yield
    linear.use(before)


def results(function, x, weight, bias):
    """The product, and the gradients of some function of it."""
    inputs = [part.clone().requires_grad_() for part in (x, weight, bias) if part is not None]
    out = function(*inputs)
    ramp = torch.linspace(-1, 1, out.numel()).view(out.shape)
    (out * ramp).sum().backward()
    return [out.detach(), *(part.grad for part in inputs)]


def agree(found, expected, tolerance):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        scale = 1 + theirs.abs().max()
        assert ((ours - theirs).abs().max() <= tolerance * scale).item()


@every_kernel
@given(leading=st.lists(st.integers(1, 4), min_size=1, max_size=3), n=sizes, m=sizes, bias=...)
def test_product_and_gradients_are_torchs(kernel, leading, n, m, bias: bool):
    random = torch.Generator().manual_seed(n * 100 + m)
    x = torch.randn(*leading, n, generator=random)
    weight = torch.randn(m, n, generator=random)
    offset = torch.randn(m, generator=random) if bias else None
    linear.use(kernel)
    agree(
        results(linear.linear, x, weight, offset),
        results(F.linear, x, weight, offset),
        TOLERANCE[kernel],
    )


@every_kernel
def test_a_result_kept_in_half_precision_feeds_the_next_product(kernel):
    def two_layers(x, first, second, *, keep_half):
        return linear.linear(linear.linear(x, first, keep_half=keep_half).relu(), second)

    inputs = torch.randn(5, 8), torch.randn(6, 8), torch.randn(3, 6)
    expected = results(lambda *given: two_layers(*given, keep_half=False), *inputs)
    linear.use(kernel)
    agree(
        results(lambda *given: two_layers(*given, keep_half=True), *inputs),
        expected,
        3 * TOLERANCE[kernel],
    )


@every_kernel
def test_inputs_in_any_memory_order_are_fine(kernel):
    linear.use(kernel)
    x, weight = torch.randn(3, 5, 7).transpose(0, 1), torch.randn(7, 6).t()
    assert torch.allclose(linear.linear(x, weight), F.linear(x, weight), atol=0.1)


@every_kernel
def test_the_same_product_twice_is_the_same_to_the_last_bit(kernel):
    linear.use(kernel)
    x, weight = torch.randn(96, 64), torch.randn(48, 64)
    one, two = (results(linear.linear, x, weight, None) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@every_kernel
def test_only_what_needs_a_gradient_gets_one(kernel):
    linear.use(kernel)
    layer = Linear(4, 3)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    layer.weight.requires_grad_(False)
    x = torch.ones(2, 4)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert x.grad is None
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [2.0, 2.0, 2.0]


@every_kernel
def test_other_types_devices_and_empty_inputs_go_the_plain_way(kernel):
    linear.use(kernel)
    double = torch.ones(2, 3, dtype=torch.float64)
    assert linear.linear(double, double).dtype is torch.float64
    meta = torch.empty(2, 3, device="meta")
    assert linear.linear(meta, meta).shape == (2, 2)
    assert linear.linear(torch.empty(0, 3), torch.ones(2, 3)).shape == (0, 2)


@every_kernel
def test_gradients_accumulate_over_batches(kernel):
    linear.use(kernel)
    layer = Linear(4, 3, bias=False)
    torch.nn.init.ones_(layer.weight)
    for _ in range(2):
        layer(torch.ones(2, 4)).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.unique().tolist() == [4.0]


def test_the_race_has_a_winner_that_stays():
    assert linear.faster() in {Kernel.TORCH, Kernel.ONEDNN}
    assert linear.faster() is linear.faster()


def test_the_kernel_can_be_settled_without_a_race(monkeypatch):
    for kernel in (Kernel.TORCH, Kernel.ONEDNN):
        monkeypatch.setenv(linear.SETTLED, kernel)
        assert linear.faster() is kernel
    monkeypatch.setenv(linear.SETTLED, "cublas")
    with pytest.raises(InputError, match="torch or onednn"):
        linear.faster()
