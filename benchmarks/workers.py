"""Simulators in processes here against actors of Ray's, at several latencies: environment steps/s."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
from numpy.random import SeedSequence
from torch import Generator

from agent.plan import resolve
from agent.player import PolicyPlayer, exploring_player
from agent.sac import SAC
from benchmarks.measuring import Result, Spread, interleave, ratio
from configs import MT10, UsageError, load_config
from envs import GoalLists, MetaWorldVectorEnv, make_goal_lists
from envs.workers import ray_actors
from machine.cores import usable_cores

COPIES, HORIZON, WORKERS = 5, 200, 2
LATENCIES_MS = (0, 1, 10, 100)
"""Round trips: the same machine; a fast network; between buildings; between continents."""
CHUNKS = (1, 5, 25)
"""Vector steps for each message."""


def benchmark_workers(quick: bool) -> Result:
    """The policy of mt10 acts in its fifty environments, in chunks; nobody learns meanwhile.

    Raises:
        UsageError: there is a single core, so there are no two workers; Ray isn't installed.
    """
    if usable_cores() < 2:
        raise UsageError("benchmarks workers: needs two cores or more")
    rounds, vector_steps = (3, 50) if quick else (7, 100)
    latencies = LATENCIES_MS[:3] if quick else LATENCIES_MS
    goals, player = make_goal_lists(MT10, 0), _player()
    with ExitStack() as stack:
        _begin_ray()
        jobs: dict[tuple[str, int], Callable[[], float]] = {}
        for chunk in CHUNKS:
            jobs["processes", chunk] = _job(stack, goals, player, "spawn", chunk, vector_steps)
            for latency in latencies:
                with patch.object(ray_actors, "RemoteShare", DELAYED[latency]):
                    job = _job(stack, goals, player, "ray", chunk, vector_steps)
                jobs[f"Ray, {latency} ms", chunk] = job
        rates = interleave(jobs, rounds)
    result = Result(
        unit="environment steps/s",
        measured={
            f"{name}, chunks of {chunk}": Spread.of(values)
            for (name, chunk), values in rates.items()
        },
        ratios={
            f"ray_{latency}_ms_over_processes_chunks_of_{chunk}": ratio(
                rates[f"Ray, {latency} ms", chunk], rates["processes", chunk]
            )
            for chunk in CHUNKS
            for latency in latencies
        },
    )
    result.notes = {
        "workers": WORKERS,
        "environments": len(MT10) * COPIES,
        "latency": "an answer is held back for so long",
    }
    return result


def _begin_ray() -> None:
    """All actors of all jobs are alive at once, and one job at a time is at work."""
    try:
        import ray
    except ImportError as error:
        raise UsageError("benchmarks workers: Ray isn't installed; pip install '.[ray]'") from error
    ray.init(
        address="local",
        num_cpus=64,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _player() -> PolicyPlayer:
    config = load_config("mt10")
    agent = SAC(resolve(config, torch.device("cpu")), Generator().manual_seed(0))
    return exploring_player(agent.policy, len(MT10), config.exploration)


def _job(
    stack: ExitStack,
    goals: GoalLists,
    player: PolicyPlayer,
    method: Any,
    chunk: int,
    vector_steps: int,
) -> Callable[[], float]:
    envs = stack.enter_context(
        MetaWorldVectorEnv(
            MT10,
            goals,
            copies=COPIES,
            horizon=HORIZON,
            seed=SeedSequence(0),
            player=player,
            longest_chunk=chunk,
            workers=WORKERS,
            start_method=method,
            stagger=True,
        )
    )
    envs.reset()
    generator = Generator().manual_seed(0)

    def run() -> float:
        start = time.perf_counter()
        for _ in range(vector_steps // chunk):
            envs.play_async(chunk, generator=generator)
            envs.play_wait()
        return vector_steps * envs.num_envs / (time.perf_counter() - start)

    return run


class _Delayed(ray_actors.RemoteShare):
    """Stands for a node that is far away."""

    delay_ms = 0

    def serve(self, *arguments: Any) -> Any:
        """What the actor says, later."""
        answer = super().serve(*arguments)
        time.sleep(self.delay_ms / 1000)
        return answer


class Delayed1(_Delayed):
    """A round trip of 1 ms."""

    delay_ms = 1


class Delayed10(_Delayed):
    """A round trip of 10 ms."""

    delay_ms = 10


class Delayed100(_Delayed):
    """A round trip of 100 ms."""

    delay_ms = 100


DELAYED = {0: ray_actors.RemoteShare, 1: Delayed1, 10: Delayed10, 100: Delayed100}
