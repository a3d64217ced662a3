"""The goals that Meta-World draws for a list of tasks, drawn once and then read from the disk."""

from __future__ import annotations

import pickle
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from envs.goal_cache import read_goals, write_goals

GoalLists = dict[str, NDArray[np.float64]]
"""Task name -> its 50 random vectors `[50, k]`: object and goal positions; k depends on the task."""


def make_goal_lists(tasks: tuple[str, ...], seed: int) -> GoalLists:
    """The 50 goals of each task that a Meta-World benchmark of these tasks draws with this seed.

    For the names of MT10, in their order, these are the goals of `metaworld.MT10(seed)`; likewise
    for MT25, MT50, and for a single task for `metaworld.MT1(task, seed)`. One generator serves the
    tasks in turn, so that a task's goals depend on the tasks before it.

    Drawing takes half a second per task, for Meta-World simulates a reset for each goal. The result
    is kept in the user's cache folder (`envs.goal_cache`).
    """
    known = read_goals(tasks, seed)
    if known is not None:
        return known
    goal_lists = _draw(tasks, seed)
    write_goals(tasks, seed, goal_lists)
    return goal_lists


def _draw(tasks: tuple[str, ...], seed: int) -> GoalLists:
    import metaworld  # half a second and 100 MB, not needed where the goals are known
    from metaworld import env_dict

    classes = OrderedDict((task, env_dict.ALL_V3_ENVIRONMENTS[task]) for task in tasks)
    arguments = env_dict._get_args_kwargs(env_dict.ALL_V3_ENVIRONMENTS, classes)
    # It seeds numpy's global generator and puts it back afterwards.
    drawn = metaworld._make_tasks(classes, arguments, metaworld._MT_OVERRIDE, seed=seed)
    vectors: dict[str, list[NDArray[np.float64]]] = {task: [] for task in tasks}
    for task in drawn:
        vectors[task.env_name].append(pickle.loads(task.data)["rand_vec"])  # made a moment ago
    return {task: np.array(rows, np.float64) for task, rows in vectors.items()}
