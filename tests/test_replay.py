"""The replay buffer against Python lists, with poisoned storage."""

from __future__ import annotations

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_samples import ACTION, CPU, OBS, Lists, numbers_of, poisoned, seeded, transitions
from scipy import stats

from agent.replay import ReplayBuffer
from configs import UsageError, parse_config

quick = settings(deadline=None, max_examples=60)


def check_against(lists, buffer, seed):
    """Counts, the newest, and samples are what the lists say."""
    counts = [len(numbers) for numbers in lists.stored]
    assert buffer.counts.tolist() == counts

    known = [task for task, count in enumerate(counts) if count]
    fewest_stored = min(counts[task] for task in known)
    for count in (1, fewest_stored, fewest_stored + 3):
        batch = buffer.newest(count)
        newest, fewest = numbers_of(batch), min(count, fewest_stored)
        assert newest.shape == (len(known), fewest)
        if len(known) == len(counts):
            assert batch.task is None
        else:
            assert batch.task.tolist() == [[task] for task in known]
        for task, numbers in zip(known, newest.tolist(), strict=True):
            stored = lists.stored[task]
            assert sorted(numbers) == stored[len(stored) - fewest :]

    per_task = 8
    batch_size = per_task * len(counts) + len(counts) - 1  # the rest is left out
    if min(counts) == 0:
        with pytest.raises(ValueError, match="no transitions to sample"):
            buffer.sample("balanced", batch_size, seeded(seed))
    else:
        balanced = buffer.sample("balanced", batch_size, seeded(seed))
        assert balanced.task is None
        assert balanced.obs.shape == (len(counts), per_task, OBS)
        for task, numbers in enumerate(numbers_of(balanced).tolist()):
            assert set(numbers) <= set(lists.stored[task])

    uniform = buffer.sample("uniform", 20, seeded(seed))
    assert uniform.obs.shape == (20, OBS)
    assert uniform.task.dtype == torch.int64
    for task, number in zip(uniform.task.tolist(), numbers_of(uniform).tolist(), strict=True):
        assert number in lists.stored[task]


@st.composite
def steps_of_tasks(draw):
    """How many tasks, and which of them (in any order, `None` for all) each vector step is of."""
    num_tasks = draw(st.integers(1, 4))
    some = st.lists(st.integers(0, num_tasks - 1), min_size=1, unique=True)
    return num_tasks, draw(st.lists(st.none() | some, min_size=1, max_size=20))


@quick
@given(steps_of_tasks(), st.integers(1, 3), st.integers(1, 5))
def test_any_sequence_of_adds_stores_the_newest_of_every_task(tasks_and_steps, copies, length):
    num_tasks, steps = tasks_and_steps
    lists = Lists(num_tasks, copies, length)
    for index, which in enumerate(steps):
        lists.add(which)
        check_against(lists, lists.buffer, seed=index)


@quick
@given(steps_of_tasks(), st.integers(1, 3), st.integers(0, 19))
def test_a_restored_buffer_goes_on_like_the_original(tasks_and_steps, copies, stop):
    """Also with rings that are filled unequally far."""
    num_tasks, steps = tasks_and_steps
    lists = Lists(num_tasks, copies, length=4)
    stop = min(stop, len(steps) - 1)
    for which in steps[: stop + 1]:
        lists.add(which)
    state = {name: value.clone() for name, value in lists.buffer.state_dict().items()}
    longest = max(len(numbers) for numbers in lists.stored) // copies
    assert state["obs"].shape == (num_tasks, copies, longest, OBS)  # the written part only
    for value in state.values():
        value.nan_to_num_(nan=7e20)  # poison that a load does not refuse
    restored = poisoned(num_tasks, copies, length=4)
    restored.load_state_dict(state)
    check_against(lists, restored, seed=0)
    for which in steps[stop + 1 :]:
        lists.add(which, restored)
        check_against(lists, restored, seed=1)
        one, other = (b.sample("uniform", 9, seeded(2)) for b in (lists.buffer, restored))
        assert torch.equal(one.obs, other.obs)


