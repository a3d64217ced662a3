"""One seed, many streams: each its own, repeatable, and untouched by the others."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from training import streams
from training.streams import STREAMS, seed_streams, torch_generator

SEEDS = (0, 1, 2, 12345, 2**32 - 1)


def first_words(seed):
    return {name: tuple(s.generate_state(4)) for name, s in seed_streams(seed).items()}


def first_draws(seed):
    return {
        name: tuple(torch.rand(4, generator=torch_generator(stream)).tolist())
        for name, stream in seed_streams(seed).items()
    }


@pytest.mark.parametrize("draws", [first_words, first_draws])
def test_streams_differ_from_each_other_and_between_seeds(draws):
    everything = list(itertools.chain(*(draws(seed).values() for seed in SEEDS)))
    assert len(everything) == len(SEEDS) * len(STREAMS)
    assert len(set(everything)) == len(everything)


def test_streams_are_named_in_their_fixed_order():
    # part of the format: another order would change what old seeds mean
    assert list(seed_streams(0)) == [
        "weights",
        "environments",
        "exploration",
        "learning",
        "evaluation",
        "permutations",
        "order",
        "contexts",
    ]


def test_one_streams_generator_can_be_made_again():
    stream = seed_streams(3)["learning"]
    one, same = torch_generator(stream), torch_generator(stream)
    assert torch.equal(torch.randn(8, generator=one), torch.randn(8, generator=same))


def test_draws_of_one_stream_do_not_move_another():
    of_seed = seed_streams(0)
    alone = torch.rand(8, generator=torch_generator(of_seed["learning"]))
    learning, exploration = (torch_generator(of_seed[name]) for name in ("learning", "exploration"))
    first = torch.rand(4, generator=learning)
    torch.rand(1000, generator=exploration)
    assert torch.equal(alone, torch.cat([first, torch.rand(4, generator=learning)]))


def test_generators_live_on_the_device_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(
        streams, "Generator", lambda where: asked.append(where) or torch.Generator()
    )
    torch_generator(seed_streams(0)["learning"], torch.device("cuda:1"))
    assert asked == [torch.device("cuda:1")]


def test_the_streams_are_those_that_numpy_spawns_from_the_seed():
    """What a seed means, with nothing of ours in between."""
    for index, (name, stream) in enumerate(seed_streams(7).items()):
        expected = SeedSequence(7, spawn_key=(index,))
        assert np.array_equal(stream.generate_state(4), expected.generate_state(4)), name
        first = int(expected.generate_state(1, np.uint64)[0] >> 1)
        same = torch.Generator().manual_seed(first)
        draws = [torch.rand(4, generator=g) for g in (torch_generator(stream), same)]
        assert torch.equal(*draws), name
