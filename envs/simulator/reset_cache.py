"""Resets that are computed once for each goal and copied from then on."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.types import Task
from numpy.typing import NDArray

_STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
"""All that a MuJoCo step depends on, the solver's warm start included."""
_KEPT_TYPES = (bool, int, float, str, list, tuple, np.generic, np.ndarray, type(None))
"""Attributes of these types are part of a snapshot. Episodes leave the others as they are."""


@dataclass(frozen=True)
class _Snapshot:
    simulation: NDArray[np.float64]  # MuJoCo's integration state
    body_pos: NDArray[np.float64]  # [bodies, 3] Meta-World moves objects by moving bodies
    body_quat: NDArray[np.float64]  # [bodies, 4]
    site_pos: NDArray[np.float64]  # [sites, 3]
    attributes: dict[str, Any]  # numbers, arrays and lists of the environment object


class ResetCache:
    """Resets one simulator to its goals; the second reset to a goal takes 0.1 ms.

    A Meta-World reset simulates 500 MuJoCo steps to bring the hand to its place, 5 to 11 ms, as much as
    30 to 40 of its steps. Its outcome is kept: what MuJoCo integrates, what Meta-World changes in the
    model, and the environment's own numbers.

    The first reset to a goal starts from the simulator as it was constructed, so that no episode
    depends on those before it: this is what an exact resume rests on. (Meta-World's own resets were
    not found to depend on them either, in any task.) The tests compare every following observation
    with those after a real reset of a Meta-World environment, bit for bit, in all fifty tasks.

    Args:
        simulator: just constructed; its methods may have been replaced.
        goals: random vectors, `[50, k]`.
    """

    def __init__(self, simulator: SawyerXYZEnv, goals: NDArray[np.float64]) -> None:
        self._simulator = simulator
        self._goals = goals
        self._known: dict[int, tuple[NDArray[np.float64], _Snapshot]] = {}
        set_goal(simulator, goals[0])  # the goal itself is replaced before each reset
        self._constructed = self._snapshot()

    def reset(self, goal: int) -> NDArray[np.float64]:
        """Start an episode with this goal of the list; the first observation, `[39]`.

        Raises:
            IndexError: the list has no such goal.
        """
        if goal not in self._known:
            self._restore(self._constructed)
            set_goal(self._simulator, self._goals[goal])
            obs, _ = self._simulator.reset()
            self._known[goal] = obs.copy(), self._snapshot()
            return obs
        obs, snapshot = self._known[goal]
        self._restore(snapshot)
        return obs.copy()

    def _snapshot(self) -> _Snapshot:
        model, data = self._simulator.model, self._simulator.data
        simulation = np.empty(mujoco.mj_stateSize(model, _STATE))
        mujoco.mj_getState(model, data, simulation, _STATE)
        return _Snapshot(
            simulation=simulation,
            body_pos=model.body_pos.copy(),
            body_quat=model.body_quat.copy(),
            site_pos=model.site_pos.copy(),
            attributes={
                name: _kept(value)
                for name, value in vars(self._simulator).items()
                if isinstance(value, _KEPT_TYPES)
            },
        )

    def _restore(self, snapshot: _Snapshot) -> None:
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


def set_goal(simulator: SawyerXYZEnv, random_vector: NDArray[np.float64]) -> None:
    """Give a Meta-World environment its goal, `[k]`, and let its observations show it."""
    goal = {
        "env_cls": SawyerXYZEnv,  # it asks whether it is one
        "rand_vec": np.array(random_vector),
        "partially_observable": False,
    }
    simulator.set_task(Task(env_name="", data=pickle.dumps(goal)))  # it takes nothing but a pickle


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
