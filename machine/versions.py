"""Versions of the packages that decide whether results can be compared."""

from __future__ import annotations

import platform
from importlib.metadata import version

PACKAGES = ("torch", "metaworld", "mujoco", "gymnasium", "numpy")


def package_versions() -> dict[str, str]:
    """Name -> version, Python's first."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
