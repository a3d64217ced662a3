"""The processor: which one it is, and how many of its cores are ours. Needs no torch."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

from machine.container import core_limit


def usable_cores() -> int:
    """CPU cores that this process may use; a container's last core may be ours for part of the time."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    limit = core_limit()
    return cores if limit >= cores else max(1, math.ceil(limit))


def processor_name() -> str:
    """The processor's model, or its architecture where the model is not known."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
