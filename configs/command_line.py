"""Command lines from dataclasses (tyro), with one-line errors."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from configs.errors import UsageError
from configs.loading import MULTI_TASK
from configs.plain_yaml import read_yaml
from configs.renamed import RENAMED
from configs.schema import Config
from configs.settings import ConfigT, Settings, flatten

CommandT = TypeVar("CommandT")
RunCommandT = TypeVar("RunCommandT", bound="RunCommand[Any]")


@dataclass(frozen=True)
class RunCommand(Generic[ConfigT]):
    """What the command lines of all training commands have in common."""

    settings: Annotated[ConfigT, tyro.conf.arg(name=""), tyro.conf.FlagConversionOff]
    config: str
    """Preset or path of a YAML file."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Run folder to create; default: runs/<config>-seed<N>-<date>-<time>."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Run folder to continue from its newest checkpoint, as if it had never stopped."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the resolved config, parameter counts and the memory forecast, and stop."""


@dataclass(frozen=True)
class TrainCommand(RunCommand[Config]):
    """Train one Soft Actor-Critic agent on a set of Meta-World tasks.

    Settings come from a preset or a YAML file (--config); every single one can be changed on the
    command line. Example: python train_mt10.py --config quick --seed 1 --agent.actor-lr 1e-3
    """

    config: str = "mt10"
    """Preset (mt10, mt50, mt10_one_by_one, mt10_one_by_one_mlp, paper, mlp, quick, smoke) or path of a
    YAML file."""


def parse_train_command(arguments: Sequence[str]) -> TrainCommand:
    """The command line of train_mt10.py, as `parse_run_command` has it."""
    return parse_run_command(TrainCommand, MULTI_TASK, "mt10", arguments)


def parse_run_command(
    kind: type[RunCommandT], known: Settings[Any], preset: str, arguments: Sequence[str]
) -> RunCommandT:
    """Parse and validate the command line of a training command.

    Args:
        kind: of command.
        known: the settings of such a run.
        preset: the default one.
        arguments: without the program's name.

    Raises:
        UsageError: unknown flag, wrong value, unknown preset, or a setting that a resumed run has
            already fixed.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--config")
    first.add_argument("--resume")
    try:
        chosen, _ = first.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UsageError(f"{error}. See {Path(sys.argv[0]).name} --help.") from error
    if chosen.resume is not None:
        if chosen.config is not None:
            raise UsageError("--config: not with --resume, which uses the run's own config.yaml")
        config_path = Path(chosen.resume) / "config.yaml"
        if not config_path.is_file():
            raise UsageError(f"--resume {chosen.resume}: no run there (no {config_path})")
        defaults = known.parse_recorded(read_yaml(config_path), source=str(config_path))
    else:
        defaults = known.load(chosen.config or preset)
    command = parse_command(kind, arguments, kind(defaults, preset))
    # tyro checks types only; ranges and rules across fields are the schema's.
    settings = known.parse(asdict(command.settings), source="command line")
    if command.resume is not None:
        for key in known.fixed_changes(defaults, settings):
            raise UsageError(
                f"--{key.replace('_', '-')}: fixed by the run that is resumed; start a new one instead"
            )
        if command.out is not None:
            raise UsageError("--out: not with --resume, which continues in its own folder")
    return replace(command, settings=settings)


def parse_command(
    kind: type[CommandT], arguments: Sequence[str], default: CommandT | None = None
) -> CommandT:
    """Parse a command line with tyro; a mistake becomes a one-line `UsageError`."""
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            if default is None:
                return tyro.cli(kind, args=arguments)
            return tyro.cli(kind, args=arguments, default=default)
    except SystemExit as exit_request:
        if exit_request.code in (0, None):  # --help
            raise
        raise UsageError(_condense(messages.getvalue(), _settings_of(default))) from None


def _settings_of(command: Any) -> list[str]:
    """Dotted names of the settings of a training command; none for other commands."""
    return [key for key, _ in flatten(asdict(command.settings))] if command is not None else []


def _condense(box: str, settings: Sequence[str]) -> str:
    """One line out of tyro's framed message: what is wrong, and its suggestion.

    Args:
        box: the message.
        settings: dotted names that the command knows; a flag of version 0.1 may be one of them now.
    """
    lines = [line.strip("│╭╮╰╯─ \n") for line in box.splitlines()]
    # Where stdout takes no frame there are lines of dashes. The first line is the frame's title.
    lines = [line for line in lines if line.strip("-")][1:]
    message: list[str] = []
    for index, line in enumerate(lines):
        if line.startswith("Perhaps you meant"):
            message.append(f"(did you mean {lines[index + 1].split(' ')[0]}?)")
            break
        if line.startswith(("Argument helptext", "For full helptext")):
            break
        message.append(line)
    text = " ".join(message).rstrip(".")
    for flag in re.findall(r"--[\w.-]+", text) if "nrecognized" in text else ():
        new = RENAMED.get(flag[2:].replace("-", "_"))
        if new is not None and new in settings:
            text = f"{flag} is now --{new.replace('_', '-')}"
            break
    return f"{text}. See {Path(sys.argv[0]).name} --help."
