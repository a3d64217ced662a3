"""The benchmark's goal lists and single environments, from the official metaworld package."""

from __future__ import annotations

import metaworld
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.types import Task

OBS_SIZE = 39
"""Hand, gripper, two objects with rotation: now and one step before; and the goal position."""
ACTION_SIZE = 4
"""Hand displacement in x, y, z, and gripper effort, each in [-1, 1]."""
GOALS_PER_TASK = 50

GoalLists = dict[str, list[Task]]
"""Task name -> its 50 (object position, goal position) draws."""


def make_goal_lists(seed: int) -> GoalLists:
    """The 50 goals of each MT10 task that `metaworld.MT10(seed)` draws; takes about 5 s.

    Meta-World seeds numpy's global generator for this and puts it back afterwards.
    """
    lists: GoalLists = {}
    for task in metaworld.MT10(seed=seed).train_tasks:
        lists.setdefault(task.env_name, []).append(task)
    return lists


def make_env(task_name: str) -> SawyerXYZEnv:
    """One Meta-World v3 environment, without wrappers; `set_task` gives it a goal."""
    return ALL_V3_ENVIRONMENTS[task_name]()
