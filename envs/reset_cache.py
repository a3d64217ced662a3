"""Resets that are computed once for each goal and copied from then on."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.types import Task
from numpy.typing import NDArray

_STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
"""All that a MuJoCo step depends on, the solver's warm start included."""


@dataclass(frozen=True)
class _Snapshot:
    obs: NDArray[np.float64]  # [39]
    simulation: NDArray[np.float64]  # MuJoCo's integration state
    body_pos: NDArray[np.float64]  # [bodies, 3] Meta-World moves objects by moving bodies
    body_quat: NDArray[np.float64]  # [bodies, 4]
    site_pos: NDArray[np.float64]  # [sites, 3]
    attributes: dict[str, Any]  # numbers and arrays of the environment object


class ResetCache:
    """Resets one simulator to its goals; the second reset to a goal costs a fiftieth of the first.

    A Meta-World reset simulates 500 MuJoCo steps to bring the hand to its place, 7 to 9 ms, as much as
    27 environment steps. Its outcome depends on the goal alone, not on earlier episodes, so it is kept:
    what MuJoCo integrates, what Meta-World changes in the model, and the environment's own numbers.
    The tests compare every following observation with those after a real reset, bit for bit.
    """

    def __init__(self, simulator: SawyerXYZEnv, goals: list[Task]) -> None:
        self._simulator = simulator
        self._goals = goals
        self._snapshots: dict[int, _Snapshot] = {}

    def reset(self, goal: int) -> NDArray[np.float64]:
        """Start an episode with this goal of the list; the first observation, `[39]`."""
        known = self._snapshots.get(goal)
        if known is not None:
            return self._restore(known)
        self._simulator.set_task(self._goals[goal])
        obs, _ = self._simulator.reset()
        self._snapshots[goal] = self._snapshot(obs)
        return obs

    def _snapshot(self, obs: NDArray[np.float64]) -> _Snapshot:
        model, data = self._simulator.model, self._simulator.data
        simulation = np.empty(mujoco.mj_stateSize(model, _STATE))
        mujoco.mj_getState(model, data, simulation, _STATE)
        return _Snapshot(
            obs=obs.copy(),
            simulation=simulation,
            body_pos=model.body_pos.copy(),
            body_quat=model.body_quat.copy(),
            site_pos=model.site_pos.copy(),
            attributes={
                name: _kept(value)
                for name, value in vars(self._simulator).items()
                if isinstance(value, (bool, int, float, np.generic, np.ndarray)) or value is None
            },
        )

    def _restore(self, snapshot: _Snapshot) -> NDArray[np.float64]:
        model, data = self._simulator.model, self._simulator.data
        model.body_pos[:] = snapshot.body_pos
        model.body_quat[:] = snapshot.body_quat
        model.site_pos[:] = snapshot.site_pos
        mujoco.mj_setState(model, data, snapshot.simulation, _STATE)
        mujoco.mj_forward(model, data)
        # mj_forward starts its solver from the last step's acceleration and leaves its own.
        mujoco.mj_setState(model, data, snapshot.simulation, _STATE)
        vars(self._simulator).update(
            {name: _kept(value) for name, value in snapshot.attributes.items()}
        )
        return snapshot.obs.copy()


def _kept(value: Any) -> Any:
    """A copy, but of an array in MuJoCo's memory the array itself.

    Some tasks keep a live view where they mean a starting position: `init_left_pad` of pick-place moves
    with the pad, and its reward depends on that.
    """
    base = value
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    in_simulator = isinstance(value, np.ndarray) and not isinstance(base, np.ndarray)
    return value if in_simulator else copy.copy(value)
