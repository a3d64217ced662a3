"""Meta-World MT10 as one vector environment over worker processes."""

from envs.from_config import evaluation_envs, training_envs
from envs.goals import ACTION_SIZE, OBS_SIZE, GoalLists, make_goal_lists
from envs.rollout import EpisodeResults, rollout
from envs.vector import MT10VectorEnv, NonFiniteError, Step
from envs.worker_pool import WorkerError

__all__ = [
    "ACTION_SIZE",
    "OBS_SIZE",
    "EpisodeResults",
    "GoalLists",
    "MT10VectorEnv",
    "NonFiniteError",
    "Step",
    "WorkerError",
    "evaluation_envs",
    "make_goal_lists",
    "rollout",
    "training_envs",
]
