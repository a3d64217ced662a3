"""Mean and variance of a stream against numpy over Python lists of everything added."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.running_moments import RunningMoments

SIZE = 4
quick = settings(deadline=None, max_examples=60)


class Lists:
    """The oracle: everything that was added of each task, in a list."""

    def __init__(self, num_tasks, seed):
        self.rng = np.random.default_rng(seed)
        self.offset = self.rng.uniform(-5, 5, (num_tasks, SIZE))  # far from zero
        self.seen = [[] for _ in range(num_tasks)]

    def draw(self, count, which):
        """`[t, count, SIZE]` values of some tasks, with a feature that never moves."""
        values = np.array([0.0, 0.05, 1.0, 30.0]) * self.rng.standard_normal(
            (len(which), count, SIZE)
        )
        values += self.offset[which, None]
        for task, own in zip(which, values, strict=True):
            self.seen[task] += list(own)
        return values

    def check(self, moments):
        assert moments.count.tolist() == [len(seen) for seen in self.seen]
        for task, seen in enumerate(self.seen):
            mean = np.mean(seen, axis=0) if seen else np.zeros(SIZE)
            spread = np.std(seen, axis=0) if seen else np.ones(SIZE)
            np.testing.assert_allclose(moments.mean[task], mean, rtol=1e-9)
            np.testing.assert_allclose(moments.spread()[task], spread, rtol=1e-6, atol=1e-9)


@st.composite
def additions(draw):
    """How many tasks, and for every addition how many values of which tasks, `None` for all."""
    num_tasks = draw(st.integers(1, 4))
    some = st.lists(st.integers(0, num_tasks - 1), min_size=1, unique=True)
    steps = st.tuples(st.integers(1, 9), st.none() | some)
    return num_tasks, draw(st.lists(steps, max_size=20))


def add(moments, lists, count, which, num_tasks):
    values = lists.draw(count, list(range(num_tasks)) if which is None else which)
    moments.add(values, None if which is None else np.array(which))
    return values


@quick
@given(additions(), st.integers(0, 999))
def test_moments_are_those_of_everything_added_of_each_task(case, seed):
    num_tasks, steps = case
    moments, lists = RunningMoments(num_tasks, SIZE), Lists(num_tasks, seed)
    for count, which in steps:
        add(moments, lists, count, which, num_tasks)
        lists.check(moments)


@quick
@given(additions(), st.integers(0, 999), st.integers(0, 20))
def test_restored_moments_go_on_bit_for_bit(case, seed, stop):
    num_tasks, steps = case
    original, restored = (RunningMoments(num_tasks, SIZE) for _ in range(2))
    lists = Lists(num_tasks, seed)
    for count, which in steps[:stop]:
        add(original, lists, count, which, num_tasks)
    restored.load_state_dict({name: v.copy() for name, v in original.state_dict().items()})
    for count, which in steps[stop:]:
        values = add(original, lists, count, which, num_tasks)
        restored.add(values, None if which is None else np.array(which))
    for name, value in original.state_dict().items():
        assert np.array_equal(value, restored.state_dict()[name]), name


def test_all_tasks_together_and_one_by_one_are_the_same_bit_for_bit():
    values = Lists(3, seed=1).draw(7, [0, 1, 2])
    together, apart = RunningMoments(3, SIZE), RunningMoments(3, SIZE)
    for _ in range(4):
        together.add(values)
        for task in (2, 0, 1):
            apart.add(values[task, None], np.array([task]))
    for name, value in together.state_dict().items():
        assert np.array_equal(value, apart.state_dict()[name]), name


def test_by_hand():
    moments = RunningMoments(2, 1)
    moments.add(np.array([[[1.0], [3.0]]]), np.array([1]))
    moments.add(np.array([[[5.0]]]), np.array([1]))
    assert moments.count.tolist() == [0, 3]
    assert moments.mean.tolist() == [[0], [3]]
    assert moments.spread().tolist() == [[1], [pytest.approx((8 / 3) ** 0.5)]]


def test_of_a_single_value_the_spread_is_0_and_of_none_it_is_1():
    moments = RunningMoments(2, 1)
    moments.add(np.array([[[7.0]]]), np.array([0]))
    assert moments.spread().tolist() == [[0], [1]]
    assert moments.mean.tolist() == [[7], [0]]


@pytest.mark.parametrize(("name", "value"), [("mean", 1e200), ("squares", 1e101), ("squares", -1)])
def test_load_refuses_numbers_with_which_the_next_sum_could_overflow(name, value):
    """The fuzzer found them: finite when they are read, infinite one step later."""
    state = RunningMoments(2, SIZE).state_dict()
    wrong = {**state, name: np.full_like(state[name], value)}
    with pytest.raises(ValueError, match=f"'{name}' is not within"):
        RunningMoments(2, SIZE).load_state_dict(wrong)


def test_load_refuses_another_number_of_tasks_and_a_negative_count():
    with pytest.raises(ValueError, match=r"'count' is float64 \(2,\)"):
        RunningMoments(3, SIZE).load_state_dict(RunningMoments(2, SIZE).state_dict())
    with pytest.raises(ValueError, match="'mean' is float64"):
        RunningMoments(3, SIZE).load_state_dict(RunningMoments(3, 2).state_dict())
    negative = RunningMoments(3, SIZE).state_dict() | {"count": np.array([0.0, -1.0, 0.0])}
    with pytest.raises(ValueError, match="'count' is not within 0"):
        RunningMoments(3, SIZE).load_state_dict(negative)
