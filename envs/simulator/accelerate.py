"""Meta-World's environments, computed with the same arithmetic in less time.

Most of a Meta-World step is Python around the physics: arrays of three numbers are split and stacked,
bodies looked up by name, rotation matrices checked, contacts wrapped in objects. A quarter of the physics is
spent on what only a picture would show. `make_accelerated` gives an environment without these: a class
derived from the task's own, made in this process, with faster methods here and faster functions for
its rewards (`envs/simulator/scalars.py`). No reward is written anew, and Meta-World itself is not
touched, so an environment that somebody else makes of it is as it was. The tests compare all fifty tasks bit for bit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import mujoco
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.utils.reward_utils import hamacher_product
from numpy.typing import NDArray

from envs.simulator.rebinding import rebound_class
from envs.simulator.scalars import REPLACEMENTS, tolerance


def make_accelerated(task: str) -> SawyerXYZEnv:
    """One Meta-World v3 environment of `task`, without wrappers and pictures."""
    return _accelerated_class(ALL_V3_ENVIRONMENTS[task])()


@cache
def _accelerated_class(original: type[SawyerXYZEnv]) -> type:
    return rebound_class(original, _Accelerated, "metaworld", REPLACEMENTS)


@cache
def _physics_only(path: str) -> mujoco.MjModel:
    """The model without what only a picture would show; compiled once, an eighth of the memory.

    MuJoCo clears a mark for every node of every mesh in each of its steps, and turns lights and cameras.
    """
    spec = mujoco.MjSpec.from_file(path)
    for element in (*spec.cameras, *spec.lights):
        element.delete()
    for geom in spec.geoms:
        if geom.name:  # a task may ask where it is; what a sensor measures is not discarded
            spec.add_sensor(
                type=mujoco.mjtSensor.mjSENS_FRAMEPOS,
                objtype=mujoco.mjtObj.mjOBJ_GEOM,
                objname=geom.name,
            )
    spec.compiler.discardvisual = True
    model = spec.compile()
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR
    return model


class _Found(dict[str, NDArray[np.float64]]):
    """Views of MuJoCo's memory by name, looked up once. They change with every step."""

    def __init__(self, find: Callable[[str], NDArray[np.float64]]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, name: str) -> NDArray[np.float64]:
        view = self[name] = self._find(name)
        return view


class _Accelerated(SawyerXYZEnv):
    """What all tasks share. Whatever is unusual is left to the original method."""

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = copy.copy(_physics_only(self.fullpath))  # tasks move its bodies
        data = mujoco.MjData(model)
        self._body = _Found(lambda name: data.body(name).xpos)
        self._site = _Found(lambda name: data.site(name).xpos)
        self._mocap_pos, self._mocap_quat, self._ctrl = data.mocap_pos, data.mocap_quat, data.ctrl
        self._pads = tuple(data.geom(name).id for name in ("leftpad_geom", "rightpad_geom"))
        return model, data

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], Any, bool, bool, dict[str, Any]]:
        """As Meta-World's, without what `mj_forward` overwrites or nothing reads.

        The positions of target sites are overwritten, and `mj_rnePostConstraint` computes forces
        between bodies that nothing reads.
        """
        if (
            not self._set_task_called
            or self._did_see_sim_exception
            or self.curr_path_length >= self.max_path_length
            or len(action) != 4
        ):
            return super().step(action)
        self.set_xyz_action(action[:3])
        effort = float(action[3])
        self._ctrl[0], self._ctrl[1] = effort, -effort
        mujoco.mj_step(self.model, self.data, self.frame_skip)
        self.curr_path_length += 1
        mujoco.mj_forward(self.model, self.data)
        space = self.sawyer_observation_space
        obs = self._last_stable_obs = self._get_obs().clip(space.low, space.high)
        reward, info = self.evaluate_state(obs, action)
        truncate = self.curr_path_length == self.max_path_length
        return obs.copy(), reward, False, truncate, info

    def set_xyz_action(self, action: NDArray[Any]) -> None:
        x, y, z = action.tolist()
        if not (-1 <= x <= 1 and -1 <= y <= 1 and -1 <= z <= 1):
            action = np.clip(action, -1, 1)
        new = self._mocap_pos[0] + action * self.action_scale
        self._mocap_pos[0] = new.clip(self.mocap_low, self.mocap_high)
        self._mocap_quat[0] = _DOWN

    def _get_obs(self) -> NDArray[np.float64]:
        """[0:18] now, [18:36] one step ago, [36:39] goal. A call steps the history."""
        obs = np.zeros(39)
        obs[:3] = self._body["hand"]
        fingers = self._body["rightclaw"] - self._body["leftclaw"]
        obs[3] = min(max(math.sqrt(fingers.dot(fingers)) / 0.1, 0.0), 1.0)
        positions, quaternions = self._get_pos_objects(), self._get_quat_objects()
        for index in range(len(positions) // 3):
            start = 4 + 7 * index
            obs[start : start + 3] = positions[3 * index : 3 * index + 3]
            obs[start + 3 : start + 7] = quaternions[4 * index : 4 * index + 4]
        obs[18:36] = self._prev_obs
        if not self._partially_observable:
            obs[36:] = self._get_pos_goal()
        self._prev_obs = obs[:18].copy()
        return obs

    def get_endeff_pos(self) -> NDArray[np.float64]:
        return self._body["hand"]

    def get_body_com(self, body_name: str) -> NDArray[np.float64]:
        return self._body[body_name]

    def _get_site_pos(self, site_name: str) -> NDArray[np.float64]:
        return self._site[site_name].copy()

    @property
    def tcp_center(self) -> NDArray[np.float64]:
        return (self._site["rightEndEffector"] + self._site["leftEndEffector"]) / 2.0

    def touching_object(self, object_geom_id: int) -> bool:
        """Whether both finger pads press on a geom."""
        if not self.data.ncon:
            return False
        contact, force = self.data.contact, self.data.efc_force
        left_pad, right_pad = self._pads
        left = right = 0.0
        pairs, addresses = contact.geom.tolist(), contact.efc_address.tolist()
        for pair, address in zip(pairs, addresses, strict=True):
            if object_geom_id in pair:
                if left_pad in pair:
                    left += force[address]
                if right_pad in pair:
                    right += force[address]
        return left > 0 and right > 0


_DOWN = np.array([1.0, 0.0, 1.0, 0.0])
