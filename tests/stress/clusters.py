"""A Ray cluster of two nodes and a Slurm of one, both on this machine, to run sweeps on.

Ray's nodes are as their users often have them. They ask for a token. They ignore SIGINT, like everything that a
script starts in the background.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_PATIENCE_S = 90.0

HEAD, OTHER = "127.0.0.2", "127.0.0.3"
"""Ray rewrites 127.0.0.1 to the machine's outward address; these it leaves alone."""


@dataclass(frozen=True)
class RayNodes:
    """Two nodes with a core each.

    Attributes:
        address: of the head, HOST:PORT.
        environment: of who connects.
        kill_other: SIGKILLs everything on the second node, of this cluster alone, and begins it again.
    """

    address: str
    environment: dict[str, str]
    kill_other: Callable[[], None]


@contextmanager
def two_ray_nodes(folder: Path) -> Iterator[RayNodes]:
    """Ray's own command, once for each node."""
    port = _free_port()
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    environment = {
        **{key: value for key, value in os.environ.items() if key != "RAY_AUTH_MODE"},
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_health_check_period_ms": "1000",  # a dead node is noticed within seconds
        "RAY_health_check_failure_threshold": "3",
        "RAY_worker_niceness": "0",  # by default its workers starve next to other tests
    }
    ray = str(Path(sys.executable).parent / "ray")
    nodes: list[psutil.Popen] = []

    def start(*arguments: str) -> psutil.Popen:
        log = (folder / f"ray{len(nodes)}.log").open("w")
        every = ("--num-cpus", "1", "--object-store-memory", "100000000", "--block")
        node = psutil.Popen(
            [ray, "start", *arguments, *every],
            env={**environment, "RAY_AUTH_MODE": "token"},
            stdout=log,
            stderr=log,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
        nodes.append(node)
        return node

    def begin() -> psutil.Popen:
        return start("--address", f"{HEAD}:{port}", "--node-ip-address", OTHER)

    def kill_other() -> None:
        kill_tree(nodes[-1])
        begin()

    start(
        *("--head", "--node-ip-address", HEAD, "--port", f"{port}"),
        *("--include-dashboard=false", "--temp-dir", f"/tmp/ray-{os.getpid()}"),  # sockets: short
    )
    try:
        _wait(lambda: _answers(HEAD, port), "Ray's head node")
        begin()
        time.sleep(5)  # until the head knows it
        yield RayNodes(f"{HEAD}:{port}", environment, kill_other)
    finally:
        for node in nodes:
            kill_tree(node)
        shutil.rmtree(f"/tmp/ray-{os.getpid()}", ignore_errors=True)


@contextmanager
def one_node_slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Slurm's controller and its node, without accounts or keys; yields the environment of its users."""
    controller, node, host = _free_port(), _free_port(), platform.node()
    lines = [
        "ClusterName=one",
        f"SlurmctldHost={host}(127.0.0.1)",
        *(f"SlurmctldPort={controller}", f"SlurmdPort={node}"),
        *("AuthType=auth/none", "CredType=cred/none", "SlurmUser=root", "MpiDefault=none"),
        *("ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "ReturnToService=2"),
        *("JobAcctGatherType=jobacct_gather/none", "SelectType=select/cons_tres"),
        *("AccountingStorageType=accounting_storage/none", "SelectTypeParameters=CR_CPU"),
        *(f"StateSaveLocation={folder}/state", f"SlurmdSpoolDir={folder}/spool"),
        *(f"SlurmctldPidFile={folder}/ctl.pid", f"SlurmdPidFile={folder}/d.pid"),
        *(f"SlurmctldLogFile={folder}/ctl.log", f"SlurmdLogFile={folder}/d.log"),
        f"NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN",
        f"PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP",
    ]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    daemons = []
    try:
        for daemon in ("slurmctld", "slurmd"):
            path = shutil.which(daemon, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
            assert path is not None, f"{daemon} is not installed"
            log = (folder / f"{daemon}.out").open("w")
            daemons.append(psutil.Popen([path, "-D"], env=environment, stdout=log, stderr=log))
        _wait(lambda: "idle" in _sinfo(environment), "Slurm's node")
        yield environment
    finally:
        for process in reversed(daemons):
            kill_tree(process)


def has_slurm() -> bool:
    """Whether both daemons are installed, and we may start them."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return os.geteuid() == 0 and all(
        shutil.which(name, path=path) for name in ("slurmctld", "slurmd", "sbatch")
    )


def kill_tree(process: psutil.Process) -> None:
    """SIGKILL a process with all that it has started, as when its machine dies."""
    try:
        tree = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in tree:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(tree, timeout=10)


def _sinfo(environment: dict[str, str]) -> str:
    done = subprocess.run(["sinfo", "-h"], env=environment, capture_output=True, text=True)
    return done.stdout


def _answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(reached: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while not reached():
        if time.monotonic() > ends:
            raise TimeoutError(f"{what} doesn't come up")
        time.sleep(0.2)
