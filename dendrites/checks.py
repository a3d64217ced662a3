"""Checks of constructor arguments: one plain line says what is wrong."""

from __future__ import annotations


def require_fraction(name: str, value: float) -> None:
    """Raise ValueError unless `0 < value <= 1`."""
    if not 0 < value <= 1:
        raise ValueError(f"{name} must be in (0, 1], got {value}")


def require_positive(**sizes: int | None) -> None:
    """Raise ValueError for a size below 1; `None` is a size that is not there."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
