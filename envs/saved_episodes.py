"""The running episodes as they are saved: goals and actions, from which they are rebuilt exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.arrays import require_range
from envs.sizes import ACTION_SIZE
from envs.workers.shared_arrays import Arrays

_AS_THEY_ARE = ("goal", "next_goals", "time_limit", "elapsed", "memory")


def saved_state(own: Arrays) -> dict[str, Any]:
    """Copies of what is needed, the actions up to the longest episode's; beyond its own end, an episode has zeros.

    Otherwise, the actions of earlier episodes would be there, which a resumed run doesn't know.
    """
    actions = own.action_log[:, : int(own.elapsed.max())].copy()  # [E, longest, 4]
    actions[np.arange(actions.shape[1]) >= own.elapsed[:, None]] = 0.0
    return {
        **{name: getattr(own, name).copy() for name in ("obs", *_AS_THEY_ARE)},
        "action_log": actions,
    }


def take_over(state: dict[str, Any], own: Arrays) -> None:
    """Put what `saved_state` gave into the arrays, apart from the observations: the simulators make those."""
    for name in _AS_THEY_ARE:
        getattr(own, name)[:] = state[name]
    own.action_log[:, : state["action_log"].shape[1]] = state["action_log"]


def require_state(state: dict[str, Any], own: Arrays, num_goals: int) -> None:
    """Check what `MetaWorldVectorEnv.load_state_dict` was given, before anything is changed.

    Args:
        state: as from `state_dict`, but possibly from a damaged file.
        own: the arrays that it is meant for.
        num_goals: goals are drawn from the first so many.

    Raises:
        ValueError: a shape, a dtype or a number is not possible here.
        KeyError: an array is missing.
    """
    for name in ("obs", *_AS_THEY_ARE):
        expected = getattr(own, name)
        if state[name].shape != expected.shape or state[name].dtype != expected.dtype:
            raise ValueError(f"'{name}' is {state[name].dtype} {state[name].shape}")
    actions = state["action_log"]
    num_envs, horizon, _ = own.action_log.shape
    if actions.ndim != 3 or actions.shape[::2] != (num_envs, ACTION_SIZE):
        raise ValueError(f"'action_log' is of shape {actions.shape}")
    if actions.shape[1] > horizon:
        raise ValueError(f"'action_log' is of {actions.shape[1]} steps, at most {horizon}")
    if actions.dtype != np.float32 or not (np.abs(actions) <= 1).all():
        raise ValueError("'action_log' is not float32 within -1 and 1")
    for name in ("goal", "next_goals"):
        require_range(name, state[name], 0, num_goals - 1)
    require_range("time_limit", state["time_limit"], 1, horizon)
    require_range("elapsed", state["elapsed"], 0, min(actions.shape[1], horizon - 1))
    if (state["elapsed"] >= state["time_limit"]).any():
        raise ValueError("'elapsed' is beyond 'time_limit'")
