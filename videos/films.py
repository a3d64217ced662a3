"""An MP4 of each task, and all of them side by side as one animated picture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.goals import GoalLists
from envs.rollout import EpisodeResults
from machine.cores import usable_cores
from videos.replay import FRAMES_PER_SECOND, SIZE, Episode, Frame, Picture, replay

TILE = 192
"""Width and height of a task in the mosaic [pixels]."""
MOSAIC_EVERY = 2
"""Frames of a film from one picture of the mosaic to the next."""
MOSAIC_COLUMNS = 5
_BAND = 30  # [pixels] below the caption's text


def write_films(
    results: EpisodeResults, goals: GoalLists, folder: Path, backend: str
) -> list[Path]:
    """Write FOLDER/TASK.mp4, of each task's first episode, and FOLDER/mosaic.webp; returns their paths.

    Args:
        results: with every step kept.
        goals: of each task, its random vectors.
        folder: is made if need be.
        backend: value of MUJOCO_GL.
    """
    episodes = [first_episode(results, goals, task) for task in range(len(results.tasks))]
    names = [*(f"{episode.task}.mp4" for episode in episodes), "mosaic.webp"]
    folder.mkdir(parents=True, exist_ok=True)
    # New processes, because MuJoCo reads MUJOCO_GL when it is imported.
    pool = ProcessPoolExecutor(
        usable_cores(), get_context("spawn"), initializer=_use, initargs=(backend,)
    )
    with TemporaryDirectory(prefix=".writing-", dir=folder) as draft:  # all of them, or none
        paths = [Path(draft, name) for name in names]
        with pool:
            tiles = list(pool.map(write_film, episodes, paths[:-1]))
        write_mosaic(tiles, paths[-1])
        for path in paths:
            os.replace(path, folder / path.name)
    return [folder / name for name in names]


def first_episode(results: EpisodeResults, goals: GoalLists, task: int) -> Episode:
    """The first that was played of a task, to be played again."""
    steps, name, goal = results.steps, results.tasks[task], int(results.goal[task, 0])
    assert steps is not None
    return Episode(name, goal, goals[name][goal], steps.action[task, 0], steps.obs[task, 0])


def write_film(episode: Episode, path: Path) -> list[Picture]:
    """Write one MP4 (H.264); returns its pictures for the mosaic, small and fewer."""
    import imageio_ffmpeg

    writer = imageio_ffmpeg.write_frames(
        str(path),
        (SIZE, SIZE),
        fps=FRAMES_PER_SECOND,
        codec="libx264",
        output_params=["-crf", "26", "-movflags", "+faststart"],
        quality=None,
    )
    writer.send(None)
    tiles = []
    try:
        for index, frame in enumerate(replay(episode)):
            picture = captioned(frame, f"{episode.task}  goal {episode.goal}")
            writer.send(np.asarray(picture).tobytes())
            if index % MOSAIC_EVERY == 0:
                tiles.append(np.asarray(picture.resize((TILE, TILE), Image.Resampling.LANCZOS)))
    finally:
        writer.close()
    return tiles


def captioned(frame: Frame, title: str) -> Image.Image:
    """The picture with title, step, and whether the task is done, on a band at its top."""
    picture = Image.fromarray(frame.picture)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(18)
    draw.rectangle((0, 0, SIZE, _BAND), fill=(20, 20, 20))
    draw.text((8, 4), f"{title}  step {frame.step}", fill="white", font=font)
    if frame.success:
        draw.text((SIZE - 90, 4), "success", fill=(120, 230, 120), font=font)
    return picture


def write_mosaic(films: Sequence[Sequence[Picture]], path: Path) -> None:
    """All films side by side as an animated WebP; one that is over stays at its last picture."""
    length = max(len(film) for film in films)
    pictures = [
        Image.fromarray(tiled([film[min(index, len(film) - 1)] for film in films]))
        for index in range(length)
    ]
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=1000 * MOSAIC_EVERY // FRAMES_PER_SECOND,
        loop=0,
        quality=60,
        method=4,
    )


def tiled(pictures: Iterable[Picture], columns: int = MOSAIC_COLUMNS) -> Picture:
    """Pictures of one size as rows of a grid; what is left of the last row is black."""
    cells = list(pictures)
    cells += [np.zeros_like(cells[0])] * (-len(cells) % min(columns, len(cells)))
    columns = min(columns, len(cells))
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return np.vstack(rows)


def _use(backend: str) -> None:
    os.environ["MUJOCO_GL"] = backend
