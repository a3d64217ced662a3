"""Compiles and loads the C kernel beside it, once per machine; without a compiler does without."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

_SOURCE = Path(__file__).with_name("kth_largest.c")
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")

KthLargest = Callable[[int, int, int, int, int], None]
"""(address of x, rows, columns, k, address of out)"""


@functools.cache
def load_kth_largest() -> KthLargest | None:
    """The kernel of `kth_largest.c`, or `None` where there is no C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    try:
        library = ctypes.CDLL(str(_built(compiler)))
    except (OSError, subprocess.CalledProcessError):
        return None
    kernel = library.kth_largest
    kernel.argtypes = (ctypes.c_void_p, *(ctypes.c_int64,) * 3, ctypes.c_void_p)
    kernel.restype = None
    return kernel


def _built(compiler: str) -> Path:
    """The shared library, compiled unless this machine's cache has it."""
    # -march=native code is for one CPU: a cache shared by several machines keeps one file for each.
    identity = (_SOURCE.read_bytes(), _FLAGS, compiler, platform.node(), platform.machine())
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "active-dendrites-mt10"
    target = cache / f"kth_largest-{key}.so"
    if not target.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            draft = Path(scratch) / "kth_largest.so"
            command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(draft)]
            subprocess.run(command, check=True, capture_output=True)
            draft.replace(target)  # atomic: two processes may build at once
    return target
