"""One Meta-World environment with fast steps, copied resets and fault detection."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from numpy.typing import NDArray

from envs.errors import describe_error
from envs.faults import RAISED
from envs.simulator.accelerate import make_accelerated
from envs.simulator.fault_detector import FaultDetector
from envs.simulator.reset_cache import ResetCache

_log = logging.getLogger(__name__)


class SimulatorStep(NamedTuple):
    """What one step of one simulator gives."""

    obs: NDArray[np.float32]  # [39]
    reward: np.float32
    success: bool  # Meta-World's flag at this step
    terminated: bool


class Simulator:
    """One environment of `task`, to be reset to any goal of its list.

    A step that goes wrong is a fault. From then on the episode stands still: the observation before
    the fault, reward 0, no success. It should be ended.

    Args:
        task: a v3 task's name.
        goals: its random vectors, `[50, k]`.
    """

    def __init__(self, task: str, goals: NDArray[np.float64]) -> None:
        self.task = task
        self.environment = make_accelerated(task)
        """Meta-World's environment, with faster methods."""
        self._resets = ResetCache(self.environment, goals)
        self._detector = FaultDetector(self.environment)
        self._goal = -1
        self._obs = np.zeros(0, np.float32)

    @property
    def fault(self) -> int:
        """What is wrong with the running episode, an index of `envs.faults.FAULTS`."""
        return self._detector.found

    def reset(self, goal: int) -> NDArray[np.float32]:
        """Start an episode with this goal of the list; the first observation, `[39]`.

        Raises:
            IndexError: the list has no such goal.
        """
        self._goal = goal
        self._obs = self._resets.reset(goal).astype(np.float32)
        self._detector.forget()
        return self._obs

    def step(self, action: NDArray[np.float32]) -> SimulatorStep:
        """One environment step with `action [4]`; after a reset, at most 500 of them."""
        if not self._detector.found:
            try:
                obs, reward, terminated, _, info = self.environment.step(action)
            except Exception as error:  # its rewards, for one, only take finite numbers
                _log.warning("%s, goal %d: %s", self.task, self._goal, describe_error(error))
                self._detector.found = RAISED
            else:
                obs, reward = obs.astype(np.float32), np.float32(reward)
                self._detector.check(obs, reward)
                if not self._detector.found:
                    self._obs = obs
                    return SimulatorStep(obs, reward, bool(info["success"]), terminated)
        return SimulatorStep(self._obs, np.float32(0), success=False, terminated=False)


def make_environment(task: str) -> SawyerXYZEnv:
    """One Meta-World v3 environment without wrappers; `set_goal` gives it a goal."""
    return ALL_V3_ENVIRONMENTS[task]()
