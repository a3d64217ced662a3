"""The policy acting in the workers, against the same policy acting step by step in the trainer."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import assert_same_steps
from numpy.random import SeedSequence
from torch import Generator, Tensor

from agent.plan import resolve
from agent.player import PolicyPlayer, evaluated_player, exploring_player
from agent.policy import Policy
from agent.sac import SAC
from configs import load_config
from configs.schema import ExplorationConfig
from envs import GoalLists, MetaWorldVectorEnv, NonFiniteError, Step
from envs.workers.share import WorkerEnv

TASKS = ("reach-v3", "drawer-close-v3")
COPIES, HORIZON, CHUNK = 3, 12, 5
OFTEN = ExplorationConfig(noise_correlation=0.7, hold_rate=0.2, hold_steps=4)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.fixture
def policy() -> Policy:
    """Of a small agent with scaled observations, whose actions differ with every observation."""
    policy = make_policy(seed=0)
    policy.observations.spread.fill_(0.1)
    return policy


def make_policy(seed: int, **network: object) -> Policy:
    config = load_config("smoke")
    sizes = {"actor_hidden": (16, 12), "critic_hidden": (8,), "num_segments": 3}
    small = replace(config.network, **sizes, **network)
    config = replace(config, env=replace(config.env, tasks=TASKS), network=small)
    return SAC(resolve(config, torch.device("cpu")), seeded(seed)).policy


def make(
    goal_lists: GoalLists, player: PolicyPlayer, workers: int = 2, **options: object
) -> MetaWorldVectorEnv:
    options = {"copies": COPIES, "horizon": HORIZON, "stagger": True, **options}
    return MetaWorldVectorEnv(
        TASKS,
        goal_lists,
        seed=SeedSequence(7),
        player=player,
        longest_chunk=CHUNK,
        workers=workers,
        start_method="fork",
        **options,
    )


def play(envs: MetaWorldVectorEnv, *chunks: int, seed: int = 0) -> list[Step]:
    steps, generator = [], seeded(seed)
    for chunk in chunks:
        envs.play_async(chunk, generator=generator)
        steps += envs.play_wait()
    return steps


class ByHand:
    """Noise and holds as their definitions say, one environment and dimension at a time."""

    def __init__(self, policy: Policy, config: ExplorationConfig) -> None:
        self.policy, self.config = policy, config
        self.noise: dict[tuple[int, int], Tensor] = {}
        self.holds: dict[tuple[int, int, int], tuple[int, float]] = {}

    def act(self, obs: np.ndarray, generator: Generator) -> np.ndarray:
        size = (len(TASKS) * COPIES, 4)
        xi = torch.randn(size, generator=generator).view(len(TASKS), COPIES, 4)
        starts = torch.rand(size, generator=generator).view(len(TASKS), COPIES, 4)
        longest = self.config.hold_steps
        lengths = torch.randint(1, longest + 1, size, generator=generator).view_as(starts)
        values = (2 * torch.rand(size, generator=generator) - 1).view_as(starts)
        rho = self.config.noise_correlation
        for place in np.ndindex(len(TASKS), COPIES):
            before = self.noise.get(place)
            mixed = xi[place] if before is None else rho * before + (1 - rho**2) ** 0.5 * xi[place]
            self.noise[place] = mixed
        noise = torch.stack([self.noise[place] for place in np.ndindex(len(TASKS), COPIES)])
        actions = self.policy.act(obs, noise.view_as(xi))
        for where in np.ndindex(actions.shape):
            left, value = self.holds.get(where, (0, 0.0))
            if left == 0 and starts[where] < self.config.hold_rate:
                left, value = int(lengths[where]), float(values[where])
            if left > 0:
                actions[where] = value
            self.holds[where] = (max(0, left - 1), value)
        return actions

    def forget(self, done: np.ndarray) -> None:
        for t, n in zip(*np.nonzero(done), strict=True):
            self.noise.pop((t, n), None)
            for dimension in range(4):
                self.holds.pop((t, n, dimension), None)


def test_chunks_in_the_workers_equal_steps_by_hand(goal_lists: GoalLists, policy: Policy) -> None:
    """Across chunks and the ends of episodes, of whatever length the chunks are."""
    by_hand, generator = ByHand(policy, OFTEN), seeded()
    with make(goal_lists, exploring_player(policy, 2, OFTEN)) as envs:
        obs, expected = envs.reset(), []
        for _ in range(28):
            expected.append(envs.step(by_hand.act(obs, generator)))
            by_hand.forget(expected[-1].done)
            obs = expected[-1].obs
    assert sum(step.done.sum() for step in expected) >= 12
    for chunks in ((5, 5, 5, 5, 5, 3), (1,) * 28, (2, 5, 1, 5, 5, 5, 5)):
        with make(goal_lists, exploring_player(policy, 2, OFTEN)) as envs:
            envs.reset()
            assert_same_steps(play(envs, *chunks), expected)


@pytest.mark.parametrize("workers", [1, 4, 6])
def test_the_number_of_workers_changes_nothing(
    goal_lists: GoalLists, policy: Policy, workers: int
) -> None:
    runs = []
    for count in (2, workers):
        with make(goal_lists, exploring_player(policy, 2, OFTEN), count) as envs:
            envs.reset()
            runs.append(play(envs, 5, 5, 5))
            assert envs.busy_s > 0
    assert_same_steps(*runs)


def test_tasks_that_do_not_play_stand_still(goal_lists: GoalLists, policy: Policy) -> None:
    """Each task's steps are those that it would make alone, whenever it plays."""
    actions = np.random.default_rng(1).uniform(-1, 1, (30, 2, COPIES, 4)).astype(np.float32)
    with make(goal_lists, exploring_player(policy, 2, OFTEN)) as envs:
        envs.reset()
        together = [envs.step(action) for action in actions]
    with make(goal_lists, exploring_player(policy, 2, OFTEN)) as envs:
        envs.reset()
        made: list[list[Step]] = [[], []]
        for playing in ([0], [1], [0, 1], [1], [1], [0], [0, 1], [0]):
            chunk = np.zeros((3, 2, COPIES, 4), np.float32)
            for task in playing:
                start = len(made[task])
                chunk[:, task] = actions[start : start + 3, task]
            envs.play_async(3, actions=chunk, tasks=np.array(playing))
            for step in envs.play_wait():
                assert step.tasks.tolist() == playing
                for place, task in enumerate(playing):
                    alone = {
                        name: getattr(step, name)[place : place + 1]
                        for name in set(Step._fields) - {"worker_restarts"}
                    }
                    made[task].append(Step(**alone, worker_restarts=0))
    assert [len(steps) for steps in made] == [15, 15]
    for task, steps in enumerate(made):
        for one, other in zip(steps, together, strict=False):
            for name in set(Step._fields) - {"worker_restarts"}:
                expected = getattr(other, name)[task : task + 1]
                np.testing.assert_array_equal(getattr(one, name), expected, err_msg=name)
    assert sum(step.done.sum() for steps in made for step in steps) >= 6


