"""Where the learner runs: device and CPU threads."""

from __future__ import annotations

import re
from typing import Literal

import torch

from configs.errors import UsageError
from envs.worker_handle import usable_cores


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


def set_learner_threads(threads: int | Literal["auto"]) -> None:
    """Use this many CPU threads for tensors; `auto` is half of the usable cores.

    Threads of one product wait for each other, so a core that a simulator takes away stalls them
    all.
    """
    torch.set_num_threads(max(1, usable_cores() // 2) if threads == "auto" else threads)
