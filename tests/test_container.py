"""The limits of containers and batch jobs: real ones of this kernel, and files as other machines have them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from machine.container import core_limit, memory_left
from machine.cores import usable_cores
from machine.device import free_bytes

ROOT = Path(__file__).parent.parent
CGROUPS = Path("/sys/fs/cgroup")


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def machine(root: Path, groups: str) -> Path:
    """A pretended root folder, whose process is in these groups."""
    write(root / "proc/self", cgroup=groups)
    return root / "sys/fs/cgroup"


# --- version 2 -----------------------------------------------------------------------------------


def test_a_container_sees_its_own_cgroup_as_the_top_one(tmp_path: Path) -> None:
    top = machine(tmp_path, "0::/\n")
    write(top, cpu__max="150000 100000\n", memory__max="8000000\n", memory__current="5000000\n")
    write(top, memory__stat="anon 3000000\nfile 2000000\ninactive_file 500000\n")
    assert core_limit(tmp_path) == 1.5
    assert memory_left(tmp_path) == 8_000_000 - 5_000_000 + 500_000


def test_a_limit_of_a_group_above_holds_and_the_smallest_one_counts(tmp_path: Path) -> None:
    """Slurm limits the job, and a step of it is a group of its own without a limit."""
    top = machine(tmp_path, "0::/slurm/job_7/step_0\n")
    none = {"cpu__max": "max 100000\n", "memory__max": "max\n", "memory__current": "1\n"}
    write(top / "slurm/job_7/step_0", **none, memory__stat="inactive_file 0\n")
    write(top / "slurm/job_7", cpu__max="400000 100000\n", memory__max="900\n")
    write(top / "slurm/job_7", memory__current="300\n", memory__stat="inactive_file 0\n")
    write(top / "slurm", cpu__max="800000 100000\n")
    assert core_limit(tmp_path) == 4
    assert memory_left(tmp_path) == 600


def test_memory_that_is_used_up_is_none_and_not_less_than_none(tmp_path: Path) -> None:
    top = machine(tmp_path, "0::/\n")
    write(top, memory__max="100\n", memory__current="120\n", memory__stat="inactive_file 0\n")
    assert memory_left(tmp_path) == 0


# --- version 1 -----------------------------------------------------------------------------------


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    """A container's own cgroup is what is mounted, and the path is the one outside."""
    top = machine(tmp_path, "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/\n")
    write(top / "cpu", cpu__cfs_quota_us="250000\n", cpu__cfs_period_us="100000\n")
    write(top / "memory", memory__limit_in_bytes="1000\n", memory__usage_in_bytes="400\n")
    write(top / "memory", memory__stat="cache 100\ninactive_file 7\ntotal_inactive_file 50\n")
    assert core_limit(tmp_path) == 2.5
    assert memory_left(tmp_path) == 650


def test_version_1_without_a_limit(tmp_path: Path) -> None:
    top = machine(tmp_path, "5:cpu:/\n")
    write(top / "cpu", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert core_limit(tmp_path) == float("inf")


# --- this machine --------------------------------------------------------------------------------


def test_where_there_are_no_cgroups_there_is_no_limit(tmp_path: Path) -> None:
    assert core_limit(tmp_path) == memory_left(tmp_path) == float("inf")


@pytest.mark.parametrize(("limit", "cores"), [(0.5, 1), (1.0, 1), (1.2, 2), (float("inf"), None)])
def test_part_of_a_core_is_a_core(monkeypatch, limit: float, cores: int | None) -> None:
    monkeypatch.setattr("machine.cores.core_limit", lambda: limit)
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable_cores() == (ours if cores is None else min(ours, cores))


def test_free_memory_is_what_both_the_machine_and_the_container_have(monkeypatch) -> None:
    monkeypatch.setattr("machine.device.memory_left", lambda: 1000.0)
    assert free_bytes(torch.device("cpu")) == 1000
    monkeypatch.setattr("machine.device.memory_left", lambda: float("inf"))
    assert 1000 < free_bytes(torch.device("cpu")) <= psutil.virtual_memory().total


@pytest.fixture
def real_cgroup(request: pytest.FixtureRequest):
    """A new cgroup of a controller of this kernel, version 1 or 2."""
    controller = request.param
    version_1 = (CGROUPS / controller).is_dir()
    group = (CGROUPS / controller if version_1 else CGROUPS) / f"test_container_{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"cgroups can't be made here: {error}")
    limit = {
        ("cpu", True): ("cpu.cfs_quota_us", "50000"),
        ("cpu", False): ("cpu.max", "50000 100000"),
        ("memory", True): ("memory.limit_in_bytes", "2000000000"),
        ("memory", False): ("memory.max", "2000000000"),
    }[controller, version_1]
    try:
        (group / limit[0]).write_text(limit[1])
        yield group
    except OSError as error:
        pytest.skip(f"limits can't be set here: {error}")
    finally:
        group.rmdir()


def answer(group: Path, question: str) -> float:
    """What a process in that cgroup answers."""
    script = (
        "import sys\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    file.write('0')  # this process itself\n"
        "from machine.container import core_limit, memory_left\n"
        f"print({question})\n"
    )
    command = [sys.executable, "-c", script, str(group / "cgroup.procs")]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


@pytest.mark.parametrize("real_cgroup", ["cpu"], indirect=True)
def test_a_real_limit_of_cores(real_cgroup: Path) -> None:
    assert answer(real_cgroup, "core_limit()") == 0.5


@pytest.mark.parametrize("real_cgroup", ["memory"], indirect=True)
def test_a_real_limit_of_memory(real_cgroup: Path) -> None:
    assert 1.9e9 < answer(real_cgroup, "memory_left()") < 2e9
