"""What ``search.executors.energy`` uses of pynvml, over GPUs that draw 100 W from the start.

Put this folder first on the path. ``FAKE_NVML`` is what the machine lacks: ``driver`` or
``counter``.
"""

import os
import time

WATTS = 100


class NVMLError(Exception):
    """As pynvml's own."""


def nvmlInit() -> None:
    if os.environ.get("FAKE_NVML") == "driver":
        raise NVMLError("NVML Shared Library Not Found")


def nvmlDeviceGetHandleByUUID(uuid: str) -> str:
    if not uuid.startswith("GPU-"):
        raise NVMLError("Not Found")
    return uuid


def nvmlDeviceGetTotalEnergyConsumption(handle: str) -> int:
    if os.environ.get("FAKE_NVML") == "counter":
        raise NVMLError("Not Supported")
    return int(time.monotonic() * WATTS * 1000)
