"""One seed, many independent streams: every random thing has its own, by name."""

from __future__ import annotations

import numpy as np
from numpy.random import SeedSequence
from torch import Generator, device

STREAMS = (
    *("weights", "environments", "exploration", "learning", "evaluation"),
    *("permutations", "order", "contexts"),  # of permuted images
)
"""Order is part of the format: append only, or old seeds change meaning."""


def seed_streams(seed: int) -> dict[str, SeedSequence]:
    """A `SeedSequence` for each of `STREAMS`."""
    return dict(zip(STREAMS, SeedSequence(seed).spawn(len(STREAMS)), strict=True))


def torch_generator(stream: SeedSequence, where: device | str = "cpu") -> Generator:
    """A torch generator on a device, seeded from a stream."""
    return Generator(where).manual_seed(int(stream.generate_state(1, np.uint64)[0] >> 1))
