"""The vector environment against Meta-World itself, stepped by hand."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from metaworld.policies import ENV_POLICY_MAP
from numpy.random import SeedSequence

from configs import MT10
from envs import GoalLists, MetaWorldVectorEnv, NonFiniteError, Step, WorkerError, rollout
from envs.simulator.reset_cache import set_goal
from envs.simulator.simulator import make_environment
from envs.workers.process import worker_main
from envs.workers.share import WorkerEnv

TWO = ("reach-v3", "drawer-close-v3")


def make(
    goal_lists: GoalLists, tasks: tuple[str, ...] = TWO, **options: object
) -> MetaWorldVectorEnv:
    options = {"seed": SeedSequence(7), **options}
    return MetaWorldVectorEnv(tasks, goal_lists, **options)


def random_actions(steps: int, tasks: int, copies: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (steps, tasks, copies, 4)).astype(np.float32)


def run(envs: MetaWorldVectorEnv, actions: np.ndarray) -> list[Step]:
    return [envs.step(action) for action in actions]


def assert_equal_steps(left: list[Step], right: list[Step]) -> None:
    for one, other in zip(left, right, strict=True):
        for name in Step._fields:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_row_t_of_the_observations_is_task_t(goal_lists: GoalLists) -> None:
    with make(goal_lists, MT10, start_method="fork") as envs:
        obs = envs.reset(np.full((10, 1), 3))
    for index, task in enumerate(MT10):
        single = make_environment(task)
        set_goal(single, goal_lists[task][3])
        np.testing.assert_array_equal(obs[index, 0], single.reset()[0].astype(np.float32))


@pytest.mark.parametrize("method", ["spawn", "fork"])
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
            single = make_environment(task)
            set_goal(single, goal_lists[task][goals[0][t, n]])
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
                    set_goal(single, goal_lists[task][goals[k + 1][t, n]])
                    expected = single.reset()[0]
                    assert not np.array_equal(step.next_obs[t, n], step.obs[t, n])


def test_number_of_workers_and_start_method_change_nothing(goal_lists: GoalLists) -> None:
    actions = random_actions(30, 2, 3)
    trajectories = []
    for workers, method in ((1, "fork"), (2, "spawn"), (4, "fork")):
        with make(goal_lists, copies=3, horizon=12, workers=workers, start_method=method) as envs:
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


def test_running_episodes_are_rebuilt_exactly(goal_lists: GoalLists) -> None:
    actions = random_actions(60, 2, 3)
    options = {"copies": 3, "horizon": 25, "stagger": True, "start_method": "fork"}
    with make(goal_lists, **options) as envs:
        envs.reset()
        run(envs, actions[:30])
        state = envs.state_dict()
        expected = run(envs, actions[30:40])
        later = envs.state_dict()
        expected += run(envs, actions[40:])
    with make(goal_lists, workers=1, **options) as envs:
        obs = envs.load_state_dict(state)
        np.testing.assert_array_equal(obs.reshape(6, 39), state["obs"])
        steps = run(envs, actions[30:40])
        for name, value in envs.state_dict().items():  # what the next checkpoint holds
            np.testing.assert_array_equal(value, later[name], err_msg=name)
        assert_equal_steps(expected, steps + run(envs, actions[40:]))


def workers() -> list:
    return sorted(multiprocessing.active_children(), key=lambda process: process.name)


def kill(process) -> None:
    os.kill(process.pid, signal.SIGKILL)


def freeze(process) -> None:
    os.kill(process.pid, signal.SIGSTOP)


STAGGERED = {"copies": 3, "horizon": 15, "stagger": True, "workers": 2}


class Undisturbed(NamedTuple):
    """40 steps, a reset and three steps more."""

    steps: list[Step]
    obs: np.ndarray
    steps_again: list[Step]


@pytest.fixture(scope="module")
def undisturbed(goal_lists: GoalLists) -> Undisturbed:
    actions = random_actions(40, 2, 3)
    with make(goal_lists, **STAGGERED, start_method="fork") as envs:
        envs.reset()
        return Undisturbed(run(envs, actions), envs.reset(), run(envs, actions[:3]))


@pytest.mark.parametrize("harm", [kill, freeze])
@pytest.mark.parametrize(
    ("moment", "method"),
    [("before a step", "fork"), ("during a step", "spawn"), ("before a reset", "fork")],
)
def test_a_worker_is_replaced_and_nothing_is_lost(
    goal_lists: GoalLists,
    undisturbed: Undisturbed,
    harm: Callable,
    moment: str,
    method: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the middle of episodes, on other goals by then; the same steps as without the harm."""
    actions = random_actions(40, 2, 3)
    with make(goal_lists, **STAGGERED, start_method=method, step_timeout_s=2) as envs:
        envs.reset()
        steps = run(envs, actions[:23])
        victim = workers()[1]
        if moment == "before a step":
            harm(victim)
        if moment == "during a step":
            freeze(victim)  # so that it is not done before it is harmed
        envs.play_async(1, actions=actions[23:24])
        if moment == "during a step":
            harm(victim)
        steps += envs.play_wait()
        steps += run(envs, actions[24:])
        if moment == "before a reset":
            harm(victim)
        np.testing.assert_array_equal(envs.reset(), undisturbed.obs)
        steps_again = run(envs, actions[:3])
        assert victim.pid not in [process.pid for process in workers()]
        assert len(workers()) == 2
    restarts = [step.worker_restarts for step in steps + steps_again]
    assert restarts.index(1) == (40 if moment == "before a reset" else 23)
    assert sum(restarts) == 1
    for those, expected in ((steps, undisturbed.steps), (steps_again, undisturbed.steps_again)):
        assert_equal_steps(expected, [step._replace(worker_restarts=0) for step in those])
    assert not multiprocessing.active_children()
    what = r"died \(exit code -9\)" if harm is kill else "did not answer for 2 s"
    assert re.search(f"simulator worker 1 {what}.*go on where they were", caplog.text)
    assert "reach-v3 (copy 1, seed 7[1])" in caplog.text
    assert "drawer-close-v3 (copy 2, seed 7[5])" in caplog.text


