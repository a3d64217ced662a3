"""Where the settings of version 0.1 are now, so that an old flag or file is answered with its new name."""

from __future__ import annotations

_MOVED: dict[str, dict[str, tuple[str, ...]]] = {
    "machine": {
        "": ("device", "threads", "precision", "compile"),
        "env": ("workers", "start_method", "step_timeout_s", "worker_restarts", "lost_episodes"),
    },
    "exploration": {
        "agent": ("noise_correlation", "hold_rate", "hold_steps"),
        "training": ("random_env_steps",),
    },
    "normalization": {"agent": ("observation_frame", "observation_scaling", "reward_scaling")},
    "recording": {"training": ("log_interval_env_steps", "checkpoint_interval_env_steps")},
}
"""Section now -> section in version 0.1 -> settings."""

RENAMED = {
    f"{old}.{name}" if old else name: f"{new}.{name}"
    for new, sections in _MOVED.items()
    for old, names in sections.items()
    for name in names
}
"""Dotted name in version 0.1 -> dotted name now."""


def new_name(key: str) -> str:
    """` (now 'machine.device')` for a setting that has moved, else nothing."""
    return f" (now '{RENAMED[key]}')" if key in RENAMED else ""
