"""The vector environment against Meta-World itself, stepped by hand."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import metaworld
import numpy as np
import pytest
from metaworld.policies import ENV_POLICY_MAP
from numpy.random import SeedSequence

from configs import MT10_TASKS
from envs import GoalLists, MT10VectorEnv, Step, WorkerError, rollout
from envs.goals import make_env

TWO = ("reach-v3", "drawer-close-v3")


def make(goal_lists: GoalLists, tasks: tuple[str, ...] = TWO, **options: object) -> MT10VectorEnv:
    return MT10VectorEnv(tasks, goal_lists, seed=SeedSequence(7), **options)


def random_actions(steps: int, tasks: int, copies: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (steps, tasks, copies, 4)).astype(np.float32)


def run(envs: MT10VectorEnv, actions: np.ndarray) -> list[Step]:
    steps = []
    for action in actions:
        envs.step_async(action)
        steps.append(envs.step_wait())
    return steps


def assert_equal_steps(left: list[Step], right: list[Step]) -> None:
    for one, other in zip(left, right, strict=True):
        for name in Step._fields:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_task_order_is_the_benchmarks() -> None:
    assert list(MT10_TASKS) == list(metaworld.env_dict.MT10_V3)


def test_row_t_of_the_observations_is_task_t(goal_lists: GoalLists) -> None:
    with make(goal_lists, MT10_TASKS, start_method="fork") as envs:
        obs = envs.reset(np.full((10, 1), 3))
    for index, task in enumerate(MT10_TASKS):
        single = make_env(task)
        single.set_task(goal_lists[task][3])
        np.testing.assert_array_equal(obs[index, 0], single.reset()[0].astype(np.float32))


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_final_observations_at_unequal_ends(goal_lists: GoalLists, method: str) -> None:
    """Every copy against its own Meta-World environment: 7, 13 and 20 steps, then 20 each."""
    actions = random_actions(45, 2, 3)
    with make(goal_lists, copies=3, horizon=20, stagger=True, start_method=method) as envs:
        obs = envs.reset()
        goals = [envs.state_dict()["goal"].reshape(2, 3)]
        steps = []
        for action in actions:
            steps += run(envs, action[None])
            goals.append(envs.state_dict()["goal"].reshape(2, 3))
    ends = [np.flatnonzero([s.truncated[0, n] for s in steps]) + 1 for n in range(3)]
    assert [list(e) for e in ends] == [[7, 27], [13, 33], [20, 40]]
    for t, task in enumerate(TWO):
        for n in range(3):
            single = make_env(task)
            single.set_task(goal_lists[task][goals[0][t, n]])
            expected = single.reset()[0]
            for k, step in enumerate(steps):
                before = obs if k == 0 else steps[k - 1].obs
                np.testing.assert_array_equal(before[t, n], expected.astype(np.float32))
                expected, reward, _, _, info = single.step(actions[k, t, n])
                np.testing.assert_array_equal(step.next_obs[t, n], expected.astype(np.float32))
                assert step.reward[t, n] == np.float32(reward)
                assert step.success[t, n] == bool(info["success"])
                assert not step.terminated[t, n]
                if step.truncated[t, n]:
                    single.set_task(goal_lists[task][goals[k + 1][t, n]])
                    expected = single.reset()[0]
                    assert not np.array_equal(step.next_obs[t, n], step.obs[t, n])


def test_number_of_workers_and_start_method_change_nothing(goal_lists: GoalLists) -> None:
    actions = random_actions(30, 2, 3)
    trajectories = []
    for options in ({"workers": 1, "start_method": "fork"}, {"workers": 2}, {"workers": 4}):
        with make(goal_lists, copies=3, horizon=12, **options) as envs:
            envs.reset()
            trajectories.append(run(envs, actions))
    assert_equal_steps(trajectories[0], trajectories[1])
    assert_equal_steps(trajectories[0], trajectories[2])


def test_goals_vary_between_copies_and_episodes(goal_lists: GoalLists) -> None:
    with make(goal_lists, copies=4, horizon=2, start_method="fork") as envs:
        envs.reset()
        seen = []
        for action in random_actions(20, 2, 4):
            run(envs, action[None])
            seen.append(envs.state_dict()["goal"])
    assert len({tuple(np.array(seen)[::2, row]) for row in range(8)}) == 8
    assert np.unique(seen).size > 20


def test_one_goal_protocol_keeps_the_goal(goal_lists: GoalLists) -> None:
    with make(goal_lists, copies=2, horizon=2, num_goals=1, start_method="fork") as envs:
        first = envs.reset()
        for action in random_actions(6, 2, 2):
            step = run(envs, action[None])[0]
            assert (envs.state_dict()["goal"] == 0).all()
    np.testing.assert_array_equal(step.obs, first)  # reset after step 6


@pytest.mark.parametrize("task", MT10_TASKS)
def test_reset_depends_on_the_goal_only(goal_lists: GoalLists, task: str) -> None:
    """What exact resume rests on: no trace of earlier episodes, bit for bit."""
    used, fresh = make_env(task), make_env(task)
    actions = random_actions(60, 1, 1)[:, 0, 0]
    for goal in (7, 3):
        used.set_task(goal_lists[task][goal])
        used.reset()
        for action in actions:
            used.step(action)
    for single in (used, fresh):
        single.set_task(goal_lists[task][5])
    np.testing.assert_array_equal(used.reset()[0], fresh.reset()[0])
    for action in actions:
        one, other = used.step(action), fresh.step(action)
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1] == other[1]


def test_running_episodes_are_rebuilt_exactly(goal_lists: GoalLists) -> None:
    actions = random_actions(60, 2, 3)
    options = {"copies": 3, "horizon": 25, "stagger": True, "start_method": "fork"}
    with make(goal_lists, **options) as envs:
        envs.reset()
        run(envs, actions[:30])
        state = envs.state_dict()
        expected = run(envs, actions[30:])
    with make(goal_lists, workers=1, **options) as envs:
        obs = envs.load_state_dict(state)
        np.testing.assert_array_equal(obs.reshape(6, 39), state["obs"])
        assert_equal_steps(expected, run(envs, actions[30:]))


def test_a_killed_worker_is_named(goal_lists: GoalLists) -> None:
    with make(goal_lists, copies=2, workers=2, step_timeout_s=20) as envs:
        envs.reset()
        children = [p for p in multiprocessing.active_children() if p.name == "mt10-worker-1"]
        os.kill(children[0].pid, signal.SIGKILL)
        started = time.monotonic()
        with pytest.raises(WorkerError, match=r"worker 1 died \(exit code -9\)") as caught:
            run(envs, random_actions(2, 2, 2))
    assert time.monotonic() - started < 10
    assert "reach-v3 (copy 1, seed 7[1])" in str(caught.value)
    assert "drawer-close-v3 (copy 1, seed 7[3])" in str(caught.value)
    assert not multiprocessing.active_children()


def test_a_frozen_worker_does_not_hang_the_trainer(goal_lists: GoalLists) -> None:
    with make(goal_lists, workers=1, start_method="fork", step_timeout_s=1) as envs:
        envs.reset()
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGSTOP)
        with pytest.raises(WorkerError, match="did not answer for 1 s"):
            run(envs, random_actions(1, 2, 1))
    assert not multiprocessing.active_children()


def test_an_exception_in_a_worker_names_task_and_goal(goal_lists: GoalLists) -> None:
    with (
        make(goal_lists, workers=1, start_method="fork") as envs,
        pytest.raises(WorkerError) as caught,
    ):
        envs.reset(np.full((2, 1), 99))
    assert "reach-v3, goal 99" in str(caught.value)
    assert "IndexError" in str(caught.value)


class ScriptedPolicy:
    """Meta-World's own scripted policies, task-major."""

    def __init__(self, tasks: tuple[str, ...]) -> None:
        self.policies = [ENV_POLICY_MAP[task]() for task in tasks]

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        actions = [
            [policy.get_action(row.astype(np.float64)) for row in rows]
            for policy, rows in zip(self.policies, obs, strict=True)
        ]
        return np.clip(actions, -1, 1).astype(np.float32)


