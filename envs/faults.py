"""What can be wrong with one step of an environment: names and numbers."""

from __future__ import annotations

FAULTS = (
    "none",
    "the observation is not finite",
    "the reward is not finite",
    "MuJoCo found the simulation unstable and reset it",
    "Meta-World reported an unstable state",
    "Meta-World raised an exception",
    "its worker process failed twice",
)
"""By the number in the shared arrays."""

OBSERVATION, REWARD, MUJOCO, METAWORLD, RAISED, WORKER_LOST = range(1, len(FAULTS))
