"""Discounted returns and the per-task return scale against double loops in Python floats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.returns import ReturnScale, discounted_returns

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

    def observe(self, reward, done):
        for (task, copy), episode in self.running.items():
            episode.append(reward[task, copy])
            if done[task, copy]:
                self.finished[task].append(list(episode))
                episode.clear()

    def largest(self):
        return [
            max((abs(g) for e in episodes for g in naive_returns(e, self.discount)), default=0.0)
            for episodes in self.finished
        ]


def interleaved_steps(seed, steps, tasks, copies, horizon):
    """Random rewards; every copy's episodes end at their own times, within the horizon."""
    rng = np.random.default_rng(seed)
    length = np.zeros((tasks, copies), int)
    for _ in range(steps):
        length += 1
        done = (rng.random((tasks, copies)) < 0.2) | (length == horizon)
        length[done] = 0
        yield rng.normal(size=(tasks, copies)).astype(np.float32) * 3, done


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
    tracked = ReturnScale(tasks, copies, horizon, discount=0.9)
    naive = Naive(tasks, copies, 0.9)
    for reward, done in interleaved_steps(seed, 15, tasks, copies, horizon):
        tracked.observe(reward, done)
        naive.observe(reward, done)
        assert tracked.largest.tolist() == pytest.approx(naive.largest(), rel=1e-9)


def observe_one(scale, *episode, task=0, tasks=2):
    for step, value in enumerate(episode):
        reward = np.full((tasks, 1), 99, np.float32)
        reward[task] = value
        done = np.zeros((tasks, 1), bool)
        done[task] = step == len(episode) - 1
        scale.observe(reward, done)


def test_an_unfinished_episode_does_not_count():
    scale = ReturnScale(2, copies=1, horizon=5, discount=0.5)
    observe_one(scale, 1.0, 2.0)
    assert scale.largest.tolist() == [4.0, 0.0]  # 2 / (1 - 0.5), not the other task's 99


def test_a_lost_episode_does_not_count_and_the_next_one_does():
    scale = ReturnScale(1, copies=1, horizon=3, discount=0.5)
    for reward, lost in [(7.0, False), (7.0, True), (1.0, False)]:
        scale.observe(np.full((1, 1), reward, np.float32), np.full((1, 1), reward == 1))
        scale.forget(np.full((1, 1), lost))
    assert scale.largest.tolist() == [2.0]  # 1 / (1 - 0.5)


def test_negative_returns_count_by_size():
    scale = ReturnScale(2, copies=1, horizon=5, discount=0.5)
    observe_one(scale, -3.0)
    assert scale.largest.tolist() == [6.0, 0.0]


def test_reward_scale_is_one_before_any_episode():
    scale = ReturnScale(3, copies=2, horizon=5, discount=0.9)
    scale.observe(np.ones((3, 2), np.float32), np.zeros((3, 2), bool))
    assert scale.reward_scale(10.0).tolist() == [1.0, 1.0, 1.0]


def test_reward_scale_maps_the_largest_return_to_the_bound():
    scale = ReturnScale(2, copies=1, horizon=9, discount=0.9)
    episode = [0.5, 7.0, 1.0, 2.0]
    observe_one(scale, *episode)
    observe_one(scale, 2.0)  # a smaller one later changes nothing, while it is no less than half
    factor = scale.reward_scale(10.0)
    assert factor.dtype == np.float32
    scaled = naive_returns([r * float(factor[0]) for r in episode], 0.9)
    assert max(map(abs, scaled)) == pytest.approx(10.0, rel=1e-6)
    assert factor[1] == 1


def test_a_single_lucky_return_counts_no_more_than_twice_the_usual_one():
    scale = ReturnScale(1, copies=1, horizon=1, discount=0.5)  # return: twice the reward
    for _ in range(5):
        observe_one(scale, 1.0, tasks=1)
    observe_one(scale, 100.0, tasks=1)
    assert scale.largest[0] == 200
    usual = 0.98 * 2 + 0.02 * 200
    assert scale.usual[0] == pytest.approx(usual)
    assert scale.reward_scale(10.0)[0] == pytest.approx(10 / (2 * usual))
    for _ in range(200):
        observe_one(scale, 100.0, tasks=1)
    assert scale.reward_scale(10.0)[0] == pytest.approx(10 / 200)  # it is usual now


def test_the_first_return_that_is_not_zero_is_the_usual_one():
    scale = ReturnScale(1, copies=1, horizon=1, discount=0.5)
    observe_one(scale, 0.0, tasks=1)
    observe_one(scale, 3.0, tasks=1)
    assert scale.usual[0] == 6


def test_reward_scale_of_a_task_that_only_saw_zeros_is_one():
    scale = ReturnScale(2, copies=1, horizon=5, discount=0.9)
    observe_one(scale, 0.0, 0.0)
    assert scale.reward_scale(10.0).tolist() == [1.0, 1.0]


@quick
@given(seed=st.integers(0, 10_000), stop=st.integers(1, 14))
def test_restored_mid_episode_it_goes_on_like_the_original(seed, stop):
    original = ReturnScale(2, 3, horizon=6, discount=0.9)
    restored = ReturnScale(2, 3, horizon=6, discount=0.9)
    for index, (reward, done) in enumerate(interleaved_steps(seed, 15, 2, 3, 6)):
        if index == stop:
            state = {name: value.copy() for name, value in original.state_dict().items()}
            restored.load_state_dict(state)
        original.observe(reward, done)
        if index >= stop:
            restored.observe(reward, done)
            assert restored.largest.tolist() == original.largest.tolist()
            assert restored.usual.tolist() == original.usual.tolist()


@pytest.mark.parametrize("settings", [(3, 3, 6), (2, 2, 6), (2, 3, 5)], ids=str)
def test_load_refuses_other_tasks_copies_or_horizon(settings):
    state = ReturnScale(2, 3, 6, discount=0.9).state_dict()
    with pytest.raises(ValueError, match=r"is float(64|32)"):
        ReturnScale(*settings, discount=0.9).load_state_dict(state)
