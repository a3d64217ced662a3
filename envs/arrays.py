"""Restoring numpy state in place."""

from __future__ import annotations

from numpy.typing import NDArray


def restore(own: dict[str, NDArray], given: dict[str, NDArray]) -> None:
    """Copy the given arrays into our own of the same names.

    Raises:
        ValueError: one has another shape.
        KeyError: one is missing.
    """
    for name, array in own.items():
        if given[name].shape != array.shape:
            raise ValueError(f"'{name}' has shape {given[name].shape}, expected {array.shape}")
        array[...] = given[name]
