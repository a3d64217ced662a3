"""Returns of episodes and the unit of rewards against double loops in Python floats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from agent.rewards import EpisodeReturns, RewardNormalizer, discounted_returns
from configs import load_config

quick = settings(deadline=None, max_examples=80)
rewards_of_an_episode = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=40)


def naive_returns(rewards, discount):
    """G_k = sum_i gamma^(i-k) r_i, the last reward continued for ever."""
    last = len(rewards) - 1
    returns = []
    for k in range(len(rewards)):
        total = 0.0
        for i in range(k, last):
            total += discount ** (i - k) * float(rewards[i])
        returns.append(total + discount ** (last - k) * float(rewards[last]) / (1 - discount))
    return returns


@quick
@given(rewards=rewards_of_an_episode, discount=st.floats(0.01, 0.999))
def test_discounted_returns_equal_a_double_loop(rewards, discount):
    actual = discounted_returns(np.array(rewards, np.float32), discount)
    assert actual.dtype == np.float64
    scale = max(map(abs, rewards)) / (1 - discount) + 1e-9
    assert actual.tolist() == pytest.approx(naive_returns(rewards, discount), abs=1e-9 * scale)


@quick
@given(rewards=rewards_of_an_episode, discount=st.floats(0.01, 0.999))
def test_discounted_returns_equal_a_linear_filter_bit_for_bit(rewards, discount):
    """So they were computed once; the returns of old runs still mean the same (-0 is 0)."""
    rewards = np.array(rewards, np.float32)
    tail = float(rewards[-1]) / (1 - discount)
    backwards = np.concatenate([[tail], rewards[-2::-1].astype(np.float64)])
    expected = lfilter([1.0], [1.0, -discount], backwards)[::-1]
    assert np.array_equal(discounted_returns(rewards, discount), expected)  # no tolerance


def test_discounted_returns_by_hand():
    # the last reward for ever: 4 / (1 - 0.5) = 8; then 2 + 8 / 2 and 1 + 6 / 2
    assert discounted_returns(np.array([1, 2, 4], np.float32), 0.5).tolist() == [4.0, 6.0, 8.0]


@pytest.mark.parametrize("horizon", [1, 2, 200, 500])
def test_a_constant_reward_has_the_same_return_at_any_horizon(horizon):
    returns = discounted_returns(np.full(horizon, 10, np.float32), 0.99)
    assert returns.tolist() == pytest.approx([1000.0] * horizon)


class Naive:
    """Episodes as Python lists; every finished one is looked at again for each reading."""

    def __init__(self, tasks, copies, discount):
        self.discount, self.tasks = discount, tasks
        self.running = {(t, n): [] for t in range(tasks) for n in range(copies)}
        self.finished = [[] for _ in range(tasks)]

    def observe(self, reward, done, plays):
        for row, task in enumerate(plays):
            for copy in range(reward.shape[1]):
                episode = self.running[task, copy]
                episode.append(reward[row, copy])
                if done[row, copy]:
                    self.finished[task].append(list(episode))
                    episode.clear()

    def largest(self):
        return [
            max((abs(g) for e in episodes for g in naive_returns(e, self.discount)), default=0.0)
            for episodes in self.finished
        ]


def interleaved_steps(seed, steps, tasks, copies, horizon):
    """Random rewards of tasks that play by turns; every copy's episodes end at their own times."""
    rng = np.random.default_rng(seed)
    length = np.zeros((tasks, copies), int)
    for _ in range(steps):
        plays = np.flatnonzero(rng.random(tasks) < 0.7)
        length[plays] += 1
        done = (rng.random((len(plays), copies)) < 0.2) | (length[plays] == horizon)
        length[plays] *= ~done
        yield rng.normal(size=(len(plays), copies)).astype(np.float32) * 3, done, plays


@quick
@given(
    seed=st.integers(0, 10_000),
    tasks=st.integers(1, 3),
    copies=st.integers(1, 3),
    horizon=st.integers(1, 7),
)
def test_largest_return_over_interleaved_episodes_equals_a_recomputation(
    seed, tasks, copies, horizon
):
    tracked = EpisodeReturns(tasks, copies, horizon, discount=0.9)
    naive = Naive(tasks, copies, 0.9)
    for reward, done, plays in interleaved_steps(seed, 15, tasks, copies, horizon):
        tracked.observe(reward, done, plays)
        naive.observe(reward, done, plays)
        assert tracked.largest.tolist() == pytest.approx(naive.largest(), rel=1e-9)


def observe_one(returns, *episode, task=0, tasks=2):
    for step, value in enumerate(episode):
        reward = np.full((tasks, 1), 99, np.float32)
        reward[task] = value
        done = np.zeros((tasks, 1), bool)
        done[task] = step == len(episode) - 1
        returns.observe(reward, done)


