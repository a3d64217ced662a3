"""Restoring numpy state in place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def restore(own: dict[str, NDArray], given: dict[str, NDArray]) -> None:
    """Copy the given arrays into our own of the same names.

    Raises:
        ValueError: one has another shape or dtype, or is not finite.
        KeyError: one is missing.
    """
    for name, array in own.items():
        theirs = given[name]
        if theirs.shape != array.shape or theirs.dtype != array.dtype:
            raise ValueError(
                f"'{name}' is {theirs.dtype} {theirs.shape}, expected {array.dtype} {array.shape}"
            )
        if not np.isfinite(theirs).all():
            raise ValueError(f"'{name}' is not finite")
        array[...] = theirs


def require_range(name: str, values: NDArray, low: int, high: int) -> None:
    """Raise `ValueError` unless `low <= values <= high` everywhere."""
    if values.size and not low <= values.min() <= values.max() <= high:
        raise ValueError(f"'{name}' is not within {low} and {high}")