def test_what_is_learned_shows_with_the_next_chunk(goal_lists: GoalLists, policy: Policy) -> None:
    with make(goal_lists, evaluated_player(policy, 2, sampled=False)) as envs:
        obs = envs.reset()
        before = play(envs, 2)
        np.testing.assert_array_equal(before[0].action, policy.act(obs, None))
        with torch.no_grad():
            for tensor in policy.tensors():
                tensor.mul_(1.5)
        after = play(envs, 2)
        np.testing.assert_array_equal(after[0].action, policy.act(before[1].obs, None))


def test_a_copy_learns_of_everything_in_which_agents_differ() -> None:
    """Also of the masks: those of a checkpoint need not be those that a new process draws."""
    for activation in ("k_winners", "boosted_k_winners", "threshold_winners"):
        sparse = {"weight_density": 0.5, "segment_density": 0.5, "activation": activation}
        learner = make_policy(seed=1, **sparse)
        player = pickle.loads(
            evaluated_player(make_policy(seed=2, **sparse), 2, sampled=False).for_workers()
        )
        player.load(evaluated_player(learner, 2, sampled=False).weights())
        obs = np.random.default_rng(0).normal(size=(2, 50, 39)).astype(np.float32)
        np.testing.assert_array_equal(player.policy.act(obs, None), learner.act(obs, None))


def test_sampled_evaluations_are_independent_at_every_step(policy: Policy) -> None:
    player = evaluated_player(policy, 2, sampled=True)
    obs = np.zeros((2 * COPIES, 39), np.float32)
    draws = player.draw(4, len(obs), seeded())
    memory = np.zeros((len(obs), player.memory_size), np.float32)
    for step in range(4):
        noise = torch.from_numpy(draws[step]).view(2, COPIES, 4)
        expected = policy.act(obs.reshape(2, COPIES, 39), noise).reshape(-1, 4)
        np.testing.assert_array_equal(player.act(obs, draws[step], memory), expected)


