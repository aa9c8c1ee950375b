"""What a GPU has consumed since its driver was loaded, by its own counter."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from spec.config import Data


def consumed(uuid: str) -> float | None:
    """Joules that a GPU's counter shows; it counts the whole GPU, whoever works on it.

    Only the difference of two readings means something. The counter moves every 20 to 100 ms and
    has the error of the board's sensor. Source: NVML, ``nvmlDeviceGetTotalEnergyConsumption``, in
    millijoules, Volta and later.

    Args:
        uuid: As in ``search.executors.gpus.Gpu``.

    Returns:
        None when it is not known: no driver, a GPU without the counter, or a MIG instance, which
        has none of its own.
    """
    nvml = None if uuid.startswith("MIG-") else _nvml()
    if nvml is None:
        return None
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except nvml.NVMLError:
        return None


@cache
def _nvml() -> Any:
    """The module of NVML, open until this process ends; None without a driver.

    Without persistence mode a driver may forget its counters when the last one who used it leaves.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def first_reading(counter: str | None) -> Data:
    """The facts of a trial that is about to start; none without a counter."""
    now = None if counter is None else consumed(counter)
    return {} if now is None else {"energy": {"counter": counter, "started": now}}


def last_reading(facts: Mapping[str, Any]) -> Data:
    """The facts that the end of a trial adds to those of its start."""
    energy: Data = facts.get("energy", {})
    now = consumed(energy["counter"]) if energy else None
    return {} if now is None else {"energy": {**energy, "ended": now}}
