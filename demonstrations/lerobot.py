"""Write episodes as Parquet in the layout of LeRobotDataset v3.0 (huggingface.co/docs/lerobot), without its package.

    DIR/meta/info.json                               what the columns are
    DIR/meta/stats.json                              minimum, maximum, mean and spread of each
    DIR/meta/tasks.parquet                           task name -> task_index
    DIR/meta/episodes/chunk-000/file-000.parquet     a row for each episode
    DIR/data/chunk-000/file-TTT.parquet              a row for each step; a file for each task

docs/analysis.md has the columns.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import UsageError
from envs.rollout import EpisodeResults, EpisodeSteps

FPS = 80
"""Environment steps a second: five of the simulator's, 2.5 ms each."""
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_HAND = 4  # first numbers of an observation: the hand's place, and how far the gripper is open

Columns = dict[str, NDArray]
"""Name -> values of the steps `[n]` or `[n, k]`."""


def require_writer(out: Path) -> None:
    """Refuse what could not be written, before anything is played.

    Raises:
        UsageError: the folder exists, can't be made, or pyarrow is not installed.
    """
    if out.exists():
        raise UsageError(f"--record {out}: exists already; give a new folder")
    parent = next(place for place in out.absolute().parents if place.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UsageError(f"--record {out}: {parent} is no folder to write into")
    if find_spec("pyarrow") is None:
        raise UsageError("--record: needs pyarrow; pip install '.[record]'")


def write_dataset(
    results: EpisodeResults, goals: dict[str, NDArray[np.float64]], out: Path
) -> None:
    """Write all episodes of all tasks.

    Args:
        results: with every step kept.
        goals: of each task, its random vectors `[goals, k]` (`envs.make_goal_lists`).
        out: folder to create.
    """
    draft = out.with_name(f".writing-{out.name}")
    shutil.rmtree(draft, ignore_errors=True)  # of a recording that was stopped
    _write_all(results, goals, draft)
    draft.rename(out)


def _write_all(results: EpisodeResults, goals: dict[str, NDArray[np.float64]], out: Path) -> None:
    steps = results.steps
    assert steps is not None
    episodes, length = results.success.shape[1], steps.reward.shape[2]
    tasks: list[Columns] = []
    for index in range(len(results.tasks)):
        columns = _columns(steps, index, first_episode=index * episodes)
        tasks.append(columns)
        _write(out / _DATA.format(chunk_index=0, file_index=index), columns)
    _write_tasks(out / "meta" / "tasks.parquet", results.tasks)
    rows = list(_episode_rows(results, goals, length))
    _write(out / "meta" / "episodes" / "chunk-000" / "file-000.parquet", _transposed(rows))
    features = {name: _feature(values) for name, values in tasks[0].items()}
    _write_json(out / "meta" / "info.json", _info(results, features, length))
    _write_json(out / "meta" / "stats.json", _statistics(tasks))


def _columns(steps: EpisodeSteps, task: int, first_episode: int) -> Columns:
    """Every step of a task's episodes, one episode after the other."""
    obs, action = steps.obs[task], steps.action[task]  # [K, H, 39], [K, H, 4]
    episodes, length = obs.shape[:2]
    frame = np.tile(np.arange(length), episodes)
    count = episodes * length
    done = frame == length - 1
    return {
        "observation.state": obs.reshape(count, -1)[:, :_HAND],
        "observation.environment_state": obs.reshape(count, -1),
        "action": action.reshape(count, -1),
        "next.reward": steps.reward[task].reshape(count).astype(np.float32),
        "next.success": steps.success[task].reshape(count),
        "next.done": done,
        "timestamp": (frame / FPS).astype(np.float32),
        "frame_index": frame.astype(np.int64),
        "episode_index": first_episode + np.repeat(np.arange(episodes), length),
        "index": first_episode * length + np.arange(count),
        "task_index": np.full(count, task, np.int64),
    }


def _episode_rows(
    results: EpisodeResults, goals: dict[str, NDArray[np.float64]], length: int
) -> Iterator[dict[str, Any]]:
    """What the layout asks for, and what was played: the goal, and whether it was reached."""
    episodes = results.success.shape[1]
    for task, name in enumerate(results.tasks):
        for own in range(episodes):
            index, goal = task * episodes + own, int(results.goal[task, own])
            yield {
                "episode_index": index,
                "tasks": [name],
                "length": length,
                "data/chunk_index": 0,
                "data/file_index": task,
                "dataset_from_index": index * length,
                "dataset_to_index": (index + 1) * length,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                "goal": goal,
                "random_vector": goals[name][goal].tolist(),
                "success": bool(results.success[task, own]),
                "steps_to_success": int(results.steps_to_success[task, own]),
            }


def _info(results: EpisodeResults, features: dict[str, Any], length: int) -> dict[str, Any]:
    tasks, episodes = results.success.shape
    total = tasks * episodes
    return {
        "codebase_version": "v3.0",
        "robot_type": "sawyer",
        "total_episodes": total,
        "total_frames": total * length,
        "total_tasks": tasks,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": FPS,
        "splits": {"train": f"0:{total}"},
        "data_path": _DATA,
        "video_path": None,
        "features": features,
    }


def _feature(values: NDArray) -> dict[str, Any]:
    return {"dtype": values.dtype.name, "shape": list(values.shape[1:]) or [1], "names": None}


def _statistics(tasks: list[Columns]) -> dict[str, dict[str, list[float]]]:
    """Of every column over all steps; numbers that are one per step as lists of one."""
    found = {}
    for name in tasks[0]:
        values = np.concatenate([columns[name] for columns in tasks]).astype(np.float64)
        values = values.reshape(len(values), -1)
        found[name] = {
            "min": values.min(axis=0).tolist(),
            "max": values.max(axis=0).tolist(),
            "mean": values.mean(axis=0).tolist(),
            "std": values.std(axis=0).tolist(),
            "count": [len(values)],
        }
    return found


def _transposed(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _write_tasks(path: Path, tasks: tuple[str, ...]) -> None:
    """LeRobot reads them with pandas, and takes the index of the table for the tasks' names."""
    columns = {"task_index": list(range(len(tasks))), "task": list(tasks)}
    kinds = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
    described = [
        {"name": name, "field_name": name, "pandas_type": own, "numpy_type": numpy_type}
        for name, (own, numpy_type) in kinds.items()
    ]
    index = {"index_columns": ["task"], "column_indexes": [], "columns": described}
    _write(path, columns, {b"pandas": json.dumps(index).encode()})


def _write(path: Path, columns: dict[str, Any], metadata: dict[bytes, bytes] | None = None) -> None:
    import pyarrow
    from pyarrow import parquet

    arrays = {
        name: pyarrow.array(list(values) if getattr(values, "ndim", 1) > 1 else values)
        for name, values in columns.items()
    }
    table = pyarrow.table(arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata(metadata), path)


def _write_json(path: Path, contents: dict[str, Any]) -> None:
    path.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
