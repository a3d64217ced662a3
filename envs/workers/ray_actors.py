"""Simulators elsewhere: workers that are actors on the nodes of a Ray cluster.

An actor has arrays of its own. With a command it is sent what its environments need, and it answers with what
they have done: one message in each direction for a chunk of steps.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import UsageError, one_line
from envs.errors import describe_error
from envs.workers.commands import PLAY, RESTORE, Command, decode
from envs.workers.share import EnvSpec, Share
from envs.workers.shared_arrays import RUNNING, Arrays, Sizes, plain_arrays
from machine.ray_cluster import connect_ray, nodes_of

_OF_STEPS = ("next_obs", "obs_after", "reward", "terminated", "truncated", "success", "fault")
"""Arrays `[K, E, ...]` that a worker fills."""
_CORES = 0.5
"""Of each actor: those of training and of evaluations take turns, and a run has both."""
_MOST_STARTS, _PAUSE_S = 10, 1.0
_LOG = "action_log"
"""The actor has its own; it is sent only to one that has to catch up."""


class RayWorkers:
    """Starts workers on a cluster.

    Args:
        address: of the cluster, HOST:PORT; `None` begins one on this machine.
        sizes: of the arrays.
        arrays: the trainer's.
        autoreset: workers reset an environment in the step that ends its episode.
        player: pickled, for the workers; `None` where the trainer always gives the actions.
        workers: how many there will be.

    Raises:
        UsageError: Ray isn't installed, the cluster doesn't answer or has fewer cores than workers.
    """

    def __init__(
        self,
        address: str | None,
        sizes: Sizes,
        arrays: Arrays,
        *,
        autoreset: bool,
        player: bytes | None,
        workers: int,
    ) -> None:
        self._ray = connect_ray(
            address, "--machine.ray-address", "use --machine.workers-backend processes"
        )
        cores = sum(int(node.get("CPU", 0)) for node in nodes_of(self._ray))
        if workers > cores:
            raise UsageError(
                f"--machine.workers {workers}: the Ray cluster has {cores} cores, and each worker takes one; "
                f"give --machine.workers {cores} or fewer"
            )
        self._arrays, self._autoreset = arrays, autoreset
        self._sizes, self._player = self._ray.put(sizes), self._ray.put(player)
        # Where a node dies, its worker is replaced by the trainer, who knows what it has to catch up with.
        self._actor = self._ray.remote(num_cpus=_CORES, max_restarts=0)(RemoteShare).options(
            scheduling_strategy="SPREAD"
        )
        self._weights: tuple[NDArray[np.float32], Any] | None = None

    def start(self, index: int, specs: list[EnvSpec]) -> RayWorker:
        """A worker with its share of the environments; it is waited for at its first answer."""
        return RayWorker(self, self._ray, index, specs, self._arrays)

    def actor(self, specs: list[EnvSpec]) -> Any:
        """A new actor, on whatever node has room."""
        return self._actor.remote(self._sizes, specs, self._autoreset, self._player)

    def weights(self) -> Any:
        """The player's weights as they are now, where all nodes can fetch them: sent once a chunk."""
        if self._weights is None or not np.array_equal(self._weights[0], self._arrays.weights):
            weights = self._arrays.weights.copy()
            self._weights = weights, self._ray.put(weights)
        return self._weights[1]


