"""Notices a simulation that has gone wrong."""

from __future__ import annotations

import math

import mujoco
import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from numpy.typing import NDArray

from envs.faults import METAWORLD, MUJOCO, OBSERVATION, REWARD

_UNSTABLE = [
    int(kind)
    for kind in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
        mujoco.mjtWarning.mjWARN_BADCTRL,
    )
]
_ONES = np.ones(39, np.float32)


class FaultDetector:
    """Looks at one simulator after each step.

    An unstable simulation is easy to miss: MuJoCo writes a line to its log, resets the simulation in the middle
    of the step and goes on, and Meta-World returns a finite observation of that reset.
    """

    def __init__(self, simulator: SawyerXYZEnv) -> None:
        self.found = 0
        """The fault of the running episode, an index of `envs.faults.FAULTS`."""
        self._simulator = simulator
        self._warnings = simulator.data.warning.number  # [8] a live view, counting up

    def check(self, obs: NDArray[np.float32], reward: np.float32) -> None:
        """Look at the step that gave `obs [39]` and `reward`."""
        numbers = float(_ONES.dot(obs)) + float(reward)  # finite only if all of them are
        suspicious = self._simulator._did_see_sim_exception or any(self._warnings.tolist())
        if suspicious or not math.isfinite(numbers):
            self.found = self._diagnose(obs, reward)

    def _diagnose(self, obs: NDArray[np.float32], reward: np.float32) -> int:
        if not math.isfinite(reward):
            return REWARD
        if not math.isfinite(obs.sum(dtype=np.float64)):
            return OBSERVATION
        if self._simulator._did_see_sim_exception:
            return METAWORLD
        return MUJOCO if self._warnings[_UNSTABLE].any() else 0

    def forget(self) -> None:
        """Start anew, with a new episode."""
        self.found = 0
        self._warnings[:] = 0
        self._simulator._did_see_sim_exception = False  # nobody else does
