"""The command line of train_permuted_mnist.py, its presets and the rules across settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.command_line import RunCommand, parse_run_command
from configs.permuted_mnist.schema import PermutedConfig
from configs.settings import Settings


def inconsistencies(config: PermutedConfig) -> Iterator[str]:
    """What is wrong with a config whose single values are all right: `key: problem, fix`."""
    network, context = config.network, config.context
    if network.kind == "xdg" and context.kind != "one_hot":
        yield "network.kind: xdg has to know the task; add --context.kind one_hot"
    if context.kind == "clustering" and context.cluster_exemplars < config.learning.batch_size // 2:
        yield "context.cluster_exemplars: give at least half of learning.batch_size"
    if context.kind == "clustering" and config.learning.final_lr_fraction != 1:
        yield (
            "learning.final_lr_fraction: clustering is not told how long a task lasts; leave it at 1"
        )
    if config.data.name == "digits" and config.learning.batch_size > 1_200:
        yield "learning.batch_size: digits has 1,437 training images; give at most 1200"


PERMUTED = Settings(
    schema=PermutedConfig,
    presets=Path(__file__).parent,
    rules=inconsistencies,
    may_change=("recording.log_", "recording.checkpoint_", "machine."),
)
"""`Settings` of a run of permuted images."""


@dataclass(frozen=True)
class PermutedCommand(RunCommand[PermutedConfig]):
    """Train one network on permuted images, one task after the other.

    Settings come from a preset or a YAML file (--config); every single one can be changed on the
    command line. Example: python train_permuted_mnist.py --config permuted_mnist_10 --seed 1
    """

    config: str = "digits"
    """Preset (digits, permuted_mnist_10, permuted_mnist_100; docs/continual.md lists all) or YAML file."""


def parse_permuted_command(arguments: Sequence[str]) -> PermutedCommand:
    """The command line of train_permuted_mnist.py, as `parse_run_command` has it."""
    return parse_run_command(PermutedCommand, PERMUTED, "digits", arguments)
