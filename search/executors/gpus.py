"""The GPUs that are visible here, each claimed for one study at a time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from spec.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
RUNTIME = "ESPALIER_RUNTIME"
QUERY = ("nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader")


@dataclass(frozen=True)
class Gpu:
    """One device.

    Attributes:
        name: Its number in nvidia-smi, or the beginning of a MIG instance's id.
        uuid: What names it in every reading; the value a trial gets in ``CUDA_VISIBLE_DEVICES``.
        model: Such as ``NVIDIA H200``; empty where nvidia-smi does not tell.
    """

    name: str
    uuid: str
    model: str = ""


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The devices that ``CUDA_VISIBLE_DEVICES`` leaves, in its order; all without it.

    Numbers are nvidia-smi's, as with ``CUDA_DEVICE_ORDER=PCI_BUS_ID``; CUDA's own default order may
    differ on machines with several models. An empty value or ``-1`` hides the rest, as in CUDA.

    Raises:
        InputError: When the variable names a device that is not there, or one twice.
    """
    listed = _listed()
    value = environment.get(VISIBLE)
    if value is None or not listed:
        return listed
    chosen: list[Gpu] = []
    for token in map(str.strip, value.split(",")):
        if token in ("", "-1"):
            break
        gpu = _find(token, listed)
        if gpu in chosen:
            raise InputError(
                f"{VISIBLE}={value} names {gpu.uuid} twice; CUDA would hide every device"
            )
        chosen.append(gpu)
    return chosen


def _listed() -> list[Gpu]:
    try:
        answer = subprocess.run(QUERY, capture_output=True, text=True, timeout=60, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):  # no driver, or none that works
        return []
    except subprocess.TimeoutExpired:
        raise InputError(
            "nvidia-smi gives no answer; mend the driver, or set executor.device to cpu"
        ) from None
    rows = [line.split(",", 2) for line in answer.stdout.splitlines() if line.strip()]
    return [Gpu(*map(str.strip, row)) for row in rows]


def _find(token: str, listed: Sequence[Gpu]) -> Gpu:
    if token.startswith("MIG-"):
        return Gpu(
            token[:12], token
        )  # an instance inside a GPU: nvidia-smi's list does not show it
    found = [gpu for gpu in listed if token == gpu.name or _abbreviates(token, gpu.uuid)]
    if len(found) != 1:
        known = ", ".join(f"{gpu.name} ({gpu.uuid})" for gpu in listed)
        problem = "names no device" if not found else "fits several devices"
        raise InputError(f"{VISIBLE}: {token!r} {problem} of this machine; it has {known}")
    return found[0]


def _abbreviates(token: str, uuid: str) -> bool:
    return token.startswith("GPU-") and uuid.startswith(token)


class Claims:
    """The devices this study holds; the user's other studies on this machine see them as taken.

    Args:
        wanted: Candidates, in order of preference; one that another study holds is passed over.
        at_most: Devices to take.
    """

    def __init__(self, wanted: Sequence[Gpu], at_most: int) -> None:
        self.gpus: list[Gpu] = []
        self._locks: list[FileLock] = []
        for gpu in wanted:
            if len(self.gpus) == at_most:
                break
            folder = _runtime_folder()
            lock = FileLock(folder / f"{gpu.uuid.replace('/', '_')}.lock", blocking=False)
            try:
                lock.acquire()
            except Timeout:
                continue
            self.gpus.append(gpu)
            self._locks.append(lock)

    def release(self) -> None:
        for lock in self._locks:
            lock.release()
        self._locks.clear()


def _runtime_folder() -> Path:
    """One place per user and machine. Not ``XDG_RUNTIME_DIR``: a cron job may lack it."""
    folder = Path(os.environ.get(RUNTIME) or f"/tmp/espalier-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise InputError(f"{folder} belongs to another user; set {RUNTIME} to a folder of your own")
    return folder