@pytest.mark.parametrize("steps", [1, 4, 5, 6, 13])
def test_rings_that_are_filled_to_the_brim_or_several_times_keep_the_newest(steps):
    lists = Lists(2, 3, length=5).filled(steps)
    check_against(lists, lists.buffer, seed=0)
    assert [len(numbers) for numbers in lists.stored] == [3 * min(steps, 5)] * 2


def test_an_empty_buffer_refuses_to_be_sampled():
    for sampling in ("balanced", "uniform"):
        with pytest.raises(ValueError, match=r"no transitions to sample.*\[0, 0\]"):
            poisoned(2, 1, 4).sample(sampling, 4, seeded())


def test_a_task_without_transitions_is_refused_by_a_balanced_sample_and_left_out_by_a_uniform_one():
    lists = Lists(3, 2, length=4)
    lists.add([2, 0])
    with pytest.raises(ValueError, match=r"stored of each task: \[2, 0, 2\]"):
        lists.buffer.sample("balanced", 6, seeded())
    assert set(lists.buffer.sample("uniform", 50, seeded()).task.tolist()) == {0, 2}


def test_rewards_come_back_bit_for_bit():
    rewards = torch.tensor([1e-30, -3.4e38, 0.1, -0.0, 123456.79, 1.1754944e-38])
    buffer = poisoned(1, 1, length=6)
    for reward in rewards:
        buffer.add(**(transitions(torch.zeros(1, 1)) | {"reward": reward.view(1, 1)}))
    stored = buffer.newest(6).reward
    assert sorted(stored.view(torch.int32).tolist()[0]) == sorted(
        rewards.view(torch.int32).tolist()
    )


