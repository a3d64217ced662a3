"""Where and how the learner runs: device, CPU threads, memory, precision."""

from __future__ import annotations

import ctypes
import platform
import re
from pathlib import Path
from typing import Literal

import torch

from configs.errors import UsageError
from envs.worker_handle import usable_cores

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def resolve_device(name: str) -> torch.device:
    """The torch device a name stands for; `auto` is the first GPU, else the CPU.

    Raises:
        UsageError: not such a name, or no such device in this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]?))?", name):
        raise UsageError(f"--device {name}: give auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {name}: this machine has {torch.cuda.device_count()} usable CUDA devices; "
            "use --device auto or cpu"
        )
    return device


def processor_name() -> str:
    """The processor's model, or where it is not known its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def configure_cpu(threads: int | Literal["auto"]) -> None:
    """Make the learner's process ready: CPU threads for tensors, and memory that is kept.

    `auto` is half of the usable cores: threads of one product wait for each other, so a core that a
    simulator takes away stalls them all.
    """
    torch.set_num_threads(max(1, usable_cores() // 2) if threads == "auto" else threads)
    if platform.libc_ver()[0] == "glibc":
        # By default glibc returns every freed tensor of some 100 kB or more to the system, and asks
        # for it again: clearing those pages took a tenth of the update.
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the largest it takes
        libc.mallopt(_M_TRIM_THRESHOLD, 2**30)


def simulator_workers(workers: int | Literal["auto"], device: torch.device) -> int:
    """Worker processes while learning; `auto` is the cores that the learner leaves, at least one."""
    learner = torch.get_num_threads() if device.type == "cpu" else 1
    return max(1, usable_cores() - learner) if workers == "auto" else workers


def resolve_precision(
    name: Literal["auto", "float32", "bfloat16"], device: torch.device
) -> torch.dtype:
    """The dtype a name stands for; `auto` is bfloat16 where the device multiplies it natively."""
    if name != "auto":
        return torch.float32 if name == "float32" else torch.bfloat16
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32
