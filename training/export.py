"""Make a small folder of a finished run that others can evaluate: `pretrained/mt10` is one.

    python -m training.export runs/RUN --out pretrained/mt10

It gets the networks of the run's last checkpoint (safetensors and JSON), its config, metrics.csv, sessions.csv and
report, the learning curve, and a model card: it can be uploaded to a model hub as it is.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from configs import UsageError, exit_on_error
from configs.command_line import parse_command
from machine.interpreter import this_python
from reporting.plots import plot, read_curves
from reporting.report import read_report
from training.checkpoints.folder import find_checkpoint, load_state, write_checkpoint
from training.checkpoints.policy import load_policy
from training.checkpoints.tensors import network_tensors
from training.model_card import model_card
from training.sessions import SESSIONS

_HISTORY = ("config.yaml", "metrics.csv", "report.json", "report.csv", "report.md")


@dataclass(frozen=True)
class ExportCommand:
    """Copy what evaluation needs of a finished run, and its history, into a new folder."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder; it must have finished (have a report)."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder to create."""


def main() -> int:
    """The command: returns the exit code."""
    command = parse_command(ExportCommand, sys.argv[1:])
    checkpoint = find_checkpoint(command.run)
    trained = load_policy(command.run, torch.device("cpu"))
    for name in _HISTORY:
        if not (command.run / name).is_file():
            raise UsageError(f"{command.run}: no {name} in it; export a finished run")
    if command.out.exists():
        raise UsageError(f"--out {command.out}: exists already; give a new folder")
    networks = network_tensors(trained.agent)
    report = read_report(command.run / "report.json")
    if report["env_steps_trained"] != trained.env_steps:
        raise UsageError(
            f"{command.run}: its report is of {report['env_steps_trained']:,} environment steps, its last checkpoint of "
            f"{trained.env_steps:,}; resume it to its end, then export it"
        )
    curves = read_curves(command.run / "metrics.csv")
    state = {key: load_state(checkpoint)[key] for key in ("versions", "config", "progress")}
    command.out.mkdir(parents=True)
    write_checkpoint(command.out, {"agent": networks}, state)
    for name in (*_HISTORY, SESSIONS):
        if (command.run / name).is_file():  # older runs have no sessions.csv
            shutil.copyfile(command.run / name, command.out / name)
    if curves:
        plot(curves, command.out / "learning_curve.png")
    card = model_card(
        command.out.name, trained.plan.config, report, trained.versions, has_curve=bool(curves)
    )
    (command.out / "README.md").write_text(card, encoding="utf-8")
    size = sum(path.stat().st_size for path in command.out.iterdir())
    print(
        f"{command.out}: {size / 1e6:.1f} MB; {this_python()} evaluate.py {command.out} evaluates it"
    )
    return 0


if __name__ == "__main__":
    exit_on_error(main)
