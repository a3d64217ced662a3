"""A connection to a Ray cluster (https://docs.ray.io), which is an optional extra of the project."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from configs.errors import UsageError

_ANSWER_S = 10.0


def connect_ray(address: str | None, flag: str, without: str) -> Any:
    """The module `ray`, connected; a second call in a process changes nothing.

    What Ctrl-C and SIGTERM do stays as it was: Ray would take SIGTERM for itself.

    Args:
        address: of the cluster, HOST:PORT; `None` begins one on this machine, which ends with this process.
        flag: that the address is from, for errors.
        without: what to do instead of installing Ray, for errors.

    Raises:
        UsageError: Ray isn't installed, the address is none, or the cluster doesn't answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # `ray start --head` asks for a token where there is one; others show it only when they are told to.
    if _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise UsageError(f"Ray isn't installed; pip install '.[ray]', or {without}") from error
    if not ray.is_initialized():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        _connect(ray, address, flag)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return ray


def nodes_of(ray: Any) -> list[dict[str, float]]:
    """What each living node of the cluster has: `CPU`, `GPU` and others."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _has_token() -> bool:
    """Whether Ray finds a token here; it makes one when it begins a cluster of this machine alone."""
    given = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return given or Path("~/.ray/auth_token").expanduser().is_file()


def _connect(ray: Any, address: str | None, flag: str) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        ray.init(address="local", include_dashboard=False, **options)
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"{flag} {address}: give HOST:PORT")
    try:  # Ray itself would try for minutes
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
        own = {"_node_ip_address": host} if host.startswith("127.") else {}  # nodes on this machine
        ray.init(address=address, **own, **options)
    except (OSError, RuntimeError, ValueError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{flag} {address}: no Ray cluster answers there, or it asks for another token than that of this machine "
            f"({said:.200}); begin one with: ray start --head"
        ) from error