# --- what a seed draws -------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [3, 8, 12])  # filling, full, wrapped
@pytest.mark.parametrize("seed", [0, 1])
def test_with_equal_counts_balanced_draws_are_one_draw_for_all_tasks(steps, seed):
    """Part of what a seed means: `torch.randint(count, (T, b))`, copies fastest."""
    lists = Lists(3, 2, length=8).filled(steps)
    generator, expected = seeded(seed), seeded(seed)
    numbers = numbers_of(lists.buffer.sample("balanced", 3 * 50, generator))
    column = torch.randint(2 * min(steps, 8), (3, 50), generator=expected)
    reward = lists.buffer.storage["reward"]
    stored = reward[torch.arange(3).unsqueeze(1), column % 2, column // 2]
    assert torch.equal(numbers, -stored.long())
    assert torch.equal(generator.get_state(), expected.get_state())


@pytest.mark.parametrize("steps", [3, 12])
def test_with_equal_counts_a_uniform_draw_runs_through_the_tasks(steps):
    lists = Lists(3, 2, length=8).filled(steps)
    count = 2 * min(steps, 8)
    batch = lists.buffer.sample("uniform", 100, seeded(5))
    draw = torch.randint(3 * count, (100,), generator=seeded(5))
    assert torch.equal(batch.task, draw // count)
    column = draw % count
    stored = lists.buffer.storage["reward"][draw // count, column % 2, column // 2]
    assert torch.equal(batch.reward, stored)


def counts_of(numbers, stored):
    """How often each stored transition was drawn."""
    return [numbers.count(number) for number in stored]


def unequal_lists():
    """Three tasks of which 2, 7 (half full) and 11 (wrapped) steps were added to rings of 8."""
    lists = Lists(3, 2, length=8)
    for task, steps in enumerate((2, 7, 11)):
        for _ in range(steps):
            lists.add([task])
    return lists


@pytest.mark.parametrize(
    "lists", [Lists(3, 2, 8).filled(4), Lists(3, 2, 8).filled(12), unequal_lists()]
)
def test_balanced_sampling_is_uniform_within_each_task(lists):
    drawn = numbers_of(lists.buffer.sample("balanced", 12_000, seeded())).tolist()
    for numbers, stored in zip(drawn, lists.stored, strict=True):
        counts = counts_of(numbers, stored)
        assert sum(counts) == 4000
        assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(
    "lists", [Lists(3, 2, 8).filled(4), Lists(3, 2, 8).filled(12), unequal_lists()]
)
def test_uniform_sampling_is_uniform_over_everything(lists):
    drawn = numbers_of(lists.buffer.sample("uniform", 12_000, seeded())).tolist()
    counts = [count for stored in lists.stored for count in counts_of(drawn, stored)]
    assert sum(counts) == 12_000
    assert stats.chisquare(counts).pvalue > 1e-4


def test_groups_follow_the_shares_and_are_uniform_within_each_task():
    lists, shares = unequal_lists(), torch.tensor([0.2, 1.0, 0.8])
    drawn, generator = [[], [], []], seeded()
    for _ in range(1000):
        batch = lists.buffer.sample("balanced", 12, generator, shares)
        assert batch.task.shape == (6, 1)
        counts = torch.bincount(batch.task.flatten(), minlength=3)
        assert (counts - 6 * shares / shares.sum()).abs().max() < 1
        for task, numbers in zip(batch.task.flatten().tolist(), numbers_of(batch), strict=True):
            drawn[task] += numbers.tolist()
    means = torch.tensor([len(numbers) for numbers in drawn]) / 12_000
    torch.testing.assert_close(means, shares / shares.sum(), atol=0.01, rtol=0)
    for numbers, stored in zip(drawn, lists.stored, strict=True):
        assert stats.chisquare(counts_of(numbers, stored)).pvalue > 1e-4


@pytest.mark.parametrize(("batch_size", "shape"), [(3, (3, 1)), (6, (6, 1)), (9, (3, 3))])
def test_groups_use_every_place_of_a_batch(batch_size, shape):
    batch = unequal_lists().buffer.sample("balanced", batch_size, seeded(), torch.ones(3))
    assert batch.reward.shape == shape
    assert batch.task.shape == (shape[0], 1)
    assert torch.bincount(batch.task.flatten()).tolist() == [shape[0] // 3] * 3


def test_samples_repeat_with_the_generator_and_differ_without():
    buffer = Lists(2, 1, length=8).filled(8).buffer
    for sampling in ("balanced", "uniform"):
        one, same, other = (buffer.sample(sampling, 20, seeded(s)) for s in (1, 1, 2))
        assert torch.equal(one.obs, same.obs)
        assert not torch.equal(one.obs, other.obs)


def test_a_batch_is_a_copy_of_the_storage():
    lists = Lists(2, 1, length=4).filled(4)
    batch = lists.buffer.sample("balanced", 8, seeded())
    batch.obs.zero_()
    check_against(lists, lists.buffer, seed=0)


# --- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_tasks", "copies", "capacity"), [(2, 1, 10), (3, 1, 10), (3, 2, 23), (10, 5, 1000)]
)
def test_bytes_needed_is_the_real_storage(num_tasks, copies, capacity):
    buffer = ReplayBuffer(num_tasks, copies, capacity, OBS, ACTION, CPU, discount=0.9)
    real = sum(store.nbytes for store in buffer.storage.values())
    assert ReplayBuffer.bytes_needed(num_tasks, copies, capacity, OBS, ACTION) == real


def test_a_million_transitions_take_less_than_360_megabytes():
    # 4 bytes x (39 + 39 + 4 + 1) + 2 = 334 bytes each
    assert ReplayBuffer.bytes_needed(10, 5, 1_000_000, 39, 4) == 334_000_000


def test_a_capacity_beyond_free_memory_is_refused_by_name():
    too_many = 2 * psutil.virtual_memory().total // 333
    with pytest.raises(UsageError, match=r"replay\.capacity"):
        ReplayBuffer(10, 5, too_many, 39, 4, CPU, discount=0.9)


def buffer_of(capacity):
    config = parse_config({"replay": {"capacity": capacity}}, source="test")
    tasks, copies = len(config.env.task_names), config.env.copies_per_task
    return ReplayBuffer(tasks, copies, config.replay.capacity, 39, 4, CPU, discount=0.9)


def test_a_capacity_that_does_not_hold_two_steps_of_all_environments_is_refused():
    # ten tasks, five copies of each
    assert buffer_of(100).length == 2
    assert buffer_of(199).length == 3
    with pytest.raises(UsageError, match=r"replay\.capacity"):
        buffer_of(99)
