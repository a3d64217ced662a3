"""Which tasks play and are learned from how much."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.allocation import TaskShares


def shares_with(success: list[float], least: float) -> TaskShares:
    shares = TaskShares(len(success), least)
    state = shares.state_dict()
    shares.load_state_dict({**state, "success": np.array(success)})
    return shares


def played(shares: TaskShares, chunks: int) -> np.ndarray:
    """Chunks that each task played."""
    counts = np.zeros(len(shares.shares()), int)
    for _ in range(chunks):
        tasks = shares.next_chunk()
        assert len(tasks) > 0
        assert (np.diff(tasks) > 0).all()
        counts[tasks] += 1
    return counts


def test_shares_by_hand() -> None:
    shares = TaskShares(3, least=0.2)
    assert shares.shares().tolist() == [1, 1, 1]
    for success in (True, True, False):
        shares.observe(1, success)
    rate = ((0.05 * 0.95) + 0.05) * 0.95
    assert shares.shares().tolist() == pytest.approx([1, 1 - 0.8 * rate, 1])
    for _ in range(400):
        shares.observe(2, True)
    assert shares.shares()[2] == pytest.approx(0.2)


def test_a_solved_task_plays_one_chunk_in_as_many_as_its_share_says() -> None:
    shares = shares_with([1.0, 0.0, 0.5], least=0.2)
    assert played(shares, 100).tolist() == pytest.approx([20, 100, 60], abs=1)


def test_when_all_are_solved_all_play() -> None:
    assert played(shares_with([1.0, 1.0], least=0.1), 10).tolist() == [10, 10]


def test_a_least_share_of_1_treats_all_alike() -> None:
    shares = shares_with([0.0, 1.0, 0.3], least=1.0)
    for _ in range(50):
        assert shares.next_chunk().tolist() == [0, 1, 2]


def test_only_the_tasks_that_are_named_have_a_share_and_play() -> None:
    shares = shares_with([1.0, 0.0, 0.5], least=0.2)
    assert shares.shares(np.array([0, 2])).tolist() == pytest.approx([0.2, 0, 0.6])
    assert [shares.next_chunk(np.array([1])).tolist() for _ in range(5)] == [[1]] * 5
    assert shares.next_chunk(np.array([0])).tolist() == [
        0
    ]  # the least share of one task is all of it


@given(
    success=st.lists(st.floats(0, 1), min_size=1, max_size=12),
    least=st.floats(0.01, 1),
    chunks=st.integers(1, 300),
)
def test_no_task_is_more_than_one_chunk_from_its_share(
    success: list[float], least: float, chunks: int
) -> None:
    shares = shares_with(success, least)
    due = chunks * shares.shares() / shares.shares().max()
    counts = played(shares, chunks)
    assert (np.abs(counts - due) < 1 + 1e-6).all()
    assert counts.max() >= chunks - 1


def test_restored_shares_go_on_alike() -> None:
    original = shares_with([0.9, 0.1, 0.4], least=0.1)
    played(original, 7)
    restored = TaskShares(3, least=0.1)
    restored.load_state_dict({name: value.copy() for name, value in original.state_dict().items()})
    for _ in range(30):
        assert restored.next_chunk().tolist() == original.next_chunk().tolist()
        restored.observe(0, False)
        original.observe(0, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("success", 1.5), ("success", np.nan), ("credit", -0.1), ("credit", 3.0), ("steps", -1)],
)
def test_numbers_that_cannot_be_are_refused(name: str, value: float) -> None:
    shares = TaskShares(2, 0.5)
    state = {key: array.copy() for key, array in shares.state_dict().items()}
    state[name][1] = value
    with pytest.raises(ValueError, match=f"'{name}' is not within"):
        shares.load_state_dict(state)
