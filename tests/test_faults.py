"""Simulators that go wrong: what MuJoCo and Meta-World do not say is noticed."""

from __future__ import annotations

import math
import multiprocessing

import numpy as np
import pytest

from configs import MT10
from envs import GoalLists
from envs.faults import FAULTS, METAWORLD, MUJOCO, OBSERVATION, RAISED, REWARD
from envs.simulator.simulator import Simulator
from envs.workers.share import WorkerEnv
from envs.workers.shared_arrays import SharedArrays


def make(goal_lists: GoalLists, task: str, autoreset: bool = True) -> WorkerEnv:
    """One environment as in a worker process, but in ours, where its simulator can be harmed."""
    sizes = {"K": 1, "E": 1, "horizon": 500, "D": 0, "S": 0, "P": 0}
    arrays = SharedArrays(multiprocessing.get_context("spawn"), sizes).views()
    env = WorkerEnv(Simulator(task, goal_lists[task]), 0, arrays, autoreset)
    arrays.time_limit[:], arrays.goal[:], arrays.next_goals[:] = 50, 3, 4
    env.reset()
    return env


def harm(env: WorkerEnv, how: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Break the next step; returns the fault that must be found."""
    simulator = env.simulator.environment
    if how == "velocity":  # MuJoCo resets the simulation in the middle of the step and goes on
        simulator.data.qvel[0] = 1e12
        return MUJOCO
    if how == "position":
        simulator.data.qpos[2] = math.nan
        return MUJOCO
    if how == "force":
        simulator.data.xfrc_applied[:] = 1e30
        return MUJOCO
    if how == "reward":
        monkeypatch.setattr(
            simulator, "evaluate_state", lambda obs, action: (math.nan, {"success": True})
        )
        return REWARD
    if how == "observation":
        original, factors = simulator._get_obs, iter([np.nan])  # once
        monkeypatch.setattr(simulator, "_get_obs", lambda: original() * next(factors, 1.0))
        monkeypatch.setattr(
            simulator, "evaluate_state", lambda obs, action: (1.0, {"success": True})
        )
        return OBSERVATION
    if how == "exception":  # what rewards do to such an observation
        original, factors = simulator._get_obs, iter([np.nan])  # once
        monkeypatch.setattr(simulator, "_get_obs", lambda: original() * next(factors, 1.0))
        return RAISED
    simulator._did_see_sim_exception = True
    return METAWORLD


@pytest.mark.parametrize(
    "how", ["velocity", "position", "force", "reward", "observation", "exception", "metaworld"]
)
def test_every_fault_is_found_and_its_episode_ends(
    goal_lists: GoalLists, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = make(goal_lists, "push-v3")
    arrays = env.arrays
    fresh = make(goal_lists, "push-v3")
    fresh.arrays.goal[:] = 4
    fresh.reset()
    for _ in range(3):
        env.step(0)
        assert arrays.fault[0, 0] == 0
    acted_on = arrays.obs[0].copy()
    with monkeypatch.context() as patch:
        expected = harm(env, how, patch)
        env.step(0)
    assert FAULTS[arrays.fault[0, 0]] == FAULTS[expected]
    assert arrays.truncated[0, 0]
    assert not arrays.terminated[0, 0]
    assert not arrays.success[0, 0]
    assert arrays.reward[0, 0] == 0
    np.testing.assert_array_equal(arrays.next_obs[0, 0], acted_on)
    # the next episode is a good one, on the next goal, bit for bit
    assert arrays.goal[0] == 4
    np.testing.assert_array_equal(arrays.obs, fresh.arrays.obs)
    for _ in range(5):
        env.step(0)
        fresh.step(0)
        assert arrays.fault[0, 0] == 0
        np.testing.assert_array_equal(arrays.obs, fresh.arrays.obs)


def test_in_an_evaluation_a_broken_episode_never_succeeds_again(goal_lists: GoalLists) -> None:
    env = make(goal_lists, "reach-v3", autoreset=False)
    arrays = env.arrays
    env.step(0)
    acted_on = arrays.obs[0].copy()
    env.simulator.environment.data.qvel[0] = 1e12
    for _ in range(4):
        env.step(0)
        assert arrays.fault[0, 0] == MUJOCO
        assert not arrays.success[0, 0]
        np.testing.assert_array_equal(arrays.obs[0], acted_on)
    assert arrays.elapsed[0] == 5
    env.reset()
    env.step(0)
    assert arrays.fault[0, 0] == 0


@pytest.mark.parametrize("task", MT10)
def test_ordinary_episodes_have_no_fault(goal_lists: GoalLists, task: str) -> None:
    """Wild actions, that throw objects about, are no fault."""
    env = make(goal_lists, task)
    random = np.random.default_rng(0)
    for _ in range(120):
        env.arrays.action[0, 0] = random.choice([-1.0, 1.0], 4)
        env.step(0)
        assert env.arrays.fault[0, 0] == 0
        assert np.isfinite(env.arrays.obs).all()
