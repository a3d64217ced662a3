"""The folder of a run: config.yaml, metrics.csv, tensorboard/, checkpoints/, report.*."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from configs.errors import UsageError
from configs.loading import dump_config
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
    except OSError as error:
        raise UsageError(f"--out {out}: can't be written ({error.strerror})") from error
    write_config(out, config)
    return out


def write_config(folder: Path, config: Config) -> None:
    """Write config.yaml, in a new run or when a resumed one has changed settings.

    Raises:
        UsageError: the folder can't be written.
    """
    draft = folder / ".config.yaml"
    try:
        draft.write_text(dump_config(config), encoding="utf-8")
        draft.replace(folder / "config.yaml")
    except OSError as error:
        raise UsageError(f"{folder}: can't be written ({error.strerror})") from error
