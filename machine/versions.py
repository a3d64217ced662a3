"""Versions of the code and of the packages: what decides whether results can be compared."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "metaworld", "mujoco", "gymnasium", "numpy")
_ROOT = Path(__file__).resolve().parents[1]
_DESCRIBE = [
    *("git", "--no-optional-locks", "describe"),
    *("--always", "--dirty", "--abbrev=12", "--exclude=*"),
]


def package_versions() -> dict[str, str]:
    """Name -> version, Python's first."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def code_version(root: Path = _ROOT) -> str:
    """The commit of the project's clone, with `-dirty` if a tracked file differs from it; empty without git.

    Args:
        root: of the clone. An installed package has none, even where it lies inside of another's clone.
    """
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(_DESCRIBE, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
