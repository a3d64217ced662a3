"""Copied resets and faster observations against Meta-World's own, bit for bit, in all tasks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from metaworld.policies import ENV_POLICY_MAP

from configs import MT50
from envs.simulator.accelerate import make_accelerated
from envs.simulator.reset_cache import ResetCache, set_goal
from envs.simulator.simulator import Simulator, make_environment


def draw_goals(task: str, count: int) -> np.ndarray:
    """As Meta-World draws them, `[count, k]`: what a reset finds acceptable."""
    drawing = make_environment(task)
    drawing._freeze_rand_vec, drawing._set_task_called = False, True
    goals = []
    before = np.random.get_state()  # noqa: NPY002  Meta-World draws from the global generator
    np.random.seed(1)  # noqa: NPY002
    for _ in range(count):
        drawing.reset()
        goals.append(drawing._last_rand_vec)
    np.random.set_state(before)  # noqa: NPY002
    return np.array(goals)


class Actions:
    """A noisy expert, which touches objects and succeeds; on some visits also wild actions."""

    def __init__(self, task: str) -> None:
        self._expert, self._rng = ENV_POLICY_MAP[task](), np.random.default_rng(0)

    def __call__(self, obs: np.ndarray, visit: int, step: int) -> np.ndarray:
        with warnings.catch_warnings(action="ignore"):  # some experts ask for more than 1
            action = self._expert.get_action(obs)
        action = action + self._rng.normal(0, 0.1 if visit % 2 else 0.3, 4)
        if visit % 3 == 2 and step // 25 % 2:
            action = self._rng.choice([-1.0, 1.0], 4)
        return np.clip(action, -1, 1).astype(np.float32)


def assert_episodes_equal(task: str, visits: tuple[int, ...], steps: int, fresh: bool) -> None:
    """Visit goals in this order; observations, rewards and every info after every step.

    With `fresh`, each episode is compared with that of a new Meta-World environment, else with
    that of one which has been through the same episodes.
    """
    goals = draw_goals(task, max(visits) + 1)
    original, simulator = make_environment(task), make_accelerated(task)
    resets, actions = ResetCache(simulator, goals), Actions(task)
    for visit, goal in enumerate(visits):
        if fresh:
            original = make_environment(task)
        set_goal(original, goals[goal])
        obs, _ = original.reset()
        np.testing.assert_array_equal(resets.reset(goal), obs)
        for step in range(steps):
            action = actions(obs, visit, step)
            obs, *rest = original.step(action)
            own_obs, *own_rest = simulator.step(action)
            np.testing.assert_array_equal(own_obs, obs, err_msg=f"visit {visit}, step {step}")
            assert own_rest == rest, f"visit {visit}, step {step}"
            assert type(own_rest[0]) is type(rest[0])  # a float32 rounds what is done with it


@pytest.mark.parametrize("task", MT50)
def test_episodes_equal_those_of_meta_world(task: str) -> None:
    """From the third visit on, resets are copies: after the other goal and after itself."""
    assert_episodes_equal(task, (0, 1, 0, 0, 1), steps=60, fresh=False)


@pytest.mark.slow
@pytest.mark.parametrize("task", MT50)
def test_long_episodes_equal_those_of_new_meta_world_environments(task: str) -> None:
    """What exact resume rests on, too: no trace of earlier episodes."""
    assert_episodes_equal(task, (0, 1, 0, 0, 1), steps=200, fresh=True)


@pytest.mark.parametrize("task", ["push-v3", "pick-place-v3", "stick-pull-v3"])
def test_the_experts_grasp_what_they_should(task: str) -> None:
    """So that the comparisons above have seen both answers of `touching_object`."""
    simulator = make_accelerated(task)
    resets, actions = ResetCache(simulator, draw_goals(task, 1)), Actions(task)
    obs, answers = resets.reset(0), set()
    for step in range(80):
        obs, *_ = simulator.step(actions(obs, 1, step))
        answers.add(bool(simulator.touching_main_object))
    assert answers == {True, False}


def test_a_copied_reset_can_be_repeated_and_its_observation_changed() -> None:
    resets = ResetCache(make_environment("reach-v3"), draw_goals("reach-v3", 2))
    first = resets.reset(0).copy()
    for _ in range(2):
        resets.reset(0)[:] = np.nan
    np.testing.assert_array_equal(resets.reset(0), first)


def test_a_simulator_gives_the_numbers_of_meta_world_in_single_precision() -> None:
    goals = draw_goals("drawer-close-v3", 2)
    simulator, original = Simulator("drawer-close-v3", goals), make_environment("drawer-close-v3")
    actions, successes = Actions("drawer-close-v3"), 0
    for goal in (1, 0, 1):
        set_goal(original, goals[goal])
        obs, _ = original.reset()
        np.testing.assert_array_equal(simulator.reset(goal), obs.astype(np.float32))
        for index in range(120):
            action = actions(obs, 1, index)
            obs, reward, terminated, _, info = original.step(action)
            step = simulator.step(action)
            np.testing.assert_array_equal(step.obs, obs.astype(np.float32))
            assert step.reward == np.float32(reward)
            assert (step.success, step.terminated) == (bool(info["success"]), terminated)
            assert simulator.fault == 0
            successes += step.success
    assert successes
