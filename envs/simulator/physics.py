"""MuJoCo's side of an environment: a model without pictures, and data that looks a name up once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray


def physics_only(path: str) -> mujoco.MjModel:
    """The model in this XML file, without what only a picture would show.

    It moves as the whole model does, bit for bit: bodies, joints, contacts and solver are the same. In each
    of its steps MuJoCo places every shape, light and camera, and clears a mark for every node of
    every mesh; without them a step takes four fifths of the time, and a model an eighth of the memory.
    Named shapes stay, because a task may ask where they are.
    """
    return copy.copy(_compiled(path))  # compiling takes 0.1 s, a copy 1 ms; tasks move bodies


@cache
def _compiled(path: str) -> mujoco.MjModel:
    spec = mujoco.MjSpec.from_file(path)
    for element in (*spec.cameras, *spec.lights):
        element.delete()
    for geom in spec.geoms:
        if geom.name:  # what a sensor measures is not discarded
            spec.add_sensor(
                type=mujoco.mjtSensor.mjSENS_FRAMEPOS,
                objtype=mujoco.mjtObj.mjOBJ_GEOM,
                objname=geom.name,
            )
    spec.compiler.discardvisual = True
    model = spec.compile()
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR  # it need not measure
    return model


class NamedData(mujoco.MjData):  # type: ignore[misc]  # mujoco has no types
    """MuJoCo's data. `body`, `geom`, `site` and `joint` look each name up once."""

    def __init__(self, model: mujoco.MjModel) -> None:
        super().__init__(model)
        self.body, self.geom = cache(super().body), cache(super().geom)
        self.site, self.joint = cache(super().site), cache(super().joint)


class Positions(dict[str, NDArray[np.float64]]):
    """Where bodies or sites are, `[3]` each [m], by name: MuJoCo's own memory, which changes with every step."""

    def __init__(self, find: Callable[[str], Any]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, name: str) -> NDArray[np.float64]:
        position: NDArray[np.float64] = self._find(name).xpos
        self[name] = position
        return position
