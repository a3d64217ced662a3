"""Choosing the device: `auto`, `cpu`, `cuda` or `cuda:N`."""

from __future__ import annotations

import re

import torch

from configs.errors import UsageError


def resolve_device(name: str) -> torch.device:
    """The torch device a name stands for; `auto` is the first GPU, else the CPU.

    Raises:
        UsageError: not such a name, or no such device in this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UsageError(f"--device {name}: give auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {name}: this machine has {torch.cuda.device_count()} usable CUDA devices; "
            "use --device auto or cpu"
        )
    return device
