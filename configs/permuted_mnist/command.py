"""The command line of train_permuted_mnist.py, its presets and the rules across settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.added import ADDED_TO_PERMUTED
from configs.command_line import RunCommand, parse_run_command
from configs.permuted_mnist.effect import PERMUTED_EFFECTS
from configs.permuted_mnist.schema import PermutedConfig
from configs.settings import Settings

TRAINING_IMAGES = {
    ("digits", "test"): 1_438,
    ("digits", "validation"): 1_199,
    ("mnist", "test"): 60_000,
    ("mnist", "validation"): 50_000,
}
"""By `data.name` and `data.evaluate_on`."""


def inconsistencies(config: PermutedConfig) -> Iterator[str]:
    """What is wrong with a config whose single values are all right: `key: problem, fix`."""
    network, context = config.network, config.context
    if config.data.name == "digits" and config.data.folder != "download":
        yield "data.folder: digits come with scikit-learn and need none; add --data.name mnist"
    if network.kind == "xdg" and context.kind != "one_hot":
        yield "network.kind: xdg has to know the task; add --context.kind one_hot"
    if context.kind == "clustering" and config.learning.final_lr_fraction != 1:
        yield (
            "learning.final_lr_fraction: clustering is not told how long a task lasts; leave it at 1"
        )
    images = TRAINING_IMAGES[config.data.name, config.data.evaluate_on]
    if config.learning.batch_size > images:
        yield f"learning.batch_size: there are {images:,} training images; give at most so many"


PERMUTED = Settings(
    script="train_permuted_mnist.py",
    schema=PermutedConfig,
    presets=Path(__file__).parent,
    rules=inconsistencies,
    may_change=("data.folder", "recording.", "machine."),  # files have known sums
    effects=PERMUTED_EFFECTS,
    added=ADDED_TO_PERMUTED,
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
