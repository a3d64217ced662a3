"""Milliseconds per gradient step on permuted images: silent units left out of the products, or not.

The images are scikit-learn's digits drawn at 28 x 28 pixels, so that no data has to be fetched.
"""

from __future__ import annotations

import time
from itertools import pairwise
from statistics import median
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measuring import Result, Spread, interleave, ratio
from benchmarks.update import describe_precision
from configs.permuted_mnist import PermutedConfig, parse_permuted_command
from machine.cores import usable_cores
from machine.device import configure_cpu, resolve_precision
from permuted_mnist.images import digits
from permuted_mnist.learner import Learner
from permuted_mnist.network import Gates, PermutedNetwork

PRESETS = ("permuted_mnist_10", "permuted_mnist_100", "permuted_mnist_100_si")
SIDE = 28  # pixels
WARM_UP = 30
"""Gradient steps before the first measurement: winners settle."""
ROUNDS, STEPS = 15, 20


class GateOfEachSample(PermutedNetwork):
    """The same network; gates are repeated for each image, so that all units are computed."""

    def forward(self, images: Tensor, gates: Gates) -> Tensor:
        """As in the base class."""
        repeated = [None if gate is None else gate.expand(len(images), -1) for gate in gates]
        return super().forward(images, repeated)


def benchmark_permuted(quick: bool, choice: Literal["auto", "float32"]) -> Result:
    """Presets one after the other; the two ways take turns. With `quick` the first preset only."""
    configure_cpu(usable_cores())
    result = Result(unit="ms per gradient step")
    result.notes["precision"] = describe_precision(choice, torch.device("cpu"))
    result.notes["threads"] = torch.get_num_threads()
    for preset in PRESETS[:1] if quick else PRESETS:
        settings = parse_permuted_command(
            ["--config", preset, "--machine.precision", choice]
        ).settings
        steps = {
            way: _Steps(network, settings)
            for way, network in (("left out", PermutedNetwork), ("computed", GateOfEachSample))
        }
        times = interleave({way: one.measure for way, one in steps.items()}, ROUNDS)
        for way, milliseconds in times.items():
            result.measured[f"{preset}, silent units {way}"] = Spread.of(milliseconds)
        result.ratios[f"silent_left_out_over_computed_{preset}"] = ratio(
            times["left out"], times["computed"]
        )
    return result


class _Steps:
    """One network, in the middle of its first task."""

    def __init__(self, kind: type[PermutedNetwork], config: PermutedConfig) -> None:
        images = digits(config.data.scaling)
        square = images.train.view(-1, 1, 8, 8)
        self._images = F.interpolate(square, SIDE, mode="bilinear").flatten(1)  # [n, 784]
        self._labels, size = images.train_labels, config.learning.batch_size
        self._batches = list(pairwise(range(0, len(self._images), size)))
        precision = resolve_precision(config.machine.precision, torch.device("cpu"))
        context = self._images.mean(dim=0)
        network = kind(
            config.network,
            pixels=SIDE**2,
            context_size=len(context),
            product_dtype=None if precision == torch.float32 else precision,
            generator=torch.Generator().manual_seed(0),
        )
        self._learner, self._steps = Learner(network, config), 0
        self._learner.enter(context)
        for _ in range(WARM_UP):
            self._step()

    def measure(self) -> float:
        """Median of some gradient steps, in milliseconds."""
        return median(self._step() for _ in range(STEPS))

    def _step(self) -> float:
        begin, end = self._batches[self._steps % len(self._batches)]
        self._steps += 1
        start = time.perf_counter()
        self._learner.update(self._images[begin:end], self._labels[begin:end], progress=0.5)
        return 1e3 * (time.perf_counter() - start)
