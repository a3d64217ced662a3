"""The learner's device: its name, memory, threads and precision."""

from __future__ import annotations

import ctypes
import platform
import re
from typing import Literal

import psutil
import torch

from configs.errors import UsageError
from machine.container import memory_left

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def resolve_device(name: str, flag: str = "--machine.device") -> torch.device:
    """The torch device that a name stands for; `auto` is the first GPU, else the CPU.

    `flag` is what the user wrote the name behind, for messages.

    Raises:
        UsageError: not such a name, or no such device in this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]?))?", name):
        raise UsageError(f"{flag} {name}: give auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"{flag} {name}: this machine has {torch.cuda.device_count()} usable CUDA devices; "
            f"use {flag} auto or cpu"
        )
    return device


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


def free_bytes(device: torch.device) -> int:
    """Memory that can still be allocated on `device`; in a container, what its limit leaves."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(min(psutil.virtual_memory().available, memory_left()))


def configure_cpu(threads: int) -> None:
    """Make the learner's process ready: CPU threads, subnormals that are zero, memory that is kept."""
    # A weight whose unit is silent gets no gradient, and its first moment shrinks by a tenth a step:
    # after some 700 steps it is below 1e-38, where processors are many times slower, and rounding
    # keeps it from ever reaching 0. Threads that start from here on flush such numbers, too.
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        # By default glibc returns every freed tensor of some 100 kB or more to the system, and asks
        # for it again: clearing those pages took a tenth of the update.
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the largest it takes
        libc.mallopt(_M_TRIM_THRESHOLD, 2**30)
