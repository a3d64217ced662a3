"""The command line of evaluate.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from configs.errors import UsageError

PRETRAINED = Path(__file__).parent.parent / "pretrained" / "mt10"
"""The trained policy that comes with the project."""

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True)
class EvaluateCommand:
    """Evaluate a checkpoint: success rate per task with intervals, returns, steps to success."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (PRETRAINED,)
    """Run folders (their newest checkpoints), checkpoint folders or exported folders."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the report; default: evaluation/ in the folder given, of a checkpoint evaluation-NAME/
    next to checkpoints/. Several runs get a folder each in it."""
    goals: int | None = None
    """Goals per task, 1 to 50; default: all goals that the run trains on."""
    actions: Literal["mean", "sample"] | None = None
    """tanh of the policy's mean, or sampled; default: as the run's own evaluation."""
    seed: int | None = None
    """Seed of the goal list and of sampled actions; default: the training run's, that is, the goals
    it trained on."""
    analyze: Flag = False
    """Also measure the actor's hidden units: who shares them, and success with some of them silenced."""
    analysis_goals: int | None = None
    """Goals per task of that, 1 to 50, an episode on each for every row of the silencing matrix;
    default: 5, or all that the run trains on if they are fewer."""
    video: Flag = False
    """Also write a video of each task, and one of all of them side by side."""
    page: Flag = False
    """Also write report.html, one file with all of this; several runs beside each other."""
    published: Annotated[Path | None, tyro.conf.arg(metavar="CSV")] = None
    """Curves for the page: network, run, env_steps, success_rate."""
    record: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Also write the evaluated episodes, every step of them, into a new folder (Parquet, LeRobot's layout)."""
    workers: int | Literal["auto"] = "auto"
    """Simulator processes; the result does not depend on it."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""


def check_flags(command: EvaluateCommand) -> None:
    """Ranges that the types do not say."""
    if command.goals is not None and not 1 <= command.goals <= 50:
        raise UsageError(f"--goals {command.goals}: the benchmark has 1 to 50 goals per task")
    if command.seed is not None and not 0 <= command.seed < 2**32:
        raise UsageError(f"--seed {command.seed}: give 0 to 4294967295")
    if command.analysis_goals is not None and not 1 <= command.analysis_goals <= 50:
        raise UsageError(f"--analysis-goals {command.analysis_goals}: give 1 to 50")
    if command.analysis_goals is not None and not command.analyze:
        raise UsageError("--analysis-goals: only with --analyze")
    if len({folder.resolve() for folder in command.runs}) < len(command.runs):
        raise UsageError("the same folder is given twice")
    if command.record is not None and len(command.runs) > 1:
        raise UsageError("--record: give one run")
    if command.published is not None and not command.page:
        raise UsageError("--published: curves are for the page; add --page")
    if command.workers != "auto" and command.workers < 1:
        raise UsageError(f"--workers {command.workers}: give 1 or more, or auto")
