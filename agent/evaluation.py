"""Evaluation of an agent: the same call in training and in evaluate.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.random import SeedSequence
from numpy.typing import NDArray

from agent.sac import SAC
from agent.seeding import torch_generator
from envs.goals import ACTION_SIZE
from envs.rollout import EpisodeResults, rollout
from envs.vector import MT10VectorEnv


def evaluate_agent(
    agent: SAC,
    envs: MT10VectorEnv,
    *,
    goals: int,
    episodes_per_goal: int,
    actions: Literal["mean", "sample"],
    seed: SeedSequence,
    on_step: Callable[[], object] = lambda: None,
) -> EpisodeResults:
    """Run the agent on the first `goals` goals of every task.

    Neither the agent nor any training stream is touched: sampled actions draw their noise from
    `seed`, afresh in every call. It uses one CPU thread, so that results do not depend on how many
    the learner has, and the simulators have the cores.
    """
    generator = torch_generator(seed) if actions == "sample" else None

    def act(obs: NDArray[np.float32]) -> NDArray[np.float32]:
        shape = (*obs.shape[:2], ACTION_SIZE)
        return agent.act(
            obs, None if generator is None else torch.randn(shape, generator=generator)
        )

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return rollout(
            envs,
            act,
            goals=goals,
            episodes_per_goal=episodes_per_goal,
            on_step=on_step,
        )
    finally:
        torch.set_num_threads(threads)