def test_an_unfinished_episode_does_not_count():
    returns = EpisodeReturns(2, copies=1, horizon=5, discount=0.5)
    observe_one(returns, 1.0, 2.0)
    assert returns.largest.tolist() == [4.0, 0.0]  # 2 / (1 - 0.5), not the other task's 99


def test_a_lost_episode_does_not_count_and_the_next_one_does():
    returns = EpisodeReturns(1, copies=1, horizon=3, discount=0.5)
    for reward, lost in [(7.0, False), (7.0, True), (1.0, False)]:
        returns.observe(np.full((1, 1), reward, np.float32), np.full((1, 1), reward == 1))
        returns.forget(np.full((1, 1), lost))
    assert returns.largest.tolist() == [2.0]  # 1 / (1 - 0.5)


def test_negative_returns_count_by_size():
    returns = EpisodeReturns(2, copies=1, horizon=5, discount=0.5)
    observe_one(returns, -3.0)
    assert returns.largest.tolist() == [6.0, 0.0]


def test_reward_scale_is_one_before_any_episode():
    returns = EpisodeReturns(3, copies=2, horizon=5, discount=0.9)
    returns.observe(np.ones((3, 2), np.float32), np.zeros((3, 2), bool))
    assert returns.reward_scale(10.0).tolist() == [1.0, 1.0, 1.0]


def test_reward_scale_maps_the_largest_return_to_the_bound():
    returns = EpisodeReturns(2, copies=1, horizon=9, discount=0.9)
    episode = [0.5, 7.0, 1.0, 2.0]
    observe_one(returns, *episode)
    observe_one(returns, 2.0)  # a smaller one later changes nothing, while it is no less than half
    factor = returns.reward_scale(10.0)
    assert factor.dtype == np.float32
    scaled = naive_returns([r * float(factor[0]) for r in episode], 0.9)
    assert max(map(abs, scaled)) == pytest.approx(10.0, rel=1e-6)
    assert factor[1] == 1


def test_a_single_lucky_return_counts_no_more_than_twice_the_usual_one():
    returns = EpisodeReturns(1, copies=1, horizon=1, discount=0.5)  # return: twice the reward
    for _ in range(5):
        observe_one(returns, 1.0, tasks=1)
    observe_one(returns, 100.0, tasks=1)
    assert returns.largest[0] == 200
    usual = 0.98 * 2 + 0.02 * 200
    assert returns.usual[0] == pytest.approx(usual)
    assert returns.reward_scale(10.0)[0] == pytest.approx(10 / (2 * usual))
    for _ in range(200):
        observe_one(returns, 100.0, tasks=1)
    assert returns.reward_scale(10.0)[0] == pytest.approx(10 / 200)  # it is usual now


def test_the_first_return_that_is_not_zero_is_the_usual_one():
    returns = EpisodeReturns(1, copies=1, horizon=1, discount=0.5)
    observe_one(returns, 0.0, tasks=1)
    observe_one(returns, 3.0, tasks=1)
    assert returns.usual[0] == 6


def test_reward_scale_of_a_task_that_only_saw_zeros_is_one():
    returns = EpisodeReturns(2, copies=1, horizon=5, discount=0.9)
    observe_one(returns, 0.0, 0.0)
    assert returns.reward_scale(10.0).tolist() == [1.0, 1.0]


@quick
@given(seed=st.integers(0, 10_000), stop=st.integers(1, 14))
def test_restored_mid_episode_it_goes_on_like_the_original(seed, stop):
    original = EpisodeReturns(2, 3, horizon=6, discount=0.9)
    restored = EpisodeReturns(2, 3, horizon=6, discount=0.9)
    for index, step in enumerate(interleaved_steps(seed, 15, 2, 3, 6)):
        if index == stop:
            state = {name: value.copy() for name, value in original.state_dict().items()}
            restored.load_state_dict(state)
        original.observe(*step)
        if index >= stop:
            restored.observe(*step)
            assert restored.largest.tolist() == original.largest.tolist()
            assert restored.usual.tolist() == original.usual.tolist()


@pytest.mark.parametrize("settings", [(3, 3, 6), (2, 2, 6), (2, 3, 5)], ids=str)
def test_load_refuses_other_tasks_copies_or_horizon(settings):
    state = EpisodeReturns(2, 3, 6, discount=0.9).state_dict()
    with pytest.raises(ValueError, match=r"is float(64|32)"):
        EpisodeReturns(*settings, discount=0.9).load_state_dict(state)


# --- learned and applied -----------------------------------------------------------------------

TASKS, COPIES, HORIZON, HIGHEST = 3, 2, 6, 9.3


def make_normalizer(reward_scaling="per_task_return", discount=0.9):
    config = load_config("smoke")
    tasks = config.env.task_names[:TASKS]
    return RewardNormalizer(
        replace(
            config,
            env=replace(config.env, tasks=tasks, copies_per_task=COPIES, horizon=HORIZON),
            agent=replace(config.agent, discount=discount, value_range=(-2.0, 10.0)),
            normalization=replace(config.normalization, reward_scaling=reward_scaling),
        )
    )


