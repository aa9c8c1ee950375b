"""How many CPU cores this process may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Cores of the affinity mask, or fewer when a cgroup's quota allows less; at least 1."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quotas = [
        quota for folder in _folders(cgroups, membership) if (quota := _quota(folder)) is not None
    ]
    return max(1, min([cores, *map(int, quotas)]))


def cpu_model(file: Path = Path("/proc/cpuinfo")) -> str:
    """What the processor calls itself; its architecture where it has no name."""
    lines = file.read_text(errors="replace").splitlines() if file.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, names), platform.machine())


def _folders(cgroups: Path, membership: Path) -> list[Path]:
    """This process's cgroup with all its parents: each may hold a quota."""
    folders = {cgroups, cgroups / "cpu"}  # in a container its own cgroup is the root that one sees
    lines = membership.read_text().splitlines() if membership.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            root = cgroups if controllers == "" else cgroups / "cpu"
            own = root / path.lstrip("/")
            folders.update(
                folder for folder in (own, *own.parents) if folder.is_relative_to(cgroups)
            )
    return sorted(folders)


def _quota(folder: Path) -> float | None:
    """Cores a cgroup grants, from version 2's ``cpu.max`` or version 1's ``cpu.cfs_*``."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
    except OSError:
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
