"""Episodes in the replay buffer: n-step returns against Python lists, and lost transitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_samples import ACTION, DISCOUNT, OBS, Lists, poisoned, saved, seeded, transitions

from configs import RunError


class Streams:
    """The oracle of n-step returns: every environment's transitions in one Python list."""

    def __init__(self, num_tasks, copies, length, n_step, seed):
        self.buffer = poisoned(num_tasks, copies, length, n_step)
        self.copies, self.n_step = copies, n_step
        self.generator = seeded(seed)
        self.streams = [[] for _ in range(num_tasks * copies)]  # one dict of numbers per step

    def add(self, which):
        """One step of the tasks named."""
        draw, shape = self.generator, (len(which), self.copies)
        ends = torch.rand(2, *shape, generator=draw) < 0.15
        reward = torch.randint(-8, 9, shape, generator=draw).float()
        number = torch.empty(shape)
        for i, task in enumerate(which):
            for copy in range(self.copies):
                environment = task * self.copies + copy
                own = self.streams[environment]
                number[i, copy] = 1000 * len(own) + environment
                own.append(
                    {
                        "reward": reward[i, copy].item(),
                        "next_obs": number[i, copy].item() + 0.5,
                        "terminated": ends[0, i, copy].item(),
                        "truncated": ends[1, i, copy].item(),
                    }
                )
        self.buffer.add(
            obs=number.unsqueeze(-1).expand(-1, -1, OBS),
            action=number.unsqueeze(-1).expand(-1, -1, ACTION),
            reward=reward,
            next_obs=number.unsqueeze(-1).expand(-1, -1, OBS) + 0.5,
            terminated=ends[0],
            truncated=ends[1],
            tasks=torch.tensor(which),
        )

    def expected(self, number):
        """Reward, next observation and discount of the transition with that number."""
        time, environment = divmod(int(number), 1000)
        reward, discount = 0.0, 1.0
        for own in self.streams[environment][time : time + self.n_step]:
            reward += discount * own["reward"]
            discount *= DISCOUNT
            if own["terminated"]:
                return reward, own["next_obs"], 0.0
            if own["truncated"]:
                break
        return reward, own["next_obs"], discount

    def check(self, buffer):
        for batch in (buffer.newest(99), buffer.sample("uniform", 40, seeded(1))):
            numbers = batch.obs[..., 0].flatten().tolist()
            assert batch.action[..., 0].flatten().tolist() == numbers
            found = zip(
                batch.reward.flatten().tolist(),
                batch.next_obs[..., 0].flatten().tolist(),
                batch.discount.flatten().tolist(),
                strict=True,
            )
            assert list(found) == [self.expected(number) for number in numbers]


@settings(deadline=None, max_examples=60)
@given(
    num_tasks=st.integers(1, 3),
    copies=st.integers(1, 3),
    length=st.integers(1, 6),
    n_step=st.integers(1, 5),
    adds=st.lists(st.sampled_from(["all", "all", "first", "last"]), min_size=1, max_size=14),
    seed=st.integers(0, 999),
)
def test_n_step_transitions_follow_one_environment_to_its_end(
    num_tasks, copies, length, n_step, adds, seed
):
    every = list(range(num_tasks))
    which = {"all": every, "first": every[:1], "last": every[::-1][:1]}
    streams = Streams(num_tasks, copies, length, n_step, seed)
    for name in adds:
        streams.add(which[name])
    streams.check(streams.buffer)
    restored = poisoned(num_tasks, copies, length, n_step)
    restored.load_state_dict(saved(streams.buffer))
    streams.check(restored)


# --- lost transitions --------------------------------------------------------------------------


def numbered_step(number, lost, **more):
    """A vector step made of its numbers `[t, N]`, with NaN for everything lost."""
    number = torch.where(lost, torch.nan, number)
    return {
        "obs": number.unsqueeze(-1).expand(*number.shape, OBS),
        "action": number.unsqueeze(-1).expand(*number.shape, ACTION),
        "reward": number,
        "next_obs": number.unsqueeze(-1).expand(*number.shape, OBS) + 10,
        "terminated": torch.zeros_like(lost),
        "truncated": lost,
        "lost": lost,
    } | more