def naive_unit(episodes, discount):
    """A task's unit of reward, from the lists of its finished episodes in the order they ended."""
    returns = [max(abs(g) for g in naive_returns(episode, discount)) for episode in episodes]
    usual = 0.0
    for newest in returns:
        usual = 0.98 * usual + 0.02 * newest if usual > 0 else newest
    largest = max(returns, default=0.0)
    return min(largest, 2 * usual) if largest > 0 else HIGHEST


def steps_with_losses(seed, steps):
    """Random rewards `[t, N]`, ends, which of the ends lose their episode, and the tasks that play."""
    lose = np.random.default_rng(seed + 1)
    for reward, done, plays in interleaved_steps(seed, steps, TASKS, COPIES, HORIZON):
        lost = done & (lose.random(done.shape) < 0.3)
        reward = np.where(lost, np.float32(1e6), reward)  # must not be seen
        yield reward, done, lost, plays


@quick
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 40))
def test_what_is_learned_and_applied_equals_float64_over_lists_of_episodes(seed, steps):
    normalizer, naive = make_normalizer(), Naive(TASKS, COPIES, 0.9)
    assert normalizer.scale.tolist() == [1.0] * TASKS
    for reward, done, lost, plays in steps_with_losses(seed, steps):
        normalizer.observe(reward, done, lost, plays)
        naive.observe(reward, done & ~lost, plays)
        for row, copy in zip(*np.nonzero(lost), strict=True):
            naive.running[plays[row], copy].clear()
        units = np.array([naive_unit(episodes, 0.9) for episodes in naive.finished])
        rewards = np.random.default_rng(seed).normal(size=(TASKS, 5)).astype(np.float32)
        scaled = normalizer(torch.from_numpy(rewards))
        assert scaled.dtype == torch.float32
        np.testing.assert_allclose(scaled, rewards * HIGHEST / units[:, None], rtol=1e-6)


def test_every_reward_of_a_batch_is_scaled_by_its_own_task():
    normalizer = make_normalizer()
    normalizer.scale.copy_(torch.tensor([1.0, 4.0, 0.5]))
    reward, task = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1, 0, 2, 1])
    assert normalizer(reward, task).tolist() == [4.0, 2.0, 1.5, 16.0]
    assert normalizer(torch.ones(TASKS, 2)).tolist() == [[1.0] * 2, [4.0] * 2, [0.5] * 2]


@pytest.mark.parametrize(
    ("reward_scaling", "expected"), [("per_task_return", [HIGHEST, 1.0, 1.0]), ("none", [1.0] * 3)]
)
def test_rewards_are_scaled_only_if_configured(reward_scaling, expected):
    normalizer = make_normalizer(reward_scaling, discount=0.5)
    done = np.zeros((TASKS, COPIES), bool)
    done[0, 1] = True
    reward = np.array([[9.0, 0.5], [9.0, 9.0], [9.0, 9.0]], np.float32)  # G = 0.5 / (1 - 0.5)
    normalizer.observe(reward, done, np.zeros_like(done))
    assert normalizer.scale.tolist() == pytest.approx(expected)


def test_a_lost_episode_leaves_no_trace_and_the_one_after_it_begins_anew():
    normalizer = make_normalizer(discount=0.5)
    every, no = np.ones((TASKS, COPIES), bool), np.zeros((TASKS, COPIES), bool)
    nan = np.full((TASKS, COPIES), np.nan, np.float32)
    normalizer.observe(np.full((TASKS, COPIES), 7, np.float32), no, no)
    normalizer.observe(nan, every, every)
    assert normalizer.scale.tolist() == [1.0] * TASKS
    normalizer.observe(np.ones((TASKS, COPIES), np.float32), every, no)
    assert normalizer.returns.largest.tolist() == [2.0] * TASKS  # 1 / (1 - 0.5)
    assert normalizer.scale.tolist() == pytest.approx([HIGHEST / 2] * TASKS)


def test_an_episode_lost_with_its_last_step_makes_room_for_a_whole_one():
    normalizer = make_normalizer()
    no, every = np.zeros((TASKS, COPIES), bool), np.ones((TASKS, COPIES), bool)
    for episode_is_lost in (True, True, False):
        for step in range(HORIZON):
            done = every if step == HORIZON - 1 else no
            normalizer.observe(np.ones((TASKS, COPIES), np.float32), done, done & episode_is_lost)
    assert normalizer.returns.largest == pytest.approx([10.0] * TASKS)
    assert not normalizer.returns.state_dict()["length"].any()


def test_the_unit_is_part_of_the_modules_state():
    original, restored = make_normalizer(), make_normalizer()
    original.scale.copy_(torch.tensor([1.0, 4.0, 0.5]))
    assert set(original.state_dict()) == {"scale"}
    restored.load_state_dict(original.state_dict())
    assert torch.equal(restored(torch.ones(TASKS, 1)), original(torch.ones(TASKS, 1)))
