"""Goal lists: Meta-World's draws, and what is kept of them on the disk."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import metaworld
import numpy as np
import pytest

from configs import MT10
from envs import GoalLists, goals, make_goal_lists
from envs.goal_cache import cache_path, read_goals, write_goals

TASKS = ("reach-v3", "dial-turn-v3")


def drawn_by(benchmark: metaworld.Benchmark) -> GoalLists:
    lists: dict[str, list] = {}
    for task in benchmark.train_tasks:
        lists.setdefault(task.env_name, []).append(pickle.loads(task.data)["rand_vec"])
    return {task: np.array(rows) for task, rows in lists.items()}


def assert_equal_lists(one: GoalLists, other: GoalLists) -> None:
    assert list(one) == list(other)
    for task, array in one.items():
        np.testing.assert_array_equal(array, other[task], err_msg=task)
        assert array.dtype == np.float64
        assert len(array) == 50


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def two_lists() -> GoalLists:
    return goals._draw(TASKS, 3)


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing fails, so that what is given came from the disk."""
    monkeypatch.delattr(goals, "_draw")


def test_one_task_has_the_goals_of_mt1(cache: Path) -> None:
    expected = drawn_by(metaworld.MT1("dial-turn-v3", seed=7))
    assert_equal_lists(make_goal_lists(("dial-turn-v3",), 7), expected)


@pytest.mark.slow
def test_a_task_set_has_the_goals_of_its_benchmark(cache: Path) -> None:
    """All fifty tasks are compared in test_mt50.py."""
    assert_equal_lists(make_goal_lists(MT10, 3), drawn_by(metaworld.MT10(seed=3)))


def test_drawing_leaves_numpys_generator_alone(two_lists: GoalLists) -> None:
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    assert_equal_lists(goals._draw(TASKS, 3), two_lists)
    assert np.random.random() == expected  # noqa: NPY002


def test_kept_goals_are_read_bit_for_bit(
    cache: Path, two_lists: GoalLists, no_drawing: None
) -> None:
    write_goals(TASKS, 3, two_lists)
    assert_equal_lists(make_goal_lists(TASKS, 3), two_lists)
    assert [path.suffix for path in cache.rglob("*") if path.is_file()] == [".json"]
    assert read_goals(TASKS, 4) is None
    assert read_goals(TASKS[::-1], 3) is None
    assert read_goals(TASKS[:1], 3) is None


def damage(content: dict, how: str) -> str:
    """The text of the harmed file."""
    if how == "another seed":
        content["key"]["seed"] = 4
    elif how == "another version":
        content["key"]["metaworld"] = "3.0.0"
    elif how == "another number":
        content["goals"]["reach-v3"][0][0] += 1e-9
    elif how == "half":
        return json.dumps(content)[:500]
    elif how == "another kind":
        return "[1, 2]"
    elif how == "empty":
        return ""
    elif how == "deep":
        return "[" * 100_000
    elif how == "large":
        return json.dumps(content) + " " * 1_000_000
    return json.dumps(content)


@pytest.mark.parametrize(
    "how",
    [
        *("another seed", "another version", "another number"),
        *("half", "another kind", "empty", "deep", "large"),
    ],
)
def test_a_damaged_or_foreign_file_is_replaced(cache: Path, two_lists: GoalLists, how: str) -> None:
    write_goals(TASKS, 3, two_lists)
    path = cache_path(TASKS, 3)
    good = path.read_bytes()
    path.write_text(damage(json.loads(good), how))
    assert read_goals(TASKS, 3) is None
    if how == "half":  # drawing again takes a second
        assert_equal_lists(make_goal_lists(TASKS, 3), two_lists)
        assert path.read_bytes() == good


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((49, 3)),
        np.zeros((50, 0)),
        np.zeros((50, 10)),
        np.zeros((50, 3, 1)),
        np.full((50, 3), np.nan),
        np.full((50, 3), np.inf),
        np.full((50, 3), 10.0),
        np.full((50, 3), 1),
        np.zeros((50, 4)),
    ],
    ids=[
        *("few", "no numbers", "many numbers", "a dimension more", "nan", "infinite"),
        *("far away", "whole numbers", "of a length that no task has"),
    ],
)
def test_goals_that_can_not_be_are_not_believed(
    cache: Path, two_lists: GoalLists, wrong: np.ndarray
) -> None:
    """In a file that is otherwise right, checksum included."""
    write_goals(TASKS, 3, {**two_lists, "reach-v3": wrong})
    assert cache_path(TASKS, 3).exists()
    assert read_goals(TASKS, 3) is None


def test_a_folder_that_can_not_be_written_is_no_error(
    tmp_path: Path, two_lists: GoalLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert_equal_lists(make_goal_lists(TASKS, 3), two_lists)


def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_path(TASKS, 0).is_relative_to(tmp_path / ".cache" / "active-dendrites")
    monkeypatch.setenv("XDG_CACHE_HOME", os.sep + "other")
    assert cache_path(TASKS, 0).is_relative_to("/other/active-dendrites")
