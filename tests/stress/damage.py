"""Damage to a checkpoint or a run folder as a whole, by the mutations of its files."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tests.stress.mutations import (
    FILE,
    Mutation,
    change_json,
    change_tensors,
    change_yaml,
    odd_text,
)
from training.checkpoints.checksums import write_checksums


def damage_checkpoint(checkpoint: Path, moments: random.Random) -> tuple[str, bool]:
    """Change a file of a checkpoint; returns what, and whether its checksum must tell."""
    names = sorted(path.name for path in checkpoint.iterdir())
    name = moments.choice([*names, "state.json", "state.json"])
    path = checkpoint / name
    own: tuple[Mutation, ...] = ()
    if path.suffix == ".safetensors":
        own = (change_tensors,) * 12
    elif path.suffix == ".json":
        own = (change_json,) * 20 + (odd_text,) * 2
    before = path.read_bytes()
    what = moments.choice(FILE + own)(path, moments)
    plain = path.is_file() and not path.is_symlink() and path.stat().st_size < 2**28
    if plain and path.read_bytes() == before:  # a vector made flat, say
        return f"nothing ({what})", False
    reseal = plain and name != "SHA256SUMS" and moments.random() < 0.7
    if reseal:
        write_checksums(checkpoint, [name for name in names if name != "SHA256SUMS"])
    return what, not reseal and name != "SHA256SUMS"


def damage_folder(run: Path, moments: random.Random) -> str:
    """Change a file of a run, where it leads, or what lies around it."""
    files = sorted(p for p in run.rglob("*") if p.is_file() and p.stat().st_size)
    kind = moments.choice(["file"] * 6 + ["other place", "deep", "link", "linked folder", "lost"])
    path = moments.choice(files)
    if kind == "file":
        own = {".yaml": (change_yaml,) * 12, ".json": (change_json,) * 12}.get(path.suffix, ())
        return moments.choice(FILE + own)(path, moments)
    if kind == "other place":
        other = moments.choice(files)
        path.rename(path.with_name("aside"))
        if other != path:
            shutil.copyfile(other, path)
    elif kind == "deep":
        (path.parent / "/".join("d" * moments.choice([11, 500]))).mkdir(parents=True)
    elif kind == "link":
        (path.parent / moments.choice(["x", ".writing-x", "step_999999999"])).symlink_to("/")
    else:
        folder = moments.choice([p for p in run.rglob("*") if p.is_dir()])
        away = run.parent / "away"
        shutil.rmtree(away, ignore_errors=True)
        folder.rename(away)
        if kind == "linked folder":
            folder.symlink_to(away)
    return f"{kind} at {path.relative_to(run)}"


def copy_of(original: Path, to: Path) -> Path:
    """A fresh copy of a folder or file in the place of an older one."""
    if to.is_symlink() or to.is_file() or to.is_fifo():
        to.unlink()
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(original, to) if original.is_dir() else shutil.copyfile(original, to)
    return to
