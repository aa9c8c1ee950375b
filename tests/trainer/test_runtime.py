"""Devices, clocks, seeds and the request to stop."""

import os
import signal
import time

import pytest
import torch

from spec.errors import InputError
from trainer import runtime
from trainer.components import linear
from trainer.components.linear import Kernel

CPU = torch.device("cpu")


def test_devices_are_picked_by_name():
    assert runtime.pick_device("cpu") == CPU
    assert runtime.pick_device("auto").type in {"cpu", "cuda"}


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", ""])
def test_an_unknown_device_is_refused_with_a_way_out(name):
    with pytest.raises(InputError, match="cpu"):
        runtime.pick_device(name)


def test_a_clock_counts_only_the_stretches_it_is_entered_for():
    clock = runtime.Clock(CPU, seconds=10.0, cpu_seconds=5.0)
    time.sleep(0.05)
    assert (clock.seconds, clock.cpu_seconds) == (10.0, 5.0)
    with clock:
        time.sleep(0.02)
        assert clock.seconds >= 10.02
    stopped = clock.seconds
    time.sleep(0.02)
    assert clock.seconds == stopped
    assert 5.0 <= clock.cpu_seconds < stopped


def test_the_median_lap_is_of_laps_inside_stretches():
    assert runtime.Clock(CPU).median_lap_ms is None
    clock = runtime.Clock(CPU)
    for _ in range(2):
        with clock:
            for _ in range(2):
                time.sleep(0.005)
                clock.lap()
        time.sleep(0.2)
    assert 5 <= (clock.median_lap_ms or 0) < 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_request_while_it_is_listened_for(number):
    before = signal.getsignal(number)
    with runtime.Interrupt() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert interrupt.requested
    assert signal.getsignal(number) is before


def test_what_dropout_draws_depends_on_seed_and_step_alone():
    def draw(seed, step):
        runtime.seed_step(CPU, seed, step)
        return torch.rand(4).tolist()

    assert draw(1, 2) == draw(1, 2)
    assert draw(1, 2) != draw(1, 3)
    assert draw(1, 2) != draw(2, 2)


@pytest.mark.parametrize(
    ("dtype", "kernel"), [("bfloat16", Kernel.BFLOAT16), ("float16", Kernel.FLOAT16)]
)
def test_half_precision_on_a_cpu_is_the_linear_kernels_business(dtype, kernel):
    before = linear.kernel()
    with runtime.prepare(CPU, torch.get_num_threads(), dtype):
        assert linear.kernel() is kernel
        assert not torch.is_autocast_enabled("cpu")
    runtime.prepare(CPU, torch.get_num_threads(), "float32")
    assert linear.kernel() is linear.faster()
    linear.use(before)


def test_a_process_has_a_peak_of_memory():
    assert 2**20 < runtime.peak_memory_bytes(CPU) < 2**40
