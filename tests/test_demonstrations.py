"""Episodes as Parquet: what was played comes back, in the layout that LeRobot documents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from configs import UsageError
from demonstrations.lerobot import FPS, require_writer, write_dataset
from envs.rollout import EpisodeResults, EpisodeSteps

TASKS, EPISODES, LENGTH = ("reach-v3", "push-v3"), 3, 5


@pytest.fixture(scope="module")
def results() -> EpisodeResults:
    random = np.random.default_rng(0)
    shape = (len(TASKS), EPISODES, LENGTH)
    steps = EpisodeSteps(
        obs=random.normal(size=(*shape, 39)).astype(np.float32),
        action=random.normal(size=(*shape, 4)).astype(np.float32),
        reward=random.random(shape).astype(np.float32),
        success=random.random(shape) < 0.3,
    )
    success = steps.success.any(axis=2)
    first = np.where(success, steps.success.argmax(axis=2) + 1, -1)
    return EpisodeResults(
        tasks=TASKS,
        goal=np.tile([0, 2, 1], (len(TASKS), 1)),
        success=success,
        final_success=steps.success[..., -1],
        returns=steps.reward.sum(axis=2, dtype=np.float64),
        length=np.full(shape[:2], LENGTH),
        steps_to_success=first,
        steps=steps,
    )


GOALS = {"reach-v3": np.arange(18.0).reshape(3, 6), "push-v3": np.arange(9.0).reshape(3, 3)}


@pytest.fixture(scope="module")
def folder(results: EpisodeResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "set"
    write_dataset(results, GOALS, out)
    return out


def test_every_step_comes_back(folder: Path, results: EpisodeResults) -> None:
    steps = results.steps
    assert steps is not None
    for task in range(len(TASKS)):
        table = parquet.read_table(folder / f"data/chunk-000/file-{task:03d}.parquet")
        columns = {name: np.array(table[name].to_pylist()) for name in table.column_names}
        shape = (EPISODES, LENGTH)
        obs = columns["observation.environment_state"].reshape(*shape, 39)
        np.testing.assert_array_equal(obs, steps.obs[task])
        state = columns["observation.state"].reshape(*shape, 4)
        np.testing.assert_array_equal(state, steps.obs[task, ..., :4])
        action = columns["action"].reshape(*shape, 4)
        np.testing.assert_array_equal(action, steps.action[task])
        np.testing.assert_array_equal(
            columns["next.reward"].reshape(shape).astype(np.float32), steps.reward[task]
        )
        np.testing.assert_array_equal(columns["next.success"].reshape(shape), steps.success[task])
        assert set(columns["task_index"]) == {task}
        np.testing.assert_array_equal(columns["frame_index"], np.tile(range(LENGTH), EPISODES))
        np.testing.assert_allclose(columns["timestamp"], columns["frame_index"] / FPS, rtol=1e-6)


def test_episodes_say_where_their_steps_are_and_what_they_reached(
    folder: Path, results: EpisodeResults
) -> None:
    rows = parquet.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["episode_index"] for row in rows] == list(range(len(TASKS) * EPISODES))
    frames = [
        row["index"]
        for task in range(len(TASKS))
        for row in parquet.read_table(
            folder / f"data/chunk-000/file-{task:03d}.parquet"
        ).to_pylist()
    ]
    assert frames == list(range(len(frames)))
    for row in rows:
        task, episode = divmod(row["episode_index"], EPISODES)
        assert row["tasks"] == [TASKS[task]]
        assert row["dataset_to_index"] - row["dataset_from_index"] == row["length"] == LENGTH
        goal = results.goal[task, episode]
        assert row["goal"] == goal
        assert row["random_vector"] == GOALS[TASKS[task]][goal].tolist()
        assert row["success"] == results.success[task, episode]
        assert row["steps_to_success"] == results.steps_to_success[task, episode]


def test_the_description_fits_the_data(folder: Path) -> None:
    info = json.loads((folder / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert info["total_frames"] == len(TASKS) * EPISODES * LENGTH
    path = folder / info["data_path"].format(chunk_index=0, file_index=1)
    table = parquet.read_table(path)
    assert set(table.column_names) == info["features"].keys()
    statistics = json.loads((folder / "meta/stats.json").read_text())
    assert statistics.keys() == info["features"].keys()
    assert info["features"]["action"] == {"dtype": "float32", "shape": [4], "names": None}


def test_pandas_takes_the_tasks_names_for_the_index(folder: Path) -> None:
    table = parquet.read_table(folder / "meta/tasks.parquet")
    assert table.to_pydict() == {"task_index": [0, 1], "task": list(TASKS)}
    assert table.schema.pandas_metadata["index_columns"] == ["task"]


def test_an_existing_folder_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        require_writer(folder)
