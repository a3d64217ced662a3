"""What a container or a batch job leaves us: the limits of our cgroups. Needs no torch.

A container with `--cpus 2` on a machine of 64 cores sees all 64, and one with `--memory 8g` all of its
memory: the kernel slows down or ends whoever takes more. Docker, Kubernetes, systemd and Slurm set these
limits. Source: the kernel's documents admin-guide/cgroup-v2 and admin-guide/cgroup-v1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath


def core_limit(root: Path = Path("/")) -> float:
    """Cores' worth of time that our processes may take together; infinite without a limit.

    `root` has the folders `proc` and `sys`.
    """
    return _least(root, "cpu", _cores_v2, _cores_v1)


def memory_left(root: Path = Path("/")) -> float:
    """Bytes that our processes may still take together; infinite without a limit.

    Files that the kernel keeps in memory count as free: it drops them first.
    """
    return _least(root, "memory", _memory_v2, _memory_v1)


def _least(
    root: Path, controller: str, v2: Callable[[Path], float], v1: Callable[[Path], float]
) -> float:
    """The smallest limit of our cgroup and of all those above it: each holds for all that is in it."""
    limits = [float("inf")]
    for group in _groups(root, controller):
        for read in (v2, v1):
            with suppress(OSError, ValueError, KeyError):  # no limit here, or of the other version
                limits.append(read(group))
    return min(limits)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of our cgroup and of all above it that can be seen from here."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            mounted = root / "sys/fs/cgroup" / (controller if controllers else "")
            ours = PurePosixPath(path.lstrip("/"))
            yield from (mounted / group for group in (ours, *ours.parents))


def _cores_v2(group: Path) -> float:
    quota, period = (group / "cpu.max").read_text().split()
    return int(quota) / int(period)  # "max", without a limit, is no number


def _cores_v1(group: Path) -> float:
    quota = int((group / "cpu.cfs_quota_us").read_text())
    if quota <= 0:
        raise ValueError("no limit")
    return quota / int((group / "cpu.cfs_period_us").read_text())


def _memory_v2(group: Path) -> float:
    used = int((group / "memory.current").read_text())
    files = _statistics(group)["inactive_file"]
    return max(0, int((group / "memory.max").read_text()) - used + files)


def _memory_v1(group: Path) -> float:
    used = int((group / "memory.usage_in_bytes").read_text())
    files = _statistics(group)["total_inactive_file"]
    return max(0, int((group / "memory.limit_in_bytes").read_text()) - used + files)


def _statistics(group: Path) -> dict[str, int]:
    lines = (group / "memory.stat").read_text().splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}
