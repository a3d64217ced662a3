"""Settings of a run of permuted images: schema, presets, command line."""

from configs.permuted_mnist.command import PERMUTED, PermutedCommand, parse_permuted_command
from configs.permuted_mnist.schema import PermutedConfig

__all__ = ["PERMUTED", "PermutedCommand", "PermutedConfig", "parse_permuted_command"]