def test_a_worker_that_fails_at_the_same_step_again_loses_its_episodes_only(
    goal_lists: GoalLists, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Worker 1 has copy 1 of both tasks."""
    actions = random_actions(9, 2, 2)
    options = {"copies": 2, "horizon": 20, "workers": 2, "start_method": "fork"}
    with make(goal_lists, **options) as envs:
        first = envs.reset()
        expected = run(envs, actions)
        next_goals = envs.state_dict()["next_goals"].reshape(2, 2)
    original = WorkerEnv.step

    def fail(env: WorkerEnv, step: int) -> None:
        if env.row == 1 and env.arrays.elapsed[1] == 4 and env.arrays.goal[1] != next_goals[0, 1]:
            os._exit(7)
        original(env, step)

    monkeypatch.setattr(WorkerEnv, "step", fail)
    with make(goal_lists, **options) as envs:
        np.testing.assert_array_equal(envs.reset(), first)
        steps = run(envs, actions)
        assert envs.state_dict()["goal"].reshape(2, 2)[:, 1].tolist() == next_goals[:, 1].tolist()
    lost = steps[4]
    assert lost.lost.tolist() == lost.truncated.tolist() == [[False, True]] * 2
    assert lost.worker_restarts == 2
    assert not lost.reward[:, 1].any()
    np.testing.assert_array_equal(lost.next_obs[:, 1], steps[3].obs[:, 1])
    assert not any(step.lost.any() for step in steps if step is not lost)
    assert_equal_steps(expected[:4], steps[:4])
    for one, other in zip(expected, steps, strict=True):  # the other worker's
        np.testing.assert_array_equal(one.obs[:, 0], other.obs[:, 0])
    assert "its episodes go on where they were" in caplog.text
    assert "its episodes are lost" in caplog.text


def test_too_many_failures_are_an_error(goal_lists: GoalLists) -> None:
    with make(goal_lists, copies=2, workers=2, max_worker_restarts=2) as envs:
        envs.reset()
        for _ in range(2):
            kill(workers()[0])
            run(envs, random_actions(2, 2, 2))
        before = envs.state_dict()
        kill(workers()[0])
        with pytest.raises(WorkerError, match=r"worker 0 died .*2 were restarted before"):
            run(envs, random_actions(1, 2, 2))
        # what a checkpoint needs is as it was before the failed step
        for name, value in envs.state_dict().items():
            np.testing.assert_equal(value, before[name], err_msg=name)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("harm", [kill, pytest.param(freeze, marks=pytest.mark.slow)])
def test_a_worker_that_fails_before_it_has_started_is_replaced(
    harm: Callable, goal_lists: GoalLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions, options = random_actions(5, 2, 2), {"copies": 2, "workers": 2}
    with make(goal_lists, **options) as envs:
        first, expected = envs.reset(), run(envs, actions)
    monkeypatch.setattr("envs.workers.pool._START_TIMEOUT_S", 10.0)  # for a frozen one
    with make(goal_lists, **options) as envs:
        harm(workers()[1])
        np.testing.assert_array_equal(envs.reset(), first)
        steps = run(envs, actions)
    assert [step.worker_restarts for step in steps] == [1, 0, 0, 0, 0]
    assert_equal_steps(expected, [step._replace(worker_restarts=0) for step in steps])
    assert not multiprocessing.active_children()


def test_workers_that_never_start_are_an_error(
    goal_lists: GoalLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envs.workers.process.Share", lambda *_: os._exit(7))
    with (
        make(goal_lists, start_method="fork") as envs,
        pytest.raises(WorkerError, match=r"worker 0 died \(exit code 7\).*2 were restarted before"),
    ):
        envs.reset()
    assert not multiprocessing.active_children()


def test_an_exception_in_a_worker_names_task_and_goal(goal_lists: GoalLists) -> None:
    with (
        make(goal_lists, workers=1, start_method="fork") as envs,
        pytest.raises(WorkerError, match="reach-v3, goal 99: IndexError"),
    ):
        envs.reset(np.full((2, 1), 99))


def test_environments_without_a_seed_are_told_their_goals(goal_lists: GoalLists) -> None:
    options = {"seed": None, "horizon": 2, "start_method": "fork"}
    with pytest.raises(ValueError, match="autoreset"):
        make(goal_lists, **options)
    with make(goal_lists, **options, autoreset=False) as envs:
        with pytest.raises(ValueError, match="take their goals from the caller"):
            envs.reset()
        goals = np.array([[4], [9]])
        for _ in range(2):
            obs = envs.reset(goals)
            steps = run(envs, random_actions(2, 2, 1))
        assert steps[-1].truncated.all()
        assert envs.state_dict()["goal"].tolist() == [4, 9]
        assert envs.describe(1) == "drawer-close-v3 (copy 0)"
    with make(goal_lists, start_method="fork") as envs:
        np.testing.assert_array_equal(envs.reset(goals), obs)


def test_the_trainers_side_imports_no_simulator() -> None:
    """Where goals are kept on the disk, Meta-World is imported by worker processes only."""
    heavy = {"metaworld", "mujoco", "gymnasium", "scipy", "torch"}
    code = f"import sys, envs; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_actions_that_are_not_finite_are_not_sent(goal_lists: GoalLists) -> None:
    with make(goal_lists, copies=2, workers=1, start_method="fork") as envs:
        envs.reset()
        actions = random_actions(2, 2, 2)
        actions[0, 1, 0, 2] = np.nan
        with pytest.raises(NonFiniteError, match=r"drawer-close-v3 \(copy 0"):
            envs.step(actions[0])
        run(envs, actions[1:])


def test_a_worker_whose_trainer_died_before_it_began_does_nothing() -> None:
    """It would import the simulator first, which takes seconds; here it would fail to unpickle its player."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()

    def begin_when_alone() -> None:
        trainer = multiprocessing.parent_process()
        while os.getppid() == trainer.pid:
            time.sleep(0.01)
        worker_main(theirs, None, [], False, b"no player")
        theirs.send_bytes(b"returned")

    def trainer() -> None:
        context.Process(target=begin_when_alone).start()
        os._exit(0)

    context.Process(target=trainer).start()
    assert mine.poll(60)
    assert mine.recv_bytes() == b"returned"


class Scripted:
    """A player: Meta-World's own scripted policies, for so many steps of an episode; then it flees."""

    draws_size, memory_size = 0, 1

    def __init__(self, tasks: tuple[str, ...], until: int = 10**6) -> None:
        self.tasks, self.until = tasks, until

    def for_workers(self) -> bytes:
        return pickle.dumps(self)

    def weights(self) -> np.ndarray:
        return np.zeros(0, np.float32)

    def draw(self, steps: int, num_envs: int, generator: object) -> np.ndarray:
        return np.zeros((steps, num_envs, 0), np.float32)

    def start(self) -> None:
        self.policies = [ENV_POLICY_MAP[task]() for task in self.tasks]

    def load(self, weights: np.ndarray) -> None:
        assert weights.shape == (0,)

    def act(self, obs: np.ndarray, draws: np.ndarray, memory: np.ndarray) -> np.ndarray:
        memory += 1  # steps of the episode
        actions = [
            policy.get_action(row.astype(np.float64))
            for policy, rows in zip(
                self.policies, obs.reshape(len(self.tasks), -1, 39), strict=True
            )
            for row in rows
        ]
        flees = np.full(4, -1)
        return np.where(memory > self.until, flees, np.clip(actions, -1, 1)).astype(np.float32)


def test_rollout_scores_scripted_policies_on_every_goal_once(goal_lists: GoalLists) -> None:
    """4 goals in waves of 3 copies: the short last wave must not add or lose episodes."""
    tasks = ("reach-v3", "push-v3", "drawer-close-v3")
    results = []
    for copies in (3, 4):
        options = {"autoreset": False, "start_method": "fork", "player": Scripted(tasks)}
        with make(goal_lists, tasks, copies=copies, horizon=150, **options) as envs:
            results.append(rollout(envs, goals=4))
    one, other = results
    assert one.goal.tolist() == [[0, 1, 2, 3]] * 3
    assert one.success.all()
    for name in ("success", "final_success", "returns", "length", "steps_to_success"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert ((one.steps_to_success > 1) & (one.steps_to_success < 150)).all()
    assert (one.returns > 0).all()


def test_rollout_counts_success_at_any_step_and_at_the_last(goal_lists: GoalLists) -> None:
    """A policy that reaches its goal and then flees: success, but not at the last step."""
    player = Scripted(("reach-v3",), until=100)
    options = {"autoreset": False, "start_method": "fork", "player": player}
    with make(goal_lists, ("reach-v3",), horizon=150, **options) as envs:
        result = rollout(envs, goals=1)
    assert result.success.tolist() == [[True]]
    assert result.final_success.tolist() == [[False]]


def test_rollout_keeps_every_step_where_it_is_asked_to(goal_lists: GoalLists) -> None:
    """3 goals in waves of 2 copies; the recorded steps tell what the results say."""
    tasks = ("reach-v3", "drawer-close-v3")
    player = Scripted(tasks)
    options = {"autoreset": False, "start_method": "fork", "player": player}
    with make(goal_lists, tasks, copies=2, horizon=90, **options) as envs:
        result = rollout(envs, goals=3, keep_steps=True)
        first = envs.reset(np.array([[0, 1], [0, 1]]))
    steps = result.steps
    assert steps is not None
    assert steps.obs.shape == (2, 3, 90, 39)
    np.testing.assert_array_equal(steps.obs[:, :2, 0], first)
    np.testing.assert_allclose(steps.reward.sum(axis=2), result.returns, rtol=1e-5)
    np.testing.assert_array_equal(steps.success.any(axis=2), result.success)
    np.testing.assert_array_equal(steps.success[..., -1], result.final_success)
    counted = np.where(result.success, steps.success.argmax(axis=2) + 1, -1)  # from 1
    np.testing.assert_array_equal(counted, result.steps_to_success)
    player.start()
    for time_step in (0, 30, 89):
        obs = steps.obs[:, :, time_step].reshape(6, 39)
        acted = player.act(obs, np.zeros((6, 0)), np.zeros((6, 1), np.float32))
        np.testing.assert_array_equal(steps.action[:, :, time_step], acted.reshape(2, 3, 4))
