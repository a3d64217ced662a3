"""Where the workers of a vector environment run: processes on this machine, or actors of Ray's."""

from __future__ import annotations

import multiprocessing
from typing import Literal

from envs.workers.handle import ProcessWorkers
from envs.workers.pool import Workers
from envs.workers.shared_arrays import Arrays, SharedArrays, Sizes, plain_arrays

StartMethod = Literal["spawn", "fork", "ray"]
"""Processes, started in one of two ways; actors."""


def make_workers(
    method: StartMethod,
    sizes: Sizes,
    *,
    number: int,
    autoreset: bool,
    player: bytes | None,
    ray_address: str | None,
) -> tuple[Workers, Arrays]:
    """What starts the workers, and the arrays that the trainer will find their work in.

    Args:
        method: how they are started.
        sizes: of the arrays.
        number: of workers there will be.
        autoreset: workers reset an environment in the step that ends its episode.
        player: pickled, for the workers; `None` where the trainer always gives the actions.
        ray_address: ray: of the cluster, HOST:PORT; `None` begins one on this machine.

    Raises:
        UsageError: Ray isn't installed, its cluster doesn't answer or is too small.
    """
    if method == "ray":
        from envs.workers.ray_actors import RayWorkers

        arrays = plain_arrays(sizes)
        ray = RayWorkers(
            ray_address, sizes, arrays, autoreset=autoreset, player=player, workers=number
        )
        return ray, arrays
    context = multiprocessing.get_context(method)
    shared = SharedArrays(context, sizes)
    return ProcessWorkers(context, shared, autoreset=autoreset, player=player), shared.views()