def test_rollout_scores_scripted_policies_on_every_goal_once(goal_lists: GoalLists) -> None:
    """4 goals in waves of 3 copies: the short last wave must not add or lose episodes."""
    tasks = ("reach-v3", "push-v3", "drawer-close-v3")
    results = []
    for copies in (3, 4):
        with make(
            goal_lists, tasks, copies=copies, horizon=150, autoreset=False, start_method="fork"
        ) as envs:
            results.append(rollout(envs, ScriptedPolicy(tasks), goals=4))
    one, other = results
    assert one.goal.tolist() == [[0, 1, 2, 3]] * 3
    assert one.success.all()
    for name in ("success", "final_success", "returns", "length", "steps_to_success"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert ((one.steps_to_success > 1) & (one.steps_to_success < 150)).all()
    assert (one.returns > 0).all()


def test_rollout_counts_success_at_any_step_and_at_the_last(goal_lists: GoalLists) -> None:
    """A policy that reaches its goal and then flees: success, but not at the last step."""
    scripted = ScriptedPolicy(("reach-v3",))
    calls = 0

    def reach_then_flee(obs: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return scripted(obs) if calls <= 100 else np.full((1, 1, 4), -1, np.float32)

    with make(goal_lists, ("reach-v3",), horizon=150, autoreset=False, start_method="fork") as envs:
        result = rollout(envs, reach_then_flee, goals=1)
    assert result.success.tolist() == [[True]]
    assert result.final_success.tolist() == [[False]]
