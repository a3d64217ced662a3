"""Checks of arguments: one plain line says what is wrong."""

from __future__ import annotations

import torch
from torch import Tensor


def require_fraction(name: str, value: float) -> None:
    """Raise ValueError unless `0 < value <= 1`."""
    if not 0 < value <= 1:
        raise ValueError(f"{name} must be in (0, 1], got {value}")


def require_positive(**sizes: int | None) -> None:
    """Raise ValueError for a size below 1; `None` is a size that is not there."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def require_features(name: str, tensor: Tensor, size: int, stack: int | None) -> None:
    """Raise ValueError unless a tensor is `[..., size]`, or `[stack, ..., size]`."""
    last = tensor.shape[-1] if tensor.dim() else 1
    if last != size:
        raise ValueError(f"{name} must have size {size}, got {last}")
    if stack is not None and (tensor.dim() < 2 or tensor.shape[0] != stack):
        raise ValueError(
            f"{name} of a stack must have shape [{stack}, ..., {size}], got {list(tensor.shape)}"
        )


def require_float32_on_cpu(name: str, tensor: Tensor) -> None:
    """Raise ValueError unless a tensor is what the C code reads: a wrong one would be misread, not refused."""
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise ValueError(
            f"{name} must be float32 on the CPU, got {tensor.dtype} on {tensor.device.type}"
        )
