"""What a learner keeps and what it carries over, from the matrix R of its results.

`R[i, j]` is the result on task j, from 0 to 1, after task i has been learned; both count from 0, and
there are T tasks. Results after the tasks are rows; `R[i, j]` with j > i is of a task still to come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_IN_WORDS = {
    "acc": "{result}, mean over all tasks at the end",
    "bwt": "backward transfer",
    "forgetting": "forgetting",
    "min_acc": "lowest {result} since each task was learned",
    "fwt": "forward transfer",
}


def measures(matrix: ArrayLike, untrained: ArrayLike | None = None) -> dict[str, float]:
    """The measures of the field; those that need two tasks are missing where there is one.

    | name | what | source |
    |---|---|---|
    | acc | mean over all tasks at the end | Lopez-Paz & Ranzato 2017, arXiv 1706.08840 |
    | bwt | backward transfer: mean over all tasks but the last of end - own phase | the same |
    | fwt | forward transfer: mean over all tasks but the first of before own phase - untrained | the same |
    | forgetting | mean over all tasks but the last of best before the end - end | Chaudhry et al. 2018, arXiv 1801.10112 |
    | min_acc | mean over all tasks but the last of the lowest since own phase | De Lange et al. 2023, arXiv 2205.13452, at R's resolution |

    Args:
        matrix: R `[T, T]`; NaN where nothing was measured. The last row, the diagonal, and for `fwt` the
            diagonal above it have to be there; `forgetting` and `min_acc` are of what else there is.
        untrained: `[T]`, of the network before the first task; without it there is no `fwt`.

    Raises:
        ValueError: the matrix is not square, or the vector of another length.
    """
    results = np.asarray(matrix, np.float64)
    num_tasks = len(results)
    if results.shape != (num_tasks, num_tasks) or num_tasks == 0:
        raise ValueError(f"R must be square, got shape {list(results.shape)}")
    end = results[-1]
    found = {"acc": end.mean()}
    if num_tasks > 1:
        own, older = results.diagonal()[:-1], range(num_tasks - 1)
        lowest = [np.nanmin(results[j + 1 :, j]) for j in older]
        found["bwt"] = (end[:-1] - own).mean()
        found["forgetting"] = (np.nanmax(results[:-1, :-1], axis=0) - end[:-1]).mean()
        found["min_acc"] = np.mean(lowest)
    if untrained is not None and num_tasks > 1:
        before = results.diagonal(offset=1)  # [T - 1], of task j after task j - 1
        found["fwt"] = (before - _row(untrained, num_tasks)[1:]).mean()
    return {name: float(value) for name, value in found.items()}


def measure_rows(found: Mapping[str, Any], result: str) -> list[tuple[str, str]]:
    """The measures that a report holds, in words and in per cent, for its tables.

    Args:
        found: the report.
        result: what R holds, in one word.
    """
    return [
        (text.format(result=result), f"{found[name]:.1%}")
        for name, text in _IN_WORDS.items()
        if name in found
    ]


def continual_world(
    matrix: ArrayLike, while_learned: ArrayLike, alone: ArrayLike
) -> dict[str, float]:
    """The measures of Continual World (Wolczyk et al. 2021, arXiv 2105.10919, sec. 4).

    | name | what |
    |---|---|
    | average_performance | mean over all tasks at the end |
    | forgetting | mean over all tasks of own phase - end (the last task's is 0) |
    | forward_transfer | mean over all tasks of (a - b) / (1 - b): a the mean while the task is learned, b the same of a run that begins with that task |

    Args:
        matrix: R `[T, T]`, success rates.
        while_learned: `[T]`, the area under each task's success curve in its own phase, as a fraction.
        alone: `[T]`, the same of reference runs, in a first phase of as many steps; below 1.

    Raises:
        ValueError: shapes differ, or a reference is 1, which leaves nothing to transfer.
    """
    results = np.asarray(matrix, np.float64)
    end = measures(results)["acc"]
    area, reference = (_row(values, len(results)) for values in (while_learned, alone))
    if (reference >= 1).any():
        raise ValueError("a reference run with an area of 1 leaves nothing to transfer")
    return {
        "average_performance": end,
        "forgetting": float((results.diagonal() - results[-1]).mean()),
        "forward_transfer": float(((area - reference) / (1 - reference)).mean()),
    }


def _row(values: ArrayLike, num_tasks: int) -> NDArray[np.float64]:
    row = np.asarray(values, np.float64)
    if row.shape != (num_tasks,):
        raise ValueError(f"expected {num_tasks} values, one for each task, got {list(row.shape)}")
    return row
