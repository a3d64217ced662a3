"""The goals that Meta-World draws for a list of tasks, drawn once and then read from the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.goal_cache import read_goals, write_goals
from envs.sizes import GOALS_PER_TASK

if TYPE_CHECKING:
    from metaworld.sawyer_xyz_env import SawyerXYZEnv

GoalLists = dict[str, NDArray[np.float64]]
"""Task name -> its 50 random vectors `[50, k]`: object and goal positions; k depends on the task."""


def make_goal_lists(tasks: tuple[str, ...], seed: int) -> GoalLists:
    """The 50 goals of each task that a Meta-World benchmark of these tasks draws with this seed.

    For the names of MT10, in their order, these are the goals of `metaworld.MT10(seed)`; likewise
    for MT25, MT50, and for a single task for `metaworld.MT1(task, seed)`. One generator serves the
    tasks in turn, so that a task's goals depend on the tasks before it.

    Drawing takes a second or two for MT10, most of it to load Meta-World. The result is kept in the user's cache
    folder (`envs.goal_cache`).
    """
    known = read_goals(tasks, seed)
    if known is not None:
        return known
    goal_lists = _draw(tasks, seed)
    write_goals(tasks, seed, goal_lists)
    return goal_lists


def _draw(tasks: tuple[str, ...], seed: int) -> GoalLists:
    """As `metaworld._make_tasks` draws them."""
    from envs.simulator.accelerate import make_accelerated  # loads all of Meta-World

    before = np.random.get_state()  # noqa: NPY002  Meta-World draws from the global generator
    np.random.seed(seed)  # noqa: NPY002
    try:
        return {task: _draw_in(make_accelerated(task)) for task in tasks}
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _draw_in(environment: SawyerXYZEnv) -> NDArray[np.float64]:
    """The random vectors of its next resets, `[50, k]`.

    A reset draws until objects and goal are far enough from each other, and moves the hand to its place,
    in a hundred steps of physics. No draw depends on the hand, so it is not moved here.
    """
    environment._freeze_rand_vec, environment._set_task_called = False, True
    environment.do_simulation = _stand_still  # type: ignore[method-assign]
    vectors = []
    for _ in range(GOALS_PER_TASK):
        environment.reset()
        vectors.append(environment._last_rand_vec)
    return np.array(vectors, np.float64)


def _stand_still(ctrl: object, n_frames: int) -> None:
    """In place of `MujocoEnv.do_simulation`."""
