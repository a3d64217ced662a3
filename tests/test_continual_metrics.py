"""What a learner keeps: every measure by hand on small matrices."""

from __future__ import annotations

import numpy as np
import pytest

from continual.metrics import continual_world, measures

# Tasks a, b, c. After a: 0.9 on a, 0.3 on b, 0.1 on c, and so on.
MATRIX = [[0.9, 0.3, 0.1], [0.6, 0.8, 0.2], [0.7, 0.5, 0.7]]


def test_the_measures_of_three_tasks_by_hand() -> None:
    found = measures(MATRIX, untrained=[0.1, 0.1, 0.1])
    assert found == pytest.approx(
        {
            "acc": (0.7 + 0.5 + 0.7) / 3,
            "bwt": ((0.7 - 0.9) + (0.5 - 0.8)) / 2,
            "fwt": ((0.3 - 0.1) + (0.2 - 0.1)) / 2,
            "forgetting": ((0.9 - 0.7) + (0.8 - 0.5)) / 2,
            "min_acc": (0.6 + 0.5) / 2,
        }
    )


def test_a_task_that_gains_after_its_phase_has_negative_forgetting_and_counts_from_its_best() -> (
    None
):
    found = measures([[0.5, 0.0, 0.0], [0.8, 0.5, 0.0], [0.9, 0.5, 0.5]])
    assert found["forgetting"] == pytest.approx(((0.8 - 0.9) + 0) / 2)
    assert found["bwt"] == pytest.approx(((0.9 - 0.5) + 0) / 2)
    assert found["min_acc"] == pytest.approx((0.8 + 0.5) / 2)


def test_one_task_has_an_accuracy_only() -> None:
    assert measures([[0.75]], untrained=[0.1]) == {"acc": 0.75}


def test_nothing_forgotten() -> None:
    found = measures(np.tril(np.full((4, 4), 0.9)))
    assert found == pytest.approx({"acc": 0.9, "bwt": 0.0, "forgetting": 0.0, "min_acc": 0.9})


def test_continual_world_by_hand() -> None:
    found = continual_world(MATRIX, while_learned=[0.4, 0.6, 0.5], alone=[0.4, 0.5, 0.6])
    assert found == pytest.approx(
        {
            "average_performance": (0.7 + 0.5 + 0.7) / 3,
            "forgetting": ((0.9 - 0.7) + (0.8 - 0.5) + 0) / 3,
            "forward_transfer": (0 + 0.1 / 0.5 - 0.1 / 0.4) / 3,
        }
    )


@pytest.mark.parametrize("matrix", [[], [[0.1, 0.2]], [0.1, 0.2]], ids=str)
def test_a_matrix_must_be_square(matrix: list) -> None:
    with pytest.raises(ValueError, match="R must be square"):
        measures(matrix)


def test_vectors_have_a_value_for_each_task() -> None:
    with pytest.raises(ValueError, match="3 values, one for each task"):
        measures(MATRIX, untrained=[0.1, 0.1])
    with pytest.raises(ValueError, match="nothing to transfer"):
        continual_world(MATRIX, [0.5, 0.5, 0.5], [0.5, 1.0, 0.5])


def test_what_was_not_measured_is_left_out_of_the_best_and_the_lowest() -> None:
    nan = float("nan")
    found = measures([[0.9, nan, nan], [nan, 0.8, nan], [0.7, 0.5, 0.7]])
    assert found["forgetting"] == pytest.approx(((0.9 - 0.7) + (0.8 - 0.5)) / 2)
    assert found["min_acc"] == pytest.approx((0.7 + 0.5) / 2)
