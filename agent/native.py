"""Compiles and loads `kwinners.c`, once per machine; without a C compiler does without."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_name("kwinners.c")
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_OPENMP = ("-fopenmp", "-fopenmp-simd")  # Apple's compiler has the second only: one thread


@functools.cache
def load_kernels() -> ctypes.CDLL | None:
    """The library built from `kwinners.c`, or `None` where there is no working C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    for openmp in _OPENMP:
        try:
            return _declared(ctypes.CDLL(str(_built(compiler, openmp))))
        except (OSError, subprocess.CalledProcessError):
            continue
    return None


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the types of its functions."""
    pointer, size, threads = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    library.k_winners.argtypes = (pointer, size, size, size, pointer, threads)
    library.gradient_of_active.argtypes = (pointer, pointer, size, pointer, threads)
    library.k_winners.restype = library.gradient_of_active.restype = None
    return library


def _built(compiler: str, openmp: str) -> Path:
    """The shared library, compiled unless this machine's cache has it."""
    # -march=native code is for one CPU: a cache shared by several machines keeps one file for each.
    identity = (_SOURCE.read_bytes(), _FLAGS, openmp, compiler, platform.node(), platform.machine())
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "active-dendrites-mt10"
    target = cache / f"kwinners-{key}.so"
    if not target.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            draft = Path(scratch) / "kwinners.so"
            command = [compiler, *_FLAGS, openmp, str(_SOURCE), "-o", str(draft)]
            subprocess.run(command, check=True, capture_output=True)
            draft.replace(target)  # atomic: two processes may build at once
    return target
