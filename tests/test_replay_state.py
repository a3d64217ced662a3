"""The saved state of a replay buffer: what a load refuses, and that it then changes nothing."""

from __future__ import annotations

import pytest
import torch
from replay_samples import CPU, Lists, poisoned, saved

from agent.replay import ReplayBuffer


def state_after(steps=3, num_tasks=2, copies=2, length=5):
    return saved(Lists(num_tasks, copies, length).filled(steps).buffer)


def refuse(buffer, state, match):
    """The load raises, and leaves the buffer as empty and poisoned as it was."""
    with pytest.raises(ValueError, match=match):
        buffer.load_state_dict(state)
    assert buffer.counts.tolist() == [0] * buffer.num_tasks
    assert buffer.position.tolist() == [0] * buffer.num_tasks
    assert buffer.storage["reward"].isnan().all()


def test_a_state_loads_into_a_buffer_like_its_own():
    buffer, state = poisoned(2, 2, 5), state_after()
    buffer.load_state_dict(state)
    for name, value in buffer.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_the_state_of_unequal_rings_is_finite_and_comes_back_whole():
    """Where a shorter ring has nothing yet, a real buffer has zeros."""
    lists = Lists(3, 2, length=5)
    buffer = ReplayBuffer(3, 2, 30, 3, 2, CPU, discount=0.9)
    for which in ([0], None, [0, 2], [2], [2], [2], [2]):
        lists.add(which, buffer)
    restored = poisoned(3, 2, 5)
    restored.load_state_dict(buffer.state_dict())
    assert restored.position.tolist() == [3, 1, 1]
    assert restored.counts.tolist() == [6, 2, 10]
    for name, value in buffer.state_dict().items():
        assert value.isfinite().all(), name
        assert torch.equal(restored.state_dict()[name], value), name


def test_a_loaded_state_is_a_copy():
    state, buffer = state_after(), poisoned(2, 2, 5)
    buffer.load_state_dict(state)
    position = state["position"].clone()
    buffer.add(**{name: torch.zeros(value[:, :, 0].shape) for name, value in data_of(state)})
    assert torch.equal(state["position"], position)


def data_of(state):
    return [(name, value) for name, value in state.items() if name not in ("position", "stored")]


def test_load_refuses_more_steps_than_the_ring_holds():
    refuse(poisoned(2, 2, length=4), state_after(steps=5), "holds 5 vector steps, the ring 4")


@pytest.mark.parametrize("steps", [5, 7])
def test_load_refuses_a_full_ring_of_another_size(steps):
    # its write position lies in the middle: going on would read what was never written
    refuse(poisoned(2, 2, length=9), state_after(steps), "'position' and 'stored' do not agree")


@pytest.mark.parametrize(("num_tasks", "copies"), [(3, 2), (1, 2), (2, 1), (2, 3)])
def test_load_refuses_another_number_of_tasks_or_copies(num_tasks, copies):
    match = r"'obs' is torch\.float32|'position' is not a whole number for each task"
    refuse(poisoned(num_tasks, copies, 5), state_after(), match)


@pytest.mark.parametrize("name", ["obs", "action", "reward", "next_obs", "terminated", "truncated"])
def test_load_refuses_a_wrong_shape_or_dtype_and_changes_nothing(name):
    state = state_after()
    refuse(poisoned(2, 2, 5), state | {name: torch.zeros(2, 2, 17)}, f"'{name}' is torch.float32")
    refuse(poisoned(2, 2, 5), state | {name: state[name].double()}, f"'{name}' is torch.float64")


@pytest.mark.parametrize("name", ["obs", "action", "reward", "next_obs"])
def test_load_refuses_what_is_not_finite(name):
    state = state_after()
    state[name].view(-1)[-1] = float("inf")
    refuse(poisoned(2, 2, 5), state, f"'{name}' is not finite")


@pytest.mark.parametrize("position", [-1, 2, 4, 5, 100])
def test_load_refuses_a_position_that_is_not_where_the_ring_ends(position):
    """A ring that is filling up is written at its count, here 3."""
    state = state_after(steps=3) | {"position": torch.tensor([3, position])}
    refuse(poisoned(2, 2, 5), state, "do not agree|negative")


@pytest.mark.parametrize("position", [-1, 5, 100])
def test_load_refuses_a_position_outside_a_full_ring(position):
    state = state_after(steps=7) | {"position": torch.tensor([2, position])}
    refuse(poisoned(2, 2, 5), state, "do not agree|negative")


@pytest.mark.parametrize("stored", [-1, 2, 4, 6])
def test_load_refuses_a_count_that_does_not_belong_to_the_position(stored):
    state = state_after(steps=3) | {"stored": torch.tensor([3, stored])}
    refuse(poisoned(2, 2, 5), state, "do not agree|vector steps")


@pytest.mark.parametrize("name", ["position", "stored"])
@pytest.mark.parametrize("value", [torch.tensor(3), torch.tensor([3.0, 3.0]), torch.tensor([3])])
def test_load_refuses_positions_and_counts_that_are_not_one_for_each_task(name, value):
    match = f"'{name}' is not a whole number for each task"
    refuse(poisoned(2, 2, 5), state_after() | {name: value}, match)
