"""What bit for bit equality of two runs depends on, apart from their settings and code."""

from __future__ import annotations

import torch

from machine.cores import processor_name
from machine.versions import package_versions


def fingerprint(device: torch.device, precision: torch.dtype) -> dict[str, str]:
    """Versions of the packages, processor, device, precision and threads, by name.

    Args:
        device: of the learner.
        precision: of its products between hidden layers.
    """
    return {
        **package_versions(),
        "processor": processor_name(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": str(precision),
        "threads": str(torch.get_num_threads()),
    }