def seen_of(batch, task=0):
    """The first observation of each sample -> the rewards, next observations, discounts seen."""
    assert all(value.isfinite().all() for value in (batch.obs, batch.reward, batch.next_obs))
    seen = {}
    for obs, *rest in zip(
        batch.obs[task, :, 0].tolist(),
        batch.reward[task].tolist(),
        batch.next_obs[task, :, 0].tolist(),
        batch.discount[task].tolist(),
        strict=True,
    ):
        seen.setdefault(obs, set()).add(tuple(rest))
    return seen


@pytest.mark.parametrize("length", [5, 10])  # full; half full
def test_a_lost_transition_is_never_seen_and_ends_its_episode(length):
    """Two copies, three-step returns; copy 0 loses its third step, whose values are poison."""
    buffer = poisoned(1, 2, length, n_step=3)
    for time in range(5):
        number = torch.tensor([[10.0 * time, 10.0 * time + 1]])  # [T, N]: copy 0, copy 1
        buffer.add(**numbered_step(number, torch.tensor([[time == 2, False]])))
    gamma = DISCOUNT
    assert seen_of(buffer.newest(10)) == {
        0: {(0 + gamma * 10, 20, gamma**2)},  # ends after step 1
        10: {(10, 20, gamma)},  # twice in the buffer: also in the place of step 2
        30: {(30 + gamma * 40, 50, gamma**2)},  # no step follows 40 yet
        40: {(40, 50, gamma)},
        1: {(1 + gamma * 11 + gamma**2 * 21, 31, gamma**3)},
        11: {(11 + gamma * 21 + gamma**2 * 31, 41, gamma**3)},
        21: {(21 + gamma * 31 + gamma**2 * 41, 51, gamma**3)},
        31: {(31 + gamma * 41, 51, gamma**2)},
        41: {(41, 51, gamma)},
    }


def test_a_transition_lost_where_the_ring_begins_anew_is_replaced_by_that_at_its_end():
    buffer = poisoned(1, 1, 3, n_step=2)
    for time in range(4):  # the fourth is written over the first, and lost
        buffer.add(**numbered_step(torch.tensor([[10.0 * time]]), torch.tensor([[time == 3]])))
    assert seen_of(buffer.newest(3)) == {
        10: {(10 + DISCOUNT * 20, 30, DISCOUNT**2)},
        20: {(20, 30, DISCOUNT)},
    }


def test_a_transition_lost_while_some_tasks_are_stepped_touches_no_other_task():
    buffer = poisoned(3, 1, 4)
    buffer.add(**numbered_step(torch.tensor([[0.0], [1.0], [2.0]]), torch.zeros(3, 1).bool()))
    lost = torch.tensor([[True], [False]])
    tasks = torch.tensor([2, 1])  # task 2 loses its second step, task 1 does not
    buffer.add(**numbered_step(torch.tensor([[12.0], [11.0]]), lost, tasks=tasks))
    assert buffer.counts.tolist() == [1, 2, 2]
    rewards = buffer.storage["reward"][:, 0]
    assert rewards[:, 0].tolist() == [0, 1, 2]
    assert rewards[1:, 1].tolist() == [11, 2]
    assert rewards[0, 1:].isnan().all()
    assert buffer.storage["truncated"][:, 0].tolist() == [
        [False] * 4,
        [False] * 4,
        [True, True, False, False],
    ]


def test_a_failure_in_the_very_first_step_is_an_error():
    lost = torch.tensor([[False], [True]])
    with pytest.raises(RunError, match="first step"):
        poisoned(2, 1, 2).add(**transitions(torch.zeros(2, 1)), lost=lost)


def test_a_failure_in_a_tasks_own_first_step_is_an_error_though_others_have_gone_on():
    lists = Lists(2, 1, length=4)
    lists.add([0])
    step = transitions(torch.zeros(1, 1)) | {"lost": torch.tensor([[True]])}
    with pytest.raises(RunError, match="first step"):
        lists.buffer.add(**step, tasks=torch.tensor([1]))
    lists.buffer.add(**step, tasks=torch.tensor([0]))  # this one has a step before it
    assert lists.buffer.counts.tolist() == [2, 0]
