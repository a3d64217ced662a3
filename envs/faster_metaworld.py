"""Meta-World's observations and contacts, computed with the same arithmetic in a third of the time.

Three quarters of a Meta-World step are Python around the physics: arrays of three numbers are split and
stacked, bodies looked up by name, rotation matrices checked, every contact wrapped in an object and asked
twice. The replacements here are bound to one simulator object; Meta-World itself is not touched. The
tests compare them with the originals bit for bit.
"""

from __future__ import annotations

import math

import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

_POSE_FROM_MATRIX = {
    "reach-v3": ("geom", "objGeom"),
    "push-v3": ("geom", "objGeom"),
    "pick-place-v3": ("geom", "objGeom"),
    "door-open-v3": ("geom", "handle"),
    "peg-insert-side-v3": ("site", "pegGrasp"),
}
"""Tasks that convert a rotation matrix into the object's quaternion, and whose matrix it is."""


def accelerate(simulator: SawyerXYZEnv, task: str) -> None:
    """Replace the slow methods of this simulator of `task`."""
    replacements = {
        "_get_obs": _Observation(simulator),
        "touching_object": _TouchingObject(simulator),
    }
    if task in _POSE_FROM_MATRIX:
        replacements["_get_quat_objects"] = _Quaternion(simulator, *_POSE_FROM_MATRIX[task])
    vars(simulator).update(replacements)


class _Observation:
    """`_get_obs`: [0:18] now, [18:36] one step ago, [36:39] goal. A call steps the history."""

    def __init__(self, simulator: SawyerXYZEnv) -> None:
        self._simulator = simulator
        body = simulator.data.body
        # MuJoCo's own memory: these change with every step
        self._hand = body("hand").xpos
        self._right, self._left = body("rightclaw").xpos, body("leftclaw").xpos

    def __call__(self) -> NDArray[np.float64]:
        simulator = self._simulator
        now = np.zeros(18)
        now[:3] = self._hand
        fingers = self._right - self._left
        now[3] = min(max(math.sqrt(fingers.dot(fingers)) / 0.1, 0.0), 1.0)
        positions, quaternions = simulator._get_pos_objects(), simulator._get_quat_objects()
        for index in range(len(positions) // 3):
            start = 4 + 7 * index
            now[start : start + 3] = positions[3 * index : 3 * index + 3]
            now[start + 3 : start + 7] = quaternions[4 * index : 4 * index + 4]
        obs = np.zeros(39)
        obs[:18] = now
        obs[18:36] = simulator._prev_obs
        if not simulator._partially_observable:
            obs[36:] = simulator._get_pos_goal()
        simulator._prev_obs = now
        return obs


class _Quaternion:
    """`_get_quat_objects`, without asking whether MuJoCo's rotation matrices are rotations."""

    def __init__(self, simulator: SawyerXYZEnv, kind: str, name: str) -> None:
        self._matrix = getattr(simulator.data, kind)(name).xmat.reshape(3, 3)  # a live view

    def __call__(self) -> NDArray[np.float64]:
        return Rotation.from_matrix(self._matrix, assume_valid=True).as_quat()


class _TouchingObject:
    """`touching_object`: whether both finger pads press on a geom."""

    def __init__(self, simulator: SawyerXYZEnv) -> None:
        self._data = simulator.data
        geom = simulator.data.geom
        self._left, self._right = geom("leftpad_geom").id, geom("rightpad_geom").id

    def __call__(self, object_geom_id: int) -> bool:
        contact, force = self._data.contact, self._data.efc_force
        left = right = 0.0
        pairs, addresses = contact.geom.tolist(), contact.efc_address.tolist()
        for pair, address in zip(pairs, addresses, strict=True):
            if object_geom_id in pair:
                if self._left in pair:
                    left += force[address]
                if self._right in pair:
                    right += force[address]
        return left > 0 and right > 0
