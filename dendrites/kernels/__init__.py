"""Compiles and loads the C files here, once per machine; without a C compiler does without."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

_FOLDER = Path(__file__).parent
_SOURCES = tuple(
    _FOLDER / name
    for name in (
        "kwinners.c",
        "winners_product.c",
        "winners_weight_gradient.c",
        "active_blocks.c",
    )
)
_HEADERS = (_FOLDER / "winners.h", _FOLDER / "blocks.h")
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_OPENMP = ("-fopenmp", "-fopenmp-simd")  # Apple's compiler has the second only: one thread

_log = logging.getLogger(__name__)


@functools.cache
def load_kernels() -> ctypes.CDLL | None:
    """The library built from the C files, or `None`, with one warning, if it cannot be had.

    `CC` names the compiler, `cc` by default. The library is kept in `active-dendrites` under
    `XDG_CACHE_HOME`, or `~/.cache`; if that folder cannot be used, it is built for this process only.
    """
    compiler = os.environ.get("CC", "").replace('"', "").split() or ["cc"]
    reason = f"no C compiler ({compiler[0]!r} not found)"
    for openmp in _OPENMP if shutil.which(compiler[0]) else ():
        try:
            return _declared(_library([*compiler, *_FLAGS, openmp]))
        except subprocess.CalledProcessError as error:
            printed = (error.stderr or error.stdout).strip() or "it failed without a word"
            reason = f"{compiler[0]!r} does not compile it ({printed.splitlines()[0]})"
        except OSError as error:
            reason = f"it cannot be built or loaded ({error})"
    _log.warning(
        "k-winners: %s, so numpy is used instead: slower, same winners, sums in another order",
        reason,
    )
    return None


def has_kernels() -> bool:
    """Whether the library can be had; a constant for torch.compile."""
    return load_kernels() is not None


# As `torch.compiler.assume_constant_result` marks it, which loads the whole compiler first: that takes as
# long as loading torch, also where nothing is compiled.
has_kernels._dynamo_marked_constant = True  # type: ignore[attr-defined]


def require_kernels() -> ctypes.CDLL:
    """The library, for who has asked `has_kernels` before."""
    kernels = load_kernels()
    assert kernels is not None, "`has_kernels` said that there is a compiler"
    return kernels


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the types of its functions."""
    pointer, size, threads = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    library.k_winners.argtypes = (pointer, size, size, size, pointer, threads)
    library.gradient_of_active.argtypes = (pointer, pointer, size, pointer, threads)
    library.k_winners_lists.argtypes = (pointer, size, size, size, pointer, pointer, threads)
    for name in ("k_winners", "gradient_of_active", "k_winners_lists"):
        getattr(library, name).restype = None
    lists, sizes = (pointer, pointer), (size, size, size)
    library.winners_product.argtypes = (*lists, *sizes, pointer, size, pointer, threads)
    library.winners_input_gradient.argtypes = (
        *(*lists, *sizes, pointer, size, pointer, pointer),
        threads,
    )
    library.winners_weight_gradient.argtypes = (*lists, *sizes, size, pointer, pointer, threads)
    library.active_columns.argtypes = (pointer, size, size, size, pointer)
    library.active_columns.restype = size
    some = (pointer, size)  # indices and how many
    library.gather_block.argtypes = (
        *(pointer, pointer, size, *some, *some),
        *(ctypes.c_int, pointer, threads),
    )
    library.scatter_block.argtypes = (
        *(pointer, ctypes.c_int, *some, *some),
        *(pointer, size, size, pointer, threads),
    )
    for name in ("gather_block", "scatter_block"):
        getattr(library, name).restype = None
    return library


def _library(command: list[str]) -> ctypes.CDLL:
    """The loaded library: of the cache, or built into it, or built for this process only."""
    # -march=native code is for one kind of processor: a cache that several share keeps one for each.
    code = [file.read_bytes() for file in (*_SOURCES, *_HEADERS)]
    identity = (code, command, platform.node(), platform.machine(), _processor())
    name = f"kwinners-{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}.so"
    # A cache may be missing, read-only, full, barred from holding programs, or hold a damaged file.
    with contextlib.suppress(OSError, RuntimeError):
        cache = _cache_home() / "active-dendrites"
        cache.mkdir(parents=True, exist_ok=True)
        if not (cache / name).is_file():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                # atomic: two processes may build at once
                _compiled(command, Path(scratch) / name).replace(cache / name)
        return ctypes.CDLL(str(cache / name))
    with tempfile.TemporaryDirectory() as scratch:  # what is loaded outlives its file
        return ctypes.CDLL(str(_compiled(command, Path(scratch) / name)))


def _cache_home() -> Path:
    """`XDG_CACHE_HOME`, unless it is relative, which its specification forbids; else `~/.cache`."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path.home() / ".cache"


def _processor() -> str:
    """What the processor can do: the lines of its model and flags, where there are any."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.exists() else []
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def _compiled(command: list[str], target: Path) -> Path:
    arguments = [*command, *map(str, _SOURCES), "-o", str(target)]
    subprocess.run(arguments, check=True, capture_output=True, text=True, errors="replace")
    return target
