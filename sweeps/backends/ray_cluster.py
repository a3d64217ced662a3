"""Runs on a Ray cluster (https://docs.ray.io), or on one of this machine alone.

Core Ray only: a run is a task, which executes the ordinary command on the node that has room for it. If the
node dies, Ray begins the task elsewhere, and the run goes on from its last checkpoint. All nodes need the
project, its virtual environment and the sweep's folder under the same paths.
"""

from __future__ import annotations

import signal
import time
from typing import Any

from configs.errors import UsageError, one_line
from machine.ray_cluster import connect_ray, nodes_of
from sweeps.execution import execute
from sweeps.runs import Run

_STOP_S = 300.0
"""For the runs to save and end. They do so in any case, but nobody waits for longer."""


class RayBackend:
    """As many runs at a time as the cluster has cores for.

    Args:
        cores: of each run.
        gpus: of each run.
        address: of the cluster, HOST:PORT; `None` begins one here, which ends with `stop`.

    Raises:
        UsageError: Ray isn't installed, the cluster doesn't answer, or no node has that many cores.
    """

    def __init__(self, cores: int, gpus: int, address: str | None) -> None:
        self._ray = ray = connect_ray(address, "--backend ray: --address", "use --backend local")
        _require_room(ray, {"CPU": cores, "GPU": gpus})
        # A node that dies takes its tasks along; they begin again elsewhere, as often as it takes.
        self._task = ray.remote(num_cpus=cores, num_gpus=gpus, max_retries=-1)(_execute_on_node)
        self._cores = cores
        self._names: dict[Any, str] = {}

    def submit(self, run: Run) -> None:
        """Begin a run, or go on with it, as soon as there is room."""
        self._names[self._task.remote(run, self._cores)] = run.name

    def finished(self) -> dict[str, str | None]:
        """How the runs have ended that have done so since the last call."""
        if not self._names:
            return {}
        pending = list(self._names)
        ended, _ = self._ray.wait(pending, num_returns=len(pending), timeout=0)
        return {self._names.pop(one): self._outcome(one) for one in ended}

    def _outcome(self, task: Any) -> str | None:
        """An error of the task itself is one of this run: a node without the project, say."""
        try:
            outcome: str | None = self._ray.get(task)
            return outcome
        except self._ray.exceptions.RayError as error:
            return one_line(str(error).strip().splitlines()[-1])

    def stop(self) -> None:
        """Let the runs save and end, and wait for them."""
        for one in self._names:
            self._ray.cancel(one)  # a KeyboardInterrupt in the task, which ends its run
        ends = time.monotonic() + _STOP_S
        pending = list(self._names)
        while pending and time.monotonic() < ends:
            _, pending = self._ray.wait(pending, num_returns=len(pending), timeout=1)
        self._ray.shutdown()


def _require_room(ray: Any, needed: dict[str, int]) -> None:
    """Raise `UsageError` if no node can ever take a run: Ray would wait for one that can."""
    nodes = nodes_of(ray)
    if any(all(node.get(key, 0) >= value for key, value in needed.items()) for node in nodes):
        return
    has = "; ".join(", ".join(f"{node.get(key, 0):.0f} {key}" for key in needed) for node in nodes)
    ray.shutdown()
    raise UsageError(f"--cores, --gpus: no node of the cluster has so many; its nodes have {has}")


def _execute_on_node(run: Run, cores: int) -> str | None:
    """The task: an outcome, as `execute` has it."""
    import ray

    # Ctrl-C at the sweep is a KeyboardInterrupt here, also on a node that was started in the background of a
    # script: there, SIGINT is ignored, and Ray's interrupt with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    context = ray.get_runtime_context()
    node = ray.util.get_node_ip_address()
    return execute(run, cores, f"{node} (node {context.get_node_id()[:8]})", lambda: False)
