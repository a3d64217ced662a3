"""Where the runs of a sweep are executed: here, on a cluster of Ray's, by Slurm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from sweeps.runs import Run

BackendName = Literal["local", "ray", "slurm"]
Outcomes = dict[str, str | None]
"""Name of a run -> why it failed, in one line; `None` if it is done. `sweeps.execution.Lost`: it may be begun again."""


class Backend(Protocol):
    """Executes runs (`sweeps.execution.execute`), several at a time."""

    def submit(self, run: Run) -> None:
        """Begin a run, or go on with it, as soon as there is room.

        Raises:
            UsageError: the run is refused; it may be offered again later.
        """

    def finished(self) -> Outcomes:
        """How the runs have ended that have done so since the last call."""

    def stop(self) -> None:
        """Let the runs save and end, and wait for them."""


def make_backend(
    name: BackendName,
    jobs: int,
    cores: int,
    *,
    out: Path,
    gpus: int = 0,
    address: str | None = None,
    hours: float = 24.0,
    slurm: Mapping[str, str] | None = None,
) -> Backend:
    """The backend of this name, ready for runs.

    Args:
        name: which.
        jobs: runs at a time.
        cores: of each run.
        out: folder of the sweep.
        gpus: of each run; ray and slurm.
        address: ray: of the cluster; `None` for one of this machine alone.
        hours: slurm: time limit of a job.
        slurm: options of sbatch.

    Raises:
        UsageError: its library isn't installed, or its cluster doesn't answer.
    """
    if name == "ray":
        from sweeps.backends.ray_cluster import RayBackend

        return RayBackend(cores, gpus, address)
    if name == "slurm":
        from sweeps.backends.slurm import SlurmBackend

        return SlurmBackend(cores, gpus, out=out, hours=hours, options=dict(slurm or {}))
    from sweeps.backends.local import LocalBackend

    return LocalBackend(jobs, cores)
