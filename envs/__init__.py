"""Meta-World as one vector environment over worker processes.

Importing this imports neither Meta-World nor MuJoCo: the simulators live in the worker processes.
"""

from envs.errors import NonFiniteError, WorkerError
from envs.from_config import evaluation_envs, training_envs
from envs.goals import GoalLists, make_goal_lists
from envs.players import Player
from envs.rollout import EpisodeResults, rollout
from envs.sizes import ACTION_SIZE, OBS_SIZE
from envs.step import Step
from envs.vector import MetaWorldVectorEnv

__all__ = [
    "ACTION_SIZE",
    "OBS_SIZE",
    "EpisodeResults",
    "GoalLists",
    "MetaWorldVectorEnv",
    "NonFiniteError",
    "Player",
    "Step",
    "WorkerError",
    "evaluation_envs",
    "make_goal_lists",
    "rollout",
    "training_envs",
]
