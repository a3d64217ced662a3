"""Meta-World MT10 as one vector environment over worker processes."""

from envs.goals import ACTION_SIZE, OBS_SIZE, GoalLists, make_goal_lists
from envs.rollout import EpisodeResults, rollout
from envs.vector import MT10VectorEnv, Step, WorkerError

__all__ = [
    "ACTION_SIZE",
    "OBS_SIZE",
    "EpisodeResults",
    "GoalLists",
    "MT10VectorEnv",
    "Step",
    "WorkerError",
    "make_goal_lists",
    "rollout",
]
