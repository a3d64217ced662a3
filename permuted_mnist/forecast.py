"""What a run will need, printed before it starts: parameters, memory, disk."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from configs.errors import UsageError
from configs.permuted_mnist import PERMUTED, PermutedConfig
from configs.permuted_mnist.command import TRAINING_IMAGES
from dendrites import nonzeros_per_row
from machine.device import free_bytes, resolve_device
from permuted_mnist.network import CLASSES

_SIZES = {"digits": (64, 1_797), "mnist": (784, 70_000)}
"""Pixels of an image, and images."""


@dataclass(frozen=True)
class Forecast:
    """Numbers of weights as they are stored, and bytes."""

    feed_forward: int
    nonzero: int
    """Of the feed-forward weights and biases."""
    segments: int
    units: int
    """With segments, whose activations are all that a step changes of them."""
    memory_bytes: int
    checkpoint_bytes: int


def forecast(config: PermutedConfig) -> Forecast:
    """What a run with this config needs at most."""
    pixels, images = _SIZES[config.data.name]
    network, tasks = config.network, config.data.num_tasks
    widths = (pixels, *network.hidden, CLASSES)
    feed_forward = sum(after * before + after for before, after in pairwise(widths))
    nonzero = sum(
        after * (nonzeros_per_row(before, network.weight_density) + 1)
        for before, after in pairwise(widths)
    )
    context = tasks if config.context.kind == "one_hot" else pixels
    units = sum(network.hidden) if network.kind == "dendritic" else 0
    activations = units * network.num_segments
    segments = activations * context
    protection = 5 * feed_forward if config.protection.strength else 0
    # Weights, gradients and two moments; masks; segments, their activations and moments.
    numbers = 5 * feed_forward + segments + 4 * activations + protection
    data = 2 * images * pixels  # as they are, and as the task shows them
    scratch = 4 * tasks * activations
    saved = 4 * feed_forward + segments + 4 * activations + protection * 3 // 5
    read = 2 * feed_forward + segments  # the largest part of a checkpoint, when a run is resumed
    return Forecast(
        feed_forward,
        nonzero,
        segments,
        units,
        4 * (numbers + data + scratch + read) + 600_000_000,  # torch itself
        4 * saved,
    )


def describe(config: PermutedConfig) -> str:
    """A few lines for the console."""
    needs = forecast(config)
    images = TRAINING_IMAGES[config.data.name, config.data.evaluate_on]
    free = free_bytes(resolve_device(config.machine.device))
    segments = (
        f", {needs.segments:,} of dendritic segments, learned as {needs.units:,} activations at a time"
        if needs.segments
        else ""
    )
    notes = "".join(f"\nnote: {said}" for said in PERMUTED.without_effect(config))
    return (
        f"network: {needs.nonzero:,} non-zero feed-forward parameters{segments}\n"
        f"data: {config.data.num_tasks} tasks of {images:,} images to learn from; epochs of training on each: "
        f"{config.learning.epochs}\n"
        f"memory: about {needs.memory_bytes / 1e9:.1f} GB ({free / 1e9:.1f} GB free); disk for "
        f"checkpoints: about {2 * needs.checkpoint_bytes / 1e9:.2f} GB{notes}"
    )


def require_memory(config: PermutedConfig) -> None:
    """Raise `UsageError` before anything is started if the run does not fit."""
    needed = forecast(config).memory_bytes
    free = free_bytes(resolve_device(config.machine.device))
    if needed > free:
        raise UsageError(
            f"network.hidden: the run needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; use "
            "smaller layers, or fewer --network.num-segments"
        )
