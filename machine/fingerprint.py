"""What bit for bit equality of two runs depends on, apart from their settings and code."""

from __future__ import annotations

import logging

import torch

from dendrites.kernels import has_kernels
from machine.cores import processor_name
from machine.versions import package_versions

_log = logging.getLogger(__name__)


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
        "kernels": "C" if has_kernels() else "none",  # with them, products add in another order
    }


def log_differences(then: dict[str, str], now: dict[str, str]) -> None:
    """Say in one line in what a resumed run is no longer where it was, if so."""
    other = [
        f"{name} {now[name]} instead of {then[name]}"
        for name in now
        if now[name] != then.get(name, now[name])  # an older version did not ask for all of them
    ]
    if other:
        _log.info("not bit for bit the same run any more: %s", ", ".join(other))
