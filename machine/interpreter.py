"""How a user calls the Python that runs, for commands that are printed to be pasted."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def this_python() -> str:
    """`python` if that is the one that runs, as in an activated environment; else its path, short where it can be."""
    if shutil.which("python") == sys.executable:
        return "python"
    near = Path(sys.executable).is_relative_to(Path.cwd())
    return shlex.quote(os.path.relpath(sys.executable) if near else sys.executable)
