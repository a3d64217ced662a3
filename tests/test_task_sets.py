"""The task sets that are written down in `configs` against those of the metaworld package."""

from __future__ import annotations

import pytest
from metaworld import env_dict

from configs import MT10, MT25, MT50
from configs.task_sets import TASK_SETS, task_names


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(MT10, env_dict.MT10_V3), (MT25, env_dict.MT25_V3), (MT50, env_dict.MT50_V3)],
    ids=["mt10", "mt25", "mt50"],
)
def test_names_and_order_are_the_packages(ours: tuple[str, ...], theirs: dict) -> None:
    assert list(ours) == list(theirs)


def test_mt50_is_every_task() -> None:
    assert set(MT50) == set(env_dict.ALL_V3_ENVIRONMENTS)


def test_names_of_sets_and_lists_of_tasks() -> None:
    for name, tasks in TASK_SETS.items():
        assert task_names(name) == tasks
    assert task_names(("push-v3", "reach-v3")) == ("push-v3", "reach-v3")
