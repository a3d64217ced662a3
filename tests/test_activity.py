"""Measures of hidden units, against loops over pairs and numbers by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from analysis.activity import LayerActivity, measure_layer, most_used


def activations(tasks: int, steps: int, units: int, seed: int) -> NDArray[np.float32]:
    """About half of the units off."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(tasks, steps, units)) * (
        random.random((tasks, steps, units)) < 0.5
    )
    return values.astype(np.float32)


def by_loops(values: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    tasks, steps, units = values.shape
    found = {name: np.zeros((tasks, tasks)) for name in ("shared", "jaccard", "cosine_distance")}
    for one, other in itertools.product(range(tasks), repeat=2):
        pairs = [
            (values[one, i].astype(float), values[other, j].astype(float))
            for i, j in itertools.product(range(steps), repeat=2)
            if one != other or i != j
        ]
        both = [(np.logical_and(x, y).sum(), np.logical_or(x, y).sum()) for x, y in pairs]
        found["shared"][one, other] = np.mean([a / units for a, _ in both])
        found["jaccard"][one, other] = np.mean([a / b if b else 1.0 for a, b in both])
        sizes = [np.linalg.norm(x) * np.linalg.norm(y) for x, y in pairs]
        cosines = [x @ y / size if size else 0.0 for (x, y), size in zip(pairs, sizes, strict=True)]
        found["cosine_distance"][one, other] = 1 - np.mean(cosines)
    return found


@given(st.integers(1, 3), st.integers(2, 4), st.integers(1, 6), st.integers(0, 50))
def test_pairs_equal_a_loop(tasks: int, steps: int, units: int, seed: int) -> None:
    values = activations(tasks, steps, units, seed)
    found = measure_layer(values)
    for name, expected in by_loops(values).items():
        np.testing.assert_allclose(getattr(found, name), expected, atol=1e-12)


def two_tasks() -> LayerActivity:
    """Two tasks, two steps each, four units; unit 3 is never on."""
    return measure_layer(
        np.array(
            [
                [[1, 2, 0, 0], [1, 0, 0, 0]],
                [[0, 1, 1, 0], [-1, 0, 3, 0]],
            ],
            np.float32,
        )
    )


def test_two_tasks_by_hand() -> None:
    found = two_tasks()
    np.testing.assert_array_equal(found.on_rate, [[1, 0.5, 0, 0], [0.5, 0.5, 1, 0]])
    np.testing.assert_array_equal(found.mean, [[1, 1, 0, 0], [-0.5, 0.5, 2, 0]])
    np.testing.assert_array_equal(found.density, [3 / 8, 4 / 8])
    np.testing.assert_array_equal(found.dead, [False, False, False, True])
    # across: 1, 1, 0 and 1 units of four are on in both; within the first 1, within the second 1
    np.testing.assert_allclose(found.shared, [[1 / 4, 3 / 16], [3 / 16, 1 / 4]])
    np.testing.assert_allclose(found.jaccard[0, 1], (1 / 3 + 1 / 3 + 0 + 1 / 2) / 4)
    np.testing.assert_allclose(found.shared_over_chance[0, 1], 3 / 16 / (3 / 8 * 4 / 8))
    # the quarter is one unit: 0 for the first task, 2 for the second
    np.testing.assert_array_equal(found.most_used, np.eye(2))


def test_units_that_are_on_at_random_share_as_much_as_chance() -> None:
    on = np.random.default_rng(0).random((3, 400, 200)) < np.array([0.1, 0.3, 0.5])[:, None, None]
    found = measure_layer(on.astype(np.float32))
    np.testing.assert_allclose(found.shared_over_chance, 1, atol=0.05)


def test_the_most_used_are_as_many_as_said_and_ties_go_by_index() -> None:
    picked = most_used(np.array([[0.5, 0.5, 0.5, 0.1], [0.0, 0.9, 0.1, 0.9]]), 0.5)
    np.testing.assert_array_equal(picked, [[1, 1, 0, 0], [0, 1, 0, 1]])


def test_units_that_are_never_on_are_not_among_the_most_used() -> None:
    found = measure_layer(np.array([[[1, 0, 0, 0]] * 2, [[0, 0, 0, 1]] * 2], np.float32))
    np.testing.assert_array_equal(most_used(found.on_rate, 0.75), [[1, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(found.most_used, np.eye(2))


def test_one_step_has_no_pairs() -> None:
    with pytest.raises(ValueError, match="pairs need 2 or more"):
        measure_layer(np.ones((2, 1, 3), np.float32))
