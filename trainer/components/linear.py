"""The matrix product of every dense layer: torch's own, or on a CPU where it is faster, oneDNN's.

torch multiplies float32 matrices on a CPU with MKL, which takes a slow path on processors of other
makers. oneDNN, shipped in the same binary, does not; it is reached here through the operator that
torch's own compiler emits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from spec.errors import InputError


class Kernel(StrEnum):
    """Who multiplies the matrices of dense layers on the CPU, and in which arithmetic."""

    TORCH = "torch"
    """torch's default: MKL on x86-64, float32."""
    ONEDNN = "onednn"
    """oneDNN, float32."""
    BFLOAT16 = "bfloat16"
    """Factors and products rounded to bfloat16, sums in float32."""
    FLOAT16 = "float16"
    """The same with float16."""


SETTLED = "ESPALIER_KERNEL"
"""Environment variable that names the float32 kernel."""

_HALVES = {Kernel.BFLOAT16: torch.bfloat16, Kernel.FLOAT16: torch.float16}

# A clear win only: a close race could end differently in the next process, and other kernels round
# differently.
_CLEAR_WIN = 1.25

_kernel = Kernel.TORCH


def kernel() -> Kernel:
    """The kernel in use."""
    return _kernel


def use(choice: Kernel) -> None:
    """Multiply with this kernel from now on."""
    global _kernel
    _kernel = choice


def faster() -> Kernel:
    """The faster float32 kernel of this host, by a race of a few milliseconds.

    ``ESPALIER_KERNEL`` settles it without a race: a search sets it to its first trial's, so
    that all trials of a study round alike.

    Raises:
        InputError: When the variable names no float32 kernel.
    """
    settled = os.environ.get(SETTLED)
    if not settled:
        return _winner()
    if settled not in (Kernel.TORCH, Kernel.ONEDNN):
        raise InputError(f"{SETTLED}={settled} is no float32 kernel; write torch or onednn")
    return Kernel(settled)


@cache
def _winner() -> Kernel:
    """One race per process, so that everything in it rounds alike."""
    return _race()


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, keep_half: bool = False
) -> Tensor:
    """``x @ weight.T + bias`` as ``torch.nn.functional.linear``, differentiable once.

    Args:
        x: (..., n_in).
        weight: (n_out, n_in).
        bias: (n_out,) or None.
        keep_half: Whether the result of a half-precision kernel stays in it.

    Returns:
        (..., n_out).
    """
    if _kernel is not Kernel.TORCH and _eligible(x, weight):
        half = _HALVES.get(_kernel)
        if half is not None:
            return _Half.apply(x, weight, bias, half, half if keep_half else torch.float32)
        if x.dtype is torch.float32 and not torch.compiler.is_compiling():
            return _OneDNN.apply(x, weight, bias)
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """``nn.Linear`` with the fast product; weights are the caller's to initialise.

    Args:
        n_in: Width of the input.
        n_out: Width of the output.
        bias: Whether a learned vector is added.
        keep_half: Whether the result of a half-precision kernel stays in it. Saves two conversions
            where all that stands before the next product is elementwise.
    """

    def __init__(
        self, n_in: int, n_out: int, bias: bool = True, *, keep_half: bool = False
    ) -> None:
        super().__init__(n_in, n_out, bias)
        self.keep_half = keep_half

    def reset_parameters(self) -> None:
        """Nothing: ``GPT.initialize`` fills every weight, and filling twice costs start-up."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias, keep_half=self.keep_half)


def _eligible(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, _HALVES.get(_kernel))
        and weight.dtype is torch.float32
        and not torch.is_autocast_enabled("cpu")
        and x.numel() > 0
    )


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """``a @ b.T + bias`` by oneDNN; a is (m, k), b is (n, k), any strides."""
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


class _OneDNN(torch.autograd.Function):
    """The three products of a dense layer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])  # (N, n_out)
        grad_x = _product(grad, weight.t()) if needs_x else None
        grad_weight = _weight_gradient(rows, x.reshape(-1, x.shape[-1])) if needs_weight else None
        return grad_x, grad_weight, rows.sum(0) if needs_bias else None


def _weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """``grad.T @ x``, (n_out, n_in); oneDNN is up to a fifth faster with the shorter side first."""
    if grad.shape[1] <= x.shape[1]:
        return _product(grad.t(), x.t())
    return _product(x.t(), grad.t()).t()


class _Half(torch.autograd.Function):
    """The three products of a dense layer in half precision; its weights are in float32."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        half: torch.dtype,
        result: torch.dtype,
    ) -> Tensor:
        ctx.x_dtype = x.dtype
        x, weight = x.to(half), weight.to(half)
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, None if bias is None else bias.to(half)).to(result)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        half = grad.to(x.dtype)
        rows = half.reshape(-1, half.shape[-1])  # (N, n_out)
        grad_x = (half @ weight).to(ctx.x_dtype) if needs_x else None
        grad_weight = (rows.t() @ x.reshape(-1, x.shape[-1])).float() if needs_weight else None
        grad_bias = grad.flatten(0, -2).sum(0, dtype=torch.float32) if needs_bias else None
        return grad_x, grad_weight, grad_bias, None, None


def _race(rounds: int = 5) -> Kernel:
    """Time both on one typical product, in turns; the better of each one's times counts."""
    if not torch.backends.mkldnn.is_available() or not hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    ):
        return Kernel.TORCH
    x, weight = torch.ones(256, 128), torch.ones(512, 128)
    with torch.no_grad():
        _product(x, weight), F.linear(x, weight)
        times = [
            (_seconds(lambda: F.linear(x, weight)), _seconds(lambda: _product(x, weight)))
            for _ in range(rounds)
        ]
    ours, theirs = (min(column) for column in zip(*times, strict=True))
    return Kernel.ONEDNN if ours > _CLEAR_WIN * theirs else Kernel.TORCH


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
