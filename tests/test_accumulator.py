"""Means between two rows of metrics; they survive an interruption bit for bit."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.task_major import TASKS_PRESENT
from training.metrics.accumulator import MeanAccumulator, per_task
from training.metrics.rows import by_task

quick = settings(deadline=None, max_examples=60)
float32 = st.floats(-(2.0**90), 2.0**90, width=32)
observations = st.lists(
    st.fixed_dictionaries(
        {}, optional={"a": float32, "b": st.lists(float32, min_size=3, max_size=3)}
    ),
    max_size=12,
)


def as_tensors(observation):
    return {key: torch.tensor(value) for key, value in observation.items()}


def accumulate(observed, accumulator=None):
    accumulator = accumulator or MeanAccumulator()
    for observation in observed:
        accumulator.add(as_tensors(observation))
    return accumulator


def through_json(accumulator):
    restored = MeanAccumulator()
    restored.load_state_dict(json.loads(json.dumps(accumulator.state_dict())))
    return restored


def test_means_by_hand():
    accumulator = MeanAccumulator()
    accumulator.add({"loss": 1.0, "per_task": torch.tensor([1.0, 10.0])})
    accumulator.add({"loss": torch.tensor(4.0), "per_task": torch.tensor([3.0, -10.0])})
    accumulator.add({"loss": 1.0, "rare": 7.0})
    assert accumulator.pop() == {"loss": 2.0, "per_task": [2.0, 0.0], "rare": 7.0}


def test_a_vector_of_one_task_stays_a_list():
    accumulator = MeanAccumulator()
    accumulator.add({"per_task": torch.tensor([3.0])})
    assert through_json(accumulator).pop() == {"per_task": [3.0]}


def test_pop_starts_afresh():
    accumulator = accumulate([{"a": 5.0}])
    assert accumulator.pop() == {"a": 5.0}
    assert accumulator.pop() == {}
    assert accumulate([{"a": 1.0}], accumulator).pop() == {"a": 1.0}


def test_observed_tensors_are_left_alone():
    value = torch.tensor([1.0, 2.0])
    accumulator = MeanAccumulator()
    accumulator.add({"x": value})
    accumulator.add({"x": torch.tensor([3.0, 4.0])})
    assert value.tolist() == [1.0, 2.0]


def test_changing_an_observed_tensor_later_does_not_reach_the_sums():
    value = torch.tensor([1.0, 2.0])
    accumulator = MeanAccumulator()
    accumulator.add({"x": value})
    value.zero_()
    assert accumulator.pop() == {"x": [1.0, 2.0]}


@quick
@given(st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=30))
def test_mean_equals_that_of_python_floats(values):
    accumulator = accumulate([{"a": value} for value in values])
    assert accumulator.pop()["a"] == pytest.approx(sum(values) / len(values), abs=1e-2, rel=1e-5)


@quick
@given(observations, observations)
def test_going_on_after_a_json_round_trip_equals_never_having_stopped(before, after):
    stopped = accumulate(after, through_json(accumulate(before)))
    assert stopped.pop() == accumulate(before + after).pop()  # exact: no approx


@quick
@given(observations)
def test_json_round_trip_is_exact(observed):
    accumulator = accumulate(observed)
    restored = through_json(accumulator)
    assert restored.state_dict() == accumulator.state_dict()
    assert through_json(restored).pop() == accumulator.pop()


def test_a_diverged_value_shows_in_its_row_and_is_never_saved():
    accumulator = accumulate([{"a": float("inf")}, {"b": [float("nan"), 1.0, 2.0]}, {"c": 3.0}])
    assert through_json(accumulator).pop() == {"c": 3.0}
    means = accumulator.pop()
    assert means["a"] == float("inf")
    assert means["b"][0] != means["b"][0]
    assert means["b"][1:] == [1.0, 2.0]


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        {"a": 1.0},
        {"a": [1.0]},
        {"a": [1.0, 0]},  # a mean of nothing
        {"a": [1.0, 1.5]},
        {"a": [float("nan"), 1]},
        {"a": [[1.0, float("inf")], 1]},
        {"a": [[[1.0]], 1]},
        {"a": ["one", 1]},
        {1: [1.0, 1]},
    ],
    ids=str,
)
def test_load_refuses_what_is_no_state_and_changes_nothing(state):
    accumulator = accumulate([{"a": 5.0}])
    with pytest.raises(ValueError):
        accumulator.load_state_dict(state)
    assert accumulator.pop() == {"a": 5.0}


def test_a_value_of_every_task_is_spread_over_their_keys_with_the_mean():
    spread = per_task("train/return", [1.0, 2.0, 6.0], ("reach-v3", "push-v3", "door-open-v3"))
    assert spread == {
        "train/return/reach-v3": 1,
        "train/return/push-v3": 2,
        "train/return/door-open-v3": 6,
        "train/return": 3,
    }
    with pytest.raises(ValueError):
        per_task("train/return", [1.0, 2.0], ("reach-v3",))


def test_steps_without_samples_of_a_task_count_in_no_mean_of_samples():
    """Three gradient steps, four tasks; the third one is in two of the batches, the last in none."""
    accumulator = MeanAccumulator()
    for third in (-4.0, 0.0, -2.0):
        present = torch.tensor([1.0, 1.0, third != 0, 0.0])
        values = torch.tensor([1.0, 0.0, third, 0.0])
        temperature = torch.tensor([0.1, 0.0, 0.1, 0.1])
        accumulator.add({"policy/entropy": values, TASKS_PRESENT: present, "a": temperature})
    row = by_task(accumulator.means(), ("w", "x", "y", "z"))
    assert row == {
        **{
            "policy/entropy/w": 1.0,
            "policy/entropy/x": 0.0,
            "policy/entropy/y": pytest.approx(-3.0),
        },
        "policy/entropy": pytest.approx(-2 / 3),
        **{
            f"a/{task}": pytest.approx(value)
            for task, value in zip("wxyz", temperature.tolist(), strict=True)
        },
        "a": pytest.approx(0.075),
    }
