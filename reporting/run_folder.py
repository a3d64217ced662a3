"""The folder of a run: config.yaml, metrics.csv, tensorboard/, checkpoints/, report.*."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from configs.errors import UsageError
from configs.loading import dump_config, parse_config, read_yaml
from configs.schema import Config


def create_run_folder(out: Path | None, config_name: str, config: Config) -> Path:
    """Make a new run folder and write the resolved config into it.

    Args:
        out: as the user named it; `None` makes `runs/<config>-seed<N>-<date>-<time>`.

    Raises:
        UsageError: it exists and is not empty, or can't be written.
    """
    if out is None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        out = Path("runs") / f"{Path(config_name).stem}-seed{config.seed}-{stamp}"
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"--out {out}: exists and is not empty; choose another, or --resume {out}")
    try:
        (out / "checkpoints").mkdir(parents=True)
        (out / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out {out}: can't be written ({error.strerror})") from error
    return out


def open_run_folder(folder: Path) -> Config:
    """The config of an existing run.

    Raises:
        UsageError: no such run, or not writable.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise UsageError(f"--resume {folder}: no run there (no {path})")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--resume {folder}: can't be written; mend its permissions")
    return parse_config(read_yaml(path), source=str(path))
