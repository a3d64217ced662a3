"""Meta-World's environments, computed with the same arithmetic in less time.

Much of a Meta-World step is Python around the physics: arrays of three numbers are split and stacked,
bodies looked up by name, rotation matrices checked, contacts wrapped in objects. `make_accelerated` gives an
environment without these: a class derived from the task's own, made in this process, with faster methods
here, faster functions for its rewards (`envs/simulator/scalars.py`) and a model without pictures. No task's
reward is written anew, and Meta-World itself is not touched: an environment that somebody else
makes is as it was. The tests compare all fifty tasks bit for bit.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import mujoco
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.utils.reward_utils import hamacher_product
from numpy.typing import NDArray

from envs.simulator.physics import NamedData, Positions, physics_only
from envs.simulator.rebinding import rebound_class
from envs.simulator.scalars import REPLACEMENTS, norm, tolerance


def make_accelerated(task: str) -> SawyerXYZEnv:
    """One Meta-World v3 environment of `task`, without wrappers and pictures."""
    return _accelerated_class(task)()


@cache
def _accelerated_class(task: str) -> type[SawyerXYZEnv]:
    original = ALL_V3_ENVIRONMENTS[task]
    return rebound_class(original, _Accelerated, "metaworld", REPLACEMENTS)


class _Accelerated(SawyerXYZEnv):
    """What all tasks share. Whatever is unusual is left to the original method."""

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = physics_only(self.fullpath)
        data = NamedData(model)
        self._body = Positions(data.body)
        self._site = Positions(data.site)
        self._left_pad, self._right_pad = self._body["leftpad"], self._body["rightpad"]
        self._mocap_pos, self._mocap_quat = data.mocap_pos[0], data.mocap_quat[0]
        self._ctrl = data.ctrl
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
        dx, dy, dz = (action * self.action_scale).tolist()  # a product in the action's precision
        mocap_pos = self._mocap_pos
        x, y, z = mocap_pos.tolist()
        x_low, y_low, z_low = self.mocap_low.tolist()
        x_high, y_high, z_high = self.mocap_high.tolist()
        mocap_pos[0] = min(max(x + dx, x_low), x_high)
        mocap_pos[1] = min(max(y + dy, y_low), y_high)
        mocap_pos[2] = min(max(z + dz, z_low), z_high)
        self._mocap_quat[:] = _DOWN

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

    def _gripper_caging_reward(
        self,
        action: NDArray[np.float32],
        obj_pos: NDArray[np.float64],
        obj_radius: float,
        pad_success_thresh: float,
        object_reach_radius: float,
        xz_thresh: float,
        desired_gripper_effort: float = 1.0,
        high_density: bool = False,
        medium_density: bool = False,
    ) -> float:
        """How well the gripper holds an object, without arrays of two numbers.

        A term that most rewards share; the names are Meta-World's.

        Raises:
            ValueError: for two densities, as the original does, or a negative margin.
        """
        if high_density and medium_density:
            raise ValueError("Can only be either high_density or medium_density")
        assert self.obj_init_pos is not None  # a reset has set it
        tcp = self.tcp_center
        x, y, z = obj_pos.tolist()
        x_init, y_init, z_init = self.obj_init_pos.tolist()
        x_tcp, _, z_tcp = tcp.tolist()
        x_tcp_init, _, z_tcp_init = self.init_tcp.tolist()
        caging_y = hamacher_product(
            *(
                tolerance(
                    abs(pad_y - y),
                    bounds=(obj_radius, pad_success_thresh),
                    margin=abs(abs(pad_y - y_init) - pad_success_thresh),
                    sigmoid="long_tail",
                )
                for pad_y in (self._left_pad.item(1), self._right_pad.item(1))
            )
        )
        caging_xz = tolerance(
            _length(x_tcp - x, z_tcp - z),
            bounds=(0, xz_thresh),
            margin=_length(x_init - x_tcp_init, z_init - z_tcp_init) - xz_thresh,
            sigmoid="long_tail",
        )
        # The action's number stays a float32, and makes one of the reward.
        gripper_closed = min(max(0, action[-1]), desired_gripper_effort) / desired_gripper_effort
        caging = hamacher_product(caging_y, caging_xz)
        gripping = gripper_closed if caging > 0.97 else 0.0
        caging_and_gripping = hamacher_product(caging, gripping)
        if high_density:
            return (caging_and_gripping + caging) / 2
        if medium_density:
            reach = tolerance(
                norm(obj_pos - tcp),
                bounds=(0, object_reach_radius),
                margin=abs(norm(self.obj_init_pos - self.init_tcp) - object_reach_radius),
                sigmoid="long_tail",
            )
            return (caging_and_gripping + reach) / 2
        return caging_and_gripping

    def touching_object(self, object_geom_id: int) -> bool:
        """Whether both finger pads press on a geom."""
        left_pad, right_pad = self._pads
        pairs = self.data.contact.geom.tolist() if self.data.ncon else []
        with_left = [i for i, it in enumerate(pairs) if object_geom_id in it and left_pad in it]
        with_right = [i for i, it in enumerate(pairs) if object_geom_id in it and right_pad in it]
        if not (with_left and with_right):
            return False
        address, force = self.data.contact.efc_address, self.data.efc_force
        left = sum(force[address[i]] for i in with_left)
        right = sum(force[address[i]] for i in with_right)
        return left > 0 and right > 0


def _length(x: float, z: float) -> float:
    xz = np.array([x, z])
    return math.sqrt(xz.dot(xz))  # numpy's, which rounds as in `np.linalg.norm`


_DOWN = np.array([1.0, 0.0, 1.0, 0.0])
