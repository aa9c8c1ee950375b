"""Which cores and GPUs trials get, and that nobody gets them twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.executors.cpus import cpu_model, usable_cores
from search.executors.gpus import Claims, Gpu, visible_gpus
from search.executors.local import LocalConfig, LocalExecutor
from spec.errors import InputError
from tests.search.test_run import run
from tests.search.toy import exploration

A, B, C = "GPU-aaaa1111-0000", "GPU-bbbb2222-0000", "GPU-bbbb3333-0000"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with three GPUs, as its nvidia-smi tells."""
    write_smi(tmp_path, f"printf '0, {A}\\n1, {B}\\n2, {C}\\n'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("ESPALIER_RUNTIME", str(tmp_path / "locks"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def write_smi(folder: Path, script: str) -> None:
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)


@pytest.fixture
def executor():
    made = []

    def build(**options):
        made.append(LocalExecutor(LocalConfig.model_validate(options), study="tests"))
        return made[-1]

    yield build
    for one in made:
        one.close()


def test_times_are_not_compared_between_models(machine, tmp_path):  # behaviours 12
    write_smi(machine, f"printf '0, {A}, NVIDIA A100\\n1, {B}, NVIDIA H100, 80GB\\n'")
    on_gpus = {"kind": "local", "device": "cuda"}
    file = exploration(tmp_path, budget={"max_seconds": 9}, executor=on_gpus)
    said = run(file, tmp_path, check=2).stderr
    assert "executor: trials would be timed on NVIDIA A100 and NVIDIA H100, 80GB" in said
    assert "CUDA_VISIBLE_DEVICES" in said
    with LocalConfig(device="cuda").build("tests", None) as built:
        assert [slot.clock for slot in built.slots] == [
            f"cuda (NVIDIA A100), {built.slots[0].threads} threads",
            f"cuda (NVIDIA H100 80GB), {built.slots[1].threads} threads",
        ]


def test_the_processor_is_told_by_its_name(tmp_path):
    file = tmp_path / "cpuinfo"
    assert cpu_model(file)  # no such file: the architecture
    file.write_text("processor : 0\nmodel name\t: Fast, Silicon 9\nmodel name\t: other\n")
    assert cpu_model(file) == "Fast, Silicon 9"


# Which GPUs are visible


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, [A, B, C]),
        ("0", [A]),
        ("2,0", [C, A]),
        (" 1 , 2 ", [B, C]),
        (B, [B]),
        ("GPU-bbbb3", [C]),
        (f"{C},0", [C, A]),
        ("", []),
        ("-1", []),
        ("0,-1,1", [A]),
        ("MIG-1234", ["MIG-1234"]),
    ],
)
def test_every_reading_of_cuda_visible_devices(machine, value, wanted):
    environment = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    assert [gpu.uuid for gpu in visible_gpus(environment)] == wanted


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("7", "'7' names no device"),
        ("GPU-bbbb", "fits several"),
        ("0,0", "twice"),
        ("x", "names no device"),
    ],
)
def test_a_wrong_cuda_visible_devices_is_refused(machine, value, message):
    with pytest.raises(InputError, match=message):
        visible_gpus({"CUDA_VISIBLE_DEVICES": value})


def test_a_driver_that_does_not_answer_is_no_gpu(machine):
    write_smi(machine, "echo 'NVIDIA-SMI has failed'; exit 9")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0"}) == []


# Who gets them


def test_each_gpu_trial_sees_one_device(machine, executor):
    slots = executor().slots
    assert [slot.name for slot in slots] == ["cuda:0", "cuda:1", "cuda:2"]
    assert [slot.env["CUDA_VISIBLE_DEVICES"] for slot in slots] == [A, B, C]
    assert {(slot.device, slot.packed) for slot in slots} == {("cuda", False)}


def test_two_studies_share_no_gpu(machine, executor):
    first, second = executor(workers=2), executor()
    assert [slot.name for slot in first.slots] == ["cuda:0", "cuda:1"]
    assert [slot.name for slot in second.slots] == ["cuda:2"]
    with pytest.raises(InputError, match="each of the 3 visible GPUs is held by another study"):
        executor()
    first.close()
    assert [slot.name for slot in executor().slots] == ["cuda:0", "cuda:1"]


def test_a_claim_ends_with_its_process(machine, repository):
    script = (
        "import os, sys; from search.executors.gpus import Claims, Gpu;"
        "claims = Claims([Gpu('0', 'GPU-x')], 1); print(len(claims.gpus), flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"1\n"
    assert Claims([Gpu("0", "GPU-x")], 1).gpus == []
    other.kill()
    other.communicate()
    claims = Claims([Gpu("0", "GPU-x")], 1)
    assert len(claims.gpus) == 1
    claims.release()


def test_more_workers_than_gpus_are_packed_and_marked(machine, executor):
    slots = executor(workers=4).slots
    assert [slot.name for slot in slots] == ["cuda:0/0", "cuda:1/0", "cuda:2/0", "cuda:0/1"]
    assert [slot.packed for slot in slots] == [True, False, False, True]


def test_no_visible_gpu_means_the_cpu_unless_cuda_is_asked_for(machine, executor, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert {slot.device for slot in executor().slots} == {"cpu"}
    with pytest.raises(InputError, match=r"executor\.device is cuda"):
        executor(device="cuda")


def test_the_cpu_can_be_asked_for(machine, executor):
    (slot,) = executor(device="cpu", workers=1, threads=2).slots
    assert (slot.name, slot.threads, slot.env["CUDA_VISIBLE_DEVICES"]) == ("cpu:0", 2, "")
    assert not slot.packed


# CPU cores


def test_auto_gives_each_core_one_trial_of_one_thread(executor):
    slots = executor(device="cpu").slots
    assert len(slots) == usable_cores()
    assert {slot.threads for slot in slots} == {1}


def test_the_affinity_mask_counts():
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    script += "from search.executors.cpus import usable_cores; print(usable_cores())"
    assert subprocess.check_output([sys.executable, "-c", script]).strip() == b"1"


@pytest.mark.parametrize(
    ("files", "membership", "wanted"),
    [
        ({"cpu.max": "50000 100000"}, "0::/", 1),
        ({"cpu.max": "max 100000"}, "0::/", 64),
        ({"cpu.max": "350000 100000"}, "0::/", 3),
        ({"user/a/cpu.max": "max 100000", "user/cpu.max": "200000 100000"}, "0::/user/a", 2),
        (
            {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/",
            4,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/", 64),
        ({"cpu/j/cpu.cfs_quota_us": "500000", "cpu/j/cpu.cfs_period_us": "100000"}, "4:cpu:/j", 5),
        ({}, "", 64),
    ],
)
def test_a_cgroups_quota_counts(tmp_path, monkeypatch, files, membership, wanted):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text + "\n")
    assert usable_cores(tmp_path / "fs", tmp_path / "membership") == wanted
