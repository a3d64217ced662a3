"""What an accelerated environment shares with Meta-World's, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.utils import reward_utils

from configs import MT50
from envs.simulator import scalars
from envs.simulator.accelerate import make_accelerated
from envs.simulator.reset_cache import set_goal
from envs.simulator.simulator import make_environment
from tests.test_faster_simulator import draw_goals

PICTURE = ("geom_", "mesh_", "bvh_", "mat_", "tex_", "cam_", "light_", "vis", "skin_", "text_")
NAMES = ("name", "sensor_", "body_geom", "body_bvh", "paths", "_sizes")
"""Members of a model that a picture, names or the discarded shapes decide."""


def pair(task: str) -> tuple[SawyerXYZEnv, SawyerXYZEnv]:
    """Meta-World's environment and ours, after a reset to the same goal."""
    goal, environments = draw_goals(task, 1)[0], (make_environment(task), make_accelerated(task))
    for environment in environments:
        set_goal(environment, goal)
        environment.reset()
    return environments


def physics(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    arrays = {name: getattr(model, name) for name in dir(model) if not name.startswith("__")}
    return {
        name: value
        for name, value in arrays.items()
        if isinstance(value, np.ndarray) and not name.startswith(PICTURE + NAMES)
    }


@pytest.mark.parametrize("task", MT50)
def test_the_model_without_pictures_has_the_same_physics(task: str) -> None:
    original, own = make_environment(task).model, make_accelerated(task).model
    expected, found = physics(original), physics(own)
    assert len(expected) > 150  # bodies, joints, dofs, actuators, equality constraints, sites, ...
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    for shape in range(original.ngeom):
        name = original.geom(shape).name
        if name or original.geom_contype[shape] or original.geom_conaffinity[shape]:
            touching = [
                other
                for other in range(own.ngeom)
                if own.geom(other).name == name
                and own.geom_bodyid[other] == original.geom_bodyid[shape]
                and (own.geom_pos[other] == original.geom_pos[shape]).all()
                and (own.geom_size[other] == original.geom_size[shape]).all()
            ]
            assert touching, (shape, name)


def test_environments_of_a_task_have_models_of_their_own() -> None:
    first, second = make_accelerated("reach-v3"), make_accelerated("reach-v3")
    before = second.model.body_pos.copy()
    first.model.body_pos[:] += 1
    np.testing.assert_array_equal(second.model.body_pos, before)
    np.testing.assert_array_equal(make_accelerated("reach-v3").model.body_pos, before)


@pytest.mark.parametrize("task", ["push-v3", "door-open-v3", "hammer-v3"])
def test_meta_world_is_not_touched(task: str) -> None:
    """An environment that somebody else makes in this process has Meta-World's own functions."""
    accelerated, original = make_accelerated(task), make_environment(task)
    assert isinstance(accelerated, type(original))
    own, theirs = (vars(type(it))["compute_reward"] for it in (accelerated, original))
    assert own.__code__ is theirs.__code__
    assert own.__globals__["np"].linalg.norm is scalars.norm
    assert own.__globals__["reward_utils"].tolerance is scalars.tolerance
    assert own.__globals__[type(original).__name__] is type(accelerated)  # for static methods
    assert theirs.__globals__["np"] is np
    assert theirs.__globals__["reward_utils"] is reward_utils
    assert theirs.__globals__[type(original).__name__] is type(original)
    assert np.linalg.norm is not scalars.norm
    assert reward_utils.tolerance is not scalars.tolerance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("task", ["push-v3", "door-open-v3", "coffee-push-v3"])
def test_actions_of_any_size_and_precision(task: str, dtype: type) -> None:
    original, own = pair(task)
    rng = np.random.default_rng(0)
    for step in range(60):
        action = rng.normal(0, (0.1, 1, 10)[step % 3], 4).astype(dtype)
        expected, found = original.step(action), own.step(action)
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1:] == expected[1:]
        assert type(found[1]) is type(expected[1])  # a float32 rounds what is done with it
        np.testing.assert_array_equal(own.data.mocap_pos, original.data.mocap_pos)


def error_of(function: Any, *args: Any) -> str:
    with pytest.raises(Exception) as caught:
        function(*args)
    return repr(caught.value)


def test_errors_are_meta_worlds() -> None:
    action = np.zeros(4, np.float32)
    untouched = make_environment("reach-v3"), make_accelerated("reach-v3")
    assert error_of(untouched[1].step, action) == error_of(untouched[0].step, action)
    original, own = pair("reach-v3")
    assert error_of(own.step, action[:3]) == error_of(original.step, action[:3])
    for environment in (original, own):
        environment.curr_path_length = environment.max_path_length - 1
        assert environment.step(action)[3]  # truncated
    assert error_of(own.step, action) == error_of(original.step, action)


def test_a_simulator_exception_ends_steps_as_in_meta_world() -> None:
    original, own = pair("reach-v3")
    action = np.full(4, 0.5, np.float32)
    for environment in (original, own):
        environment.step(action)
        environment._did_see_sim_exception = True
    expected, found = original.step(action), own.step(action)
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1:] == expected[1:]
