"""Faster answers for a few numbers against numpy's, scipy's and Meta-World's, bit for bit."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

from envs.simulator import scalars

ANY_FLOAT = st.floats() | st.floats(-1, 1) | st.sampled_from([0.0, -0.0, 0.05, 0.1])
POSITIVE = st.floats(0, 1) | st.floats(min_value=0) | st.sampled_from([0.0, 5e-324, math.nan])
KINDS = st.sampled_from([float, np.float64])


def outcome(function: Callable, *args: Any, **kwargs: Any) -> tuple[type, bytes | str]:
    """Type and bits of the answer, or kind and words of the error."""
    with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
        try:
            answer = function(*args, **kwargs)
        except (ValueError, TypeError) as error:
            return type(error), str(error)
    bits = struct.pack("<d", answer) if isinstance(answer, float) else np.array(answer).tobytes()
    return type(answer), b"nan" if np.isnan(answer).all() else bits


@given(
    x=ANY_FLOAT,
    lower=ANY_FLOAT,
    upper=ANY_FLOAT,
    margin=ANY_FLOAT | POSITIVE,
    kinds=st.tuples(KINDS, KINDS, KINDS),
    sigmoid=st.sampled_from(["long_tail", "gaussian"]),
)
@example(1e300, 0.0, 0.05, 1e-300, (float, float, float), "long_tail")  # an infinite power
@example(1e300, 0.0, 0.05, 1e-300, (float, float, float), "gaussian")
@example(0.3, 0.5, 0.1, 0.1, (float, float, float), "long_tail")  # bounds the wrong way round
@example(0.3, 0.1, 0.5, -0.1, (float, float, float), "long_tail")  # a negative margin
def test_tolerance_of_any_number(
    x: float, lower: float, upper: float, margin: float, kinds: tuple, sigmoid: str
) -> None:
    args = (kinds[0](x), (kinds[1](lower), kinds[1](upper)), kinds[2](margin), sigmoid)
    expected = outcome(reward_utils.tolerance, *args)
    assert outcome(scalars.tolerance, *args) == expected


@given(
    x=st.floats(0, 2),
    upper=st.sampled_from([0.01, 0.02, 0.05]),
    margin=st.floats(0.01, 1),
    sigmoid=st.sampled_from(["long_tail", "gaussian"]),
)
def test_tolerance_of_distances(x: float, upper: float, margin: float, sigmoid: str) -> None:
    args: dict[str, Any] = {"bounds": (0, upper), "margin": np.float64(margin), "sigmoid": sigmoid}
    assert scalars.tolerance(x, **args).hex() == reward_utils.tolerance(x, **args).hex()


@pytest.mark.parametrize(
    "sigmoid",
    ["gaussian", "hyperbolic", "long_tail", "reciprocal", "cosine", "linear", "tanh_squared", "?"],
)
@pytest.mark.parametrize("at_margin", [0.1, 0.5, 0.0, 1.0])
@pytest.mark.parametrize(
    "x", [0.3, np.float64(0.3), np.float32(0.3), 1, np.array(0.3), np.array([0.3, 0.0])]
)
def test_tolerance_of_other_sigmoids_and_arguments(x: Any, sigmoid: str, at_margin: float) -> None:
    args = (x, (0, 0.1), 0.5, sigmoid, at_margin)
    assert outcome(scalars.tolerance, *args) == outcome(reward_utils.tolerance, *args)


def test_norm_of_vectors_and_numbers() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 3, 3, 3, 4, 39):
        for vector in rng.normal(size=(500, size)) * 10.0 ** rng.integers(-9, 9, (500, 1)):
            assert outcome(scalars.norm, vector) == outcome(np.linalg.norm, vector)
            assert outcome(scalars.norm, vector, ord=2) == outcome(np.linalg.norm, vector, ord=2)
            assert outcome(scalars.norm, vector[0]) == outcome(np.linalg.norm, vector[0])


@pytest.mark.parametrize(
    "x",
    [
        np.zeros(3),
        np.array([np.nan, 1.0, 2.0]),
        np.array([np.inf, 1.0, 2.0]),
        np.array([1e300, 1e300, 0.0]),
        np.array([5e-324, 0.0, 0.0]),
        np.arange(9.0)[::4],  # not contiguous
        np.arange(3),
        np.arange(3, dtype=np.float32),
        np.arange(6.0).reshape(2, 3),
        [3.0, 4.0],
        -2.5,
        np.float32(0.1),
        np.float64(1e300),
        np.array(0.1),
    ],
    ids=str,
)
@pytest.mark.parametrize("order", [None, 2, 1])
def test_norm_of_what_is_rare(x: Any, order: Any) -> None:
    assert outcome(scalars.norm, x, order) == outcome(np.linalg.norm, x, order)


def test_norm_along_an_axis() -> None:
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(scalars.norm(x, axis=1), np.linalg.norm(x, axis=1))


@pytest.mark.parametrize("limits", [(-1, 1), (0.0, 1.0), (np.float64(-1), np.float64(1)), (1, -1)])
@pytest.mark.parametrize(
    "x",
    [kind(x) for kind in (float, np.float32, np.float64) for x in (0.3, 1, -7, -0.0, math.nan)]
    + [np.array([0.3, 7.0]), 3],
    ids=repr,
)
def test_clip(x: Any, limits: tuple) -> None:
    assert outcome(scalars.clip, x, *limits) == outcome(np.clip, x, *limits)


def test_copies_are_copies() -> None:
    x = np.arange(6.0)
    for original in (x, x[::2], [1.0, 2.0], np.float64(3)):
        copy = scalars.copy_array(original)
        np.testing.assert_array_equal(copy, np.copy(original))
        assert not np.shares_memory(copy, original)


def assert_same_quaternion(matrix: np.ndarray) -> None:
    own = scalars.FastRotation.from_matrix(matrix).as_quat()
    np.testing.assert_array_equal(
        own.view(np.int64), Rotation.from_matrix(matrix).as_quat().view(np.int64)
    )


def test_quaternions_of_random_rotations_are_scipys() -> None:
    for matrix in Rotation.random(5000, rng=np.random.default_rng(0)).as_matrix():
        assert_same_quaternion(matrix)


def test_quaternions_of_quarter_and_half_turns_are_scipys() -> None:
    """Where the largest of scipy's four candidates is not the only one."""
    signs = [np.diag(it) for it in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
    shifts = [np.roll(np.eye(3), turn, axis=0) for turn in range(3)]
    for matrix in (sign @ shift for sign in signs for shift in shifts):
        assert_same_quaternion(matrix)


def test_a_matrix_of_a_broken_simulation_is_left_to_scipy() -> None:
    matrix = np.full((3, 3), np.nan)
    assert_raises_the_same(matrix)
    for sick in (np.nan, np.inf):
        matrix = np.eye(3)
        matrix[1, 1] = sick
        assert_raises_the_same(matrix)


def assert_raises_the_same(matrix: np.ndarray) -> None:
    def outcome_of(rotation: Any) -> Any:
        try:
            return rotation.from_matrix(matrix).as_quat().tolist()
        except Exception as error:
            return repr(error)

    with np.errstate(all="ignore"):
        assert repr(outcome_of(scalars.FastRotation)) == repr(outcome_of(Rotation))