@pytest.fixture
def dying_in_its_fourth_step(monkeypatch: pytest.MonkeyPatch) -> multiprocessing.Value:
    """Worker 1 dies in the fourth step of its chunk, as often as the list says."""
    times = multiprocessing.get_context("fork").Value("i", 0)
    original = WorkerEnv.step

    def step(env: WorkerEnv, index: int) -> None:
        if env.row == 1 and index == 3:
            with times.get_lock():
                dies = times.value > 0
                times.value -= 1
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
        original(env, index)

    monkeypatch.setattr(WorkerEnv, "step", step)
    return times


def test_a_worker_that_dies_within_a_chunk_costs_nothing(
    goal_lists: GoalLists, policy: Policy, dying_in_its_fourth_step: multiprocessing.Value
) -> None:
    """Episodes end, and start, in the chunk in which it dies."""
    runs = []
    for deaths in (0, 1):
        with make(goal_lists, exploring_player(policy, 2, OFTEN)) as envs:
            envs.reset()
            steps = play(envs, 5)
            dying_in_its_fourth_step.value = deaths
            steps += play(envs, 5, 5, seed=1)
            runs.append(steps)
            assert sum(step.worker_restarts for step in steps) == deaths
            assert any(step.done[0, 1] for step in steps[5:8])
    assert_same_steps(*runs)


def test_a_chunk_that_fails_twice_loses_its_first_step_only(
    goal_lists: GoalLists, policy: Policy, dying_in_its_fourth_step: multiprocessing.Value
) -> None:
    with make(goal_lists, exploring_player(policy, 2, OFTEN)) as envs:
        envs.reset()
        steps = play(envs, 5)
        next_goals = envs.state_dict()["next_goals"]
        dying_in_its_fourth_step.value = 2
        steps += play(envs, 5, seed=1)
        goals = envs.state_dict()["goal"]
    lost = np.array([step.lost for step in steps])  # [steps, T, N]
    theirs = [row for row in range(6) if row % 2 == 1]
    assert sorted(np.flatnonzero(lost[5].ravel())) == theirs
    assert lost.sum() == len(theirs)
    assert steps[5].truncated.ravel()[theirs].all()
    assert not steps[5].reward.ravel()[theirs].any()
    np.testing.assert_array_equal(steps[5].next_obs[0, 1], steps[4].obs[0, 1])
    assert not np.array_equal(steps[6].next_obs[0, 1], steps[5].obs[0, 1])  # it goes on
    assert goals[1] == next_goals[1, 0]


def test_numbers_that_are_not_finite_stop_the_run(goal_lists: GoalLists, policy: Policy) -> None:
    with make(goal_lists, exploring_player(policy, 2, OFTEN)) as envs:
        envs.reset()
        with torch.no_grad():
            policy.observations.mean[1] = torch.nan
        with pytest.raises(NonFiniteError, match=r"the action for drawer-close-v3 \(copy 0"):
            play(envs, 2)


def test_running_episodes_with_noise_and_holds_are_rebuilt(
    goal_lists: GoalLists, policy: Policy
) -> None:
    with make(goal_lists, exploring_player(policy, 2, OFTEN)) as envs:
        envs.reset()
        play(envs, 5, 3)
        state = envs.state_dict()
        expected = play(envs, 5, 5, 5, seed=1)
    with make(goal_lists, exploring_player(policy, 2, OFTEN), workers=1) as envs:
        envs.load_state_dict(state)
        assert_same_steps(play(envs, 5, 5, 5, seed=1), expected)


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        (0, 101.0, "noise' is not within"),
        (3, np.nan, "noise' is not within"),
        (5, -1.0, "held steps' is not within 0 and 4"),
        (8, 5.0, "held steps' is not within 0 and 4"),
        (9, 1.5, "held values' is not within -1 and 1"),
        (12, np.nan, "held values' is not within"),
    ],
)
def test_a_memory_that_cannot_be_is_refused(
    policy: Policy, column: int, value: float, fault: str
) -> None:
    player = exploring_player(policy, 2, OFTEN)
    memory = np.zeros((6, player.memory_size), np.float32)
    player.require_memory(memory)
    memory[4, column] = value
    with pytest.raises(ValueError, match=fault):
        player.require_memory(memory)


def test_without_holds_no_random_number_is_drawn_for_them(policy: Policy) -> None:
    config = replace(OFTEN, hold_rate=0.0)
    player, generator = exploring_player(policy, 2, config), seeded()
    draws = player.draw(1, 6, generator)
    other = seeded()
    torch.testing.assert_close(torch.from_numpy(draws[0]), torch.randn(6, 4, generator=other))
    assert torch.equal(generator.get_state(), other.get_state())
