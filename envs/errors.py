"""Errors of the environments, and how a foreign one is described."""

from __future__ import annotations

import os
import traceback

from configs.errors import RunError


class NonFiniteError(RunError):
    """A number that must be finite is not; the message names it."""


class WorkerError(RunError):
    """A worker failed and was not replaced any more; the message names its tasks and seeds."""


def describe_error(error: Exception) -> str:
    """What was raised, and where in the code, in one line; the error's notes come first."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    notes: list[str] = getattr(error, "__notes__", [])
    return ": ".join([*notes, type(error).__name__, f"{error} ({where})"])