class RayWorker:
    """The trainer's side of an actor; a `Worker`."""

    def __init__(
        self,
        workers: RayWorkers,
        ray: Any,
        index: int,
        specs: list[EnvSpec],
        arrays: Arrays,
    ) -> None:
        self.index, self.specs, self.failures = index, specs, 0
        self._workers, self._ray, self._arrays = workers, ray, arrays
        self._rows = np.array([spec.row for spec in specs])
        self._command: Command | None = None
        self._begin()

    def send(self, command: Command) -> None:
        """A command, with what the environments need for it."""
        arrays, rows = self._arrays, self._rows
        names = RUNNING if command.kind == RESTORE else [one for one in RUNNING if one != _LOG]
        needs = {name: getattr(arrays, name)[rows] for name in (*names, "goals_used", "plays")}
        steps, weights = {}, None
        if command.kind == PLAY:
            name = "action" if command.given else "draws"
            steps[name] = getattr(arrays, name)[: command.stop, rows]
            weights = None if command.given else self._workers.weights()
        self._command = command
        self._answer = self._actor.serve.remote(command.encode(), needs, steps, weights)

    def problem(self, timeout_s: float) -> str | None:
        """Wait for an answer and take over what it says: `None`, or what went wrong."""
        problem = self._wait(timeout_s)
        tries = _MOST_STARTS if self._command is None else 1
        while problem is not None and problem.startswith("died") and tries > 1:
            # Ray offers a node for seconds after its death: that is no failure of what was asked.
            tries -= 1
            self.kill()
            time.sleep(_PAUSE_S)
            self._begin()
            problem = self._wait(timeout_s)
        return problem

    def stop(self) -> None:
        """The same as `kill`: an actor has nothing to save."""
        self.kill()

    def kill(self) -> None:
        """End the actor, wherever it is; after a shutdown of Ray there is none, and `ray.kill` would begin one."""
        if self._ray.is_initialized():
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(self._actor)

    def _begin(self) -> None:
        self._actor = self._workers.actor(self.specs)
        self._answer = self._actor.ready.remote()

    def _wait(self, timeout_s: float) -> str | None:
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(self._answer, timeout=timeout_s)
        except errors.GetTimeoutError:
            room = "" if self._command is not None else ", or found no room in the Ray cluster"
            return f"did not answer for {timeout_s:g} s{room}"
        except errors.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            if getattr(error, "actor_init_failed", False):  # a node without the project, say
                return f"raised: {one_line(lines[-1])}"
            return f"died ({one_line(lines[0]):.200})"
        if isinstance(answer, str):
            return f"raised: {answer}"
        self._take_over(*answer)
        return None

    def _take_over(self, running: dict[str, NDArray[Any]], steps: dict[str, NDArray[Any]]) -> None:
        for name, values in running.items():
            getattr(self._arrays, name)[self._rows] = values
        if self._command is not None:
            for name, values in steps.items():
                getattr(self._arrays, name)[
                    self._command.first : self._command.stop, self._rows
                ] = values


class RemoteShare:
    """What runs on the node."""

    def __init__(
        self, sizes: Sizes, specs: list[EnvSpec], autoreset: bool, player: bytes | None
    ) -> None:
        import pickle

        from threadpoolctl import threadpool_limits

        # Both before the limit of threads, which holds for libraries that are loaded.
        import envs.simulator.simulator  # noqa: F401

        own = None if player is None else pickle.loads(player)
        self._limits = threadpool_limits(1)
        self._rows = np.array([spec.row for spec in specs])
        self._arrays = plain_arrays(sizes)
        self._share = Share(specs, self._arrays, autoreset, own)

    def ready(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Once the simulators are there."""
        return {}, {}

    def serve(
        self,
        message: bytes,
        needs: dict[str, NDArray[Any]],
        steps: dict[str, NDArray[Any]],
        weights: NDArray[np.float32] | None,
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]] | str:
        """Do what the trainer asks; returns its environments' rows, and those of the steps, or an error.

        Args:
            message: a command.
            needs: `[e, ...]` rows of arrays of the running episodes.
            steps: `[stop, e, ...]` rows of arrays of a chunk.
            weights: of the player.
        """
        command, arrays, rows = decode(message), self._arrays, self._rows
        for name, values in needs.items():
            getattr(arrays, name)[rows] = values
        for name, values in steps.items():
            getattr(arrays, name)[: command.stop, rows] = values
        if weights is not None:
            arrays.weights[:] = weights
        try:
            self._share.serve(command)
        except Exception as error:
            return describe_error(error)
        running = {name: getattr(arrays, name)[rows] for name in (*RUNNING, "goals_used", "busy_s")}
        made = ("action", *_OF_STEPS) if command.kind == PLAY else ()
        window = slice(command.first, command.stop)
        return running, {name: getattr(arrays, name)[window][:, rows] for name in made}
