"""Pictures of an episode: its recorded actions are played again, in an environment that has pictures.

The simulators that train and evaluate have models without pictures. Meta-World's own environment moves as they
do, bit for bit, so the same actions lead to the same observations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIZE = 480
"""Width and height of a picture [pixels]."""
EVERY = 2
"""Environment steps from one picture to the next: 25 ms, 40 pictures a second."""
FRAMES_PER_SECOND = 40
AFTER_SUCCESS = 40
"""Environment steps, half a second, that are shown after the first success."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Episode:
    """What was played.

    Attributes:
        task: name.
        goal: index into the goal list.
        random_vector: the goal `[k]`.
        actions: `[H, 4]`.
        obs: `[H, 39]` that were acted on.
    """

    task: str
    goal: int
    random_vector: NDArray[np.float64]
    actions: NDArray[np.float32]
    obs: NDArray[np.float32]


class Frame(NamedTuple):
    """A picture of the environment after `step` environment steps."""

    picture: Picture  # [SIZE, SIZE, 3]
    step: int
    success: bool  # in this step or an earlier one


def replay(episode: Episode) -> Iterator[Frame]:
    """Frames until shortly after the first success, or to the end.

    Needs MUJOCO_GL (`videos/backend.py`) before mujoco is imported.

    Raises:
        ValueError: the environment does not arrive at the recorded observations.
    """
    import mujoco

    from envs.simulator.reset_cache import set_goal
    from envs.simulator.simulator import make_environment

    environment = make_environment(episode.task)
    set_goal(environment, episode.random_vector)
    obs, _ = environment.reset()
    environment.model.vis.global_.offwidth = environment.model.vis.global_.offheight = SIZE
    with mujoco.Renderer(environment.model, SIZE, SIZE) as renderer:
        camera = _camera(mujoco)
        first_success: int | None = None
        for step, (action, expected) in enumerate(zip(episode.actions, episode.obs, strict=True)):
            if not np.array_equal(obs.astype(np.float32), expected):
                raise ValueError(
                    f"{episode.task}, goal {episode.goal}: the replay differs at step {step}"
                )
            if step % EVERY == 0:
                yield Frame(_draw(renderer, environment, camera), step, first_success is not None)
            if first_success is not None and step >= first_success + AFTER_SUCCESS:
                return
            obs, _, _, _, info = environment.step(action)
            if info["success"] and first_success is None:
                first_success = step + 1
        yield Frame(
            _draw(renderer, environment, camera), len(episode.actions), first_success is not None
        )


def _camera(mujoco):  # type: ignore[no-untyped-def]  # mujoco has no types
    """Upright and near, unlike four of Meta-World's own, which are upside down."""
    camera = mujoco.MjvCamera()
    camera.lookat[:] = (0.0, 0.65, 0.15)
    camera.distance, camera.azimuth, camera.elevation = 1.35, 130, -28
    return camera


def _draw(renderer, environment, camera) -> Picture:  # type: ignore[no-untyped-def]
    import mujoco

    renderer.update_scene(environment.data, camera)
    # Shadows and reflections take two thirds of the time where a processor draws.
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
    picture: Picture = renderer.render()
    return picture
