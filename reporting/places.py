"""Where an evaluation's files go, and where those of its run are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from configs import UsageError


def out_folders(folders: Sequence[Path], out: Path | None) -> dict[Path, Path]:
    """The folder for the report of each folder that is evaluated.

    By default `evaluation/` in it. A checkpoint's is next to `checkpoints/`, because training deletes older
    checkpoints with all that is in them.

    Raises:
        UsageError: a report would replace the one of a run or an export.
    """
    if out is None:
        return {folder: _default(folder) for folder in folders}
    if len(folders) == 1:
        found = {folders[0]: out}
    else:
        found = {folder: out / name for folder, name in run_names(folders).items()}
    own = {folder.resolve() for folder in folders}
    for place in found.values():
        if place.resolve() in own or any((place / name).exists() for name in _OF_A_RUN):
            raise UsageError(
                f"--out {out}: {place} is the folder of a run or an export, whose own report would be replaced; "
                "give another"
            )
    return found


_OF_A_RUN = ("config.yaml", "checkpoints", "state.json")


def run_names(folders: Sequence[Path]) -> dict[Path, str]:
    """What each is called: its folder's name, of a checkpoint behind its run's, and a number where another has it."""
    names: dict[Path, str] = {}
    for folder in folders:
        place = folder.resolve()
        of_run = f"{place.parent.parent.name}-" if place.parent.name == "checkpoints" else ""
        own = name = f"{of_run}{place.name}"
        count = 1
        while name in names.values():
            count += 1
            name = f"{own}-{count}"
        names[folder] = name
    return names


def metrics_of(folder: Path) -> Path | None:
    """metrics.csv of a run or an export; of a checkpoint, that of its run."""
    places = (folder, folder.resolve().parent.parent)
    return next(
        (place / "metrics.csv" for place in places if (place / "metrics.csv").is_file()), None
    )


def _default(folder: Path) -> Path:
    place = folder.resolve()
    if place.parent.name == "checkpoints":
        return place.parent.parent / f"evaluation-{place.name}"
    return folder / "evaluation"
