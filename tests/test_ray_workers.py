"""Simulators as actors of Ray's: the same numbers as in processes, whoever is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from conftest import ROOT, TINY, assert_same_steps, in_process, resume, rows_written, wait_until
from numpy.random import SeedSequence
from torch import Generator

import train_mt10
from agent.plan import resolve
from agent.player import PolicyPlayer, exploring_player
from agent.sac import SAC
from configs import UsageError, load_config
from configs.schema import ExplorationConfig
from envs import GoalLists, MetaWorldVectorEnv, Step, WorkerError
from machine.ray_cluster import connect_ray
from tests.stress.clusters import RayNodes, two_ray_nodes
from tests.stress.small_run import differences
from training.checkpoints.folder import find_checkpoint, load_state

TASKS = ("reach-v3", "drawer-close-v3")
CHUNKS = (5, 5, 3, 5, 5)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Of this process; two cores."""
    pytest.importorskip("ray")
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        _system_config={"worker_niceness": 0},  # by default its workers starve next to other tests
    )
    assert connect_ray(None, "", "") is ray  # the one that is there
    yield
    ray.shutdown()


def make(goal_lists: GoalLists, player: PolicyPlayer, method: str, **options: object):
    return MetaWorldVectorEnv(
        TASKS,
        goal_lists,
        **{
            **{"copies": 3, "horizon": 12, "stagger": True, "seed": SeedSequence(7)},
            **{"player": player, "longest_chunk": 5, "workers": 2, "start_method": method},
            **options,
        },
    )


@pytest.fixture(scope="module")
def player() -> PolicyPlayer:
    config = load_config("smoke")
    network = replace(config.network, actor_hidden=(16, 12), critic_hidden=(8,), num_segments=3)
    config = replace(config, env=replace(config.env, tasks=TASKS), network=network)
    agent = SAC(resolve(config, torch.device("cpu")), Generator().manual_seed(0))
    noise = ExplorationConfig(noise_correlation=0.7, hold_rate=0.2, hold_steps=4)
    return exploring_player(agent.policy, 2, noise)


def play(envs: MetaWorldVectorEnv, chunks: tuple[int, ...], generator: Generator) -> list[Step]:
    steps: list[Step] = []
    for chunk in chunks:
        envs.play_async(chunk, generator=generator)
        steps += envs.play_wait()
    return steps


def actors() -> list[psutil.Process]:
    """Of this process's cluster: another test may have its own at the same time."""
    own = {child.pid for child in psutil.Process().children(recursive=True)}
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid in own and "ray::RemoteShare" in " ".join(process.info["cmdline"] or [])
    ]


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_actors_play_as_processes_do(
    cluster: None, goal_lists: GoalLists, player: PolicyPlayer
) -> None:
    """Chunks that the player acts in, given actions, tasks that stand still, and episodes resumed."""
    found = {}
    given = np.random.default_rng(1).uniform(-1, 1, (4, 2, 3, 4)).astype(np.float32)
    for method in ("spawn", "ray"):
        generator = Generator().manual_seed(3)
        with make(goal_lists, player, method) as envs:
            envs.reset()
            steps = play(envs, CHUNKS, generator)
            envs.play_async(4, actions=given)
            steps += envs.play_wait()
            envs.play_async(5, tasks=np.array([1]), generator=generator)
            alone = envs.play_wait()
            state = envs.state_dict()
            assert envs.busy_s > 0
        with make(goal_lists, player, method) as envs:
            obs = envs.load_state_dict(state)
            found[method] = steps, alone, state, obs, play(envs, (5,), generator)
    one, other = found["spawn"], found["ray"]
    for index in (0, 1, 4):
        assert_same_steps(one[index], other[index])
    np.testing.assert_array_equal(one[3], other[3])
    for name, value in one[2].items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other[2][name], err_msg=name)
    wait_until(lambda: not actors())  # closed


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_actor_is_replaced(
    cluster: None, goal_lists: GoalLists, player: PolicyPlayer, harm: signal.Signals
) -> None:
    with make(goal_lists, player, "spawn") as envs:
        envs.reset()
        expected = play(envs, CHUNKS, Generator().manual_seed(3))
    generator = Generator().manual_seed(3)
    with make(goal_lists, player, "ray", step_timeout_s=5) as envs:
        envs.reset()
        steps = play(envs, CHUNKS[:2], generator)
        os.kill(actors()[0].pid, harm)
        steps += play(envs, CHUNKS[2:], generator)
    assert_same_steps(steps, expected)
    assert sum(step.worker_restarts for step in steps) == 1


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_what_an_actor_raises_is_told(
    cluster: None, goal_lists: GoalLists, player: PolicyPlayer
) -> None:
    with make(goal_lists, player, "ray", max_worker_restarts=0) as envs:
        envs.reset()
        envs._arrays.goal[:] = 99  # no such goal
        with pytest.raises(WorkerError, match=r"raised: reach-v3, goal 99: IndexError"):
            envs.reset(np.full((2, 3), 99))


@pytest.mark.slow
@pytest.mark.timeout(100)
def test_an_actor_that_cannot_begin_says_why(cluster: None, goal_lists: GoalLists) -> None:
    unknown = {"no-such-task": goal_lists["reach-v3"]}
    options = {"seed": SeedSequence(7), "workers": 1, "start_method": "ray"}
    with (
        MetaWorldVectorEnv(("no-such-task",), unknown, **options) as envs,
        pytest.raises(WorkerError, match=r"raised: .*no-such-task"),
    ):
        envs.reset()


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_more_workers_than_cores_are_refused(
    cluster: None, goal_lists: GoalLists, player: PolicyPlayer
) -> None:
    with pytest.raises(UsageError, match=r"--machine.workers 6: the Ray cluster has 2 cores"):
        make(goal_lists, player, "ray", workers=6)


def test_without_ray_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # what an import of it finds
    done = in_process(
        train_mt10.main, *TINY, "--out", tmp_path / "run", "--machine.workers-backend", "ray"
    )
    assert done.returncode == 2
    assert "pip install '.[ray]', or use --machine.workers-backend processes" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_run_with_simulators_on_two_nodes_is_the_same_run(tiny_run: Path, tmp_path: Path) -> None:
    """Stopped in between, and with one of the nodes killed; bit for bit."""
    pytest.importorskip("ray")
    (tmp_path / "cluster").mkdir()
    out = tmp_path / "run"
    with two_ray_nodes(tmp_path / "cluster") as nodes:
        where = ("--machine.workers-backend", "ray", "--machine.ray-address", nodes.address)
        more = ("--machine.workers", "2", "--machine.worker-restarts", "1000")
        run = _start(*TINY, *where, *more, "--out", str(out), nodes=nodes)
        wait_until(lambda: rows_written(out) >= 1)
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=60) == 128 + signal.SIGTERM
        before = rows_written(out)
        run = _start("--resume", str(out), nodes=nodes)
        wait_until(lambda: rows_written(out) > before)
        assert run.poll() is None
        nodes.kill_other()
        assert run.wait(timeout=200) == 0
    found = differences(tiny_run, out, ignore=("train/worker_restarts",))
    assert [what for what in found if not what.endswith("state.json")] == []  # it has the machine
    mine, theirs = (load_state(find_checkpoint(run)) for run in (tiny_run, out))
    assert theirs["progress"]["worker_restarts"] >= 1
    assert theirs["config"].pop("machine")["workers_backend"] == "ray"
    del mine["config"]["machine"]
    for state in (mine, theirs):
        for clock in ("metrics_bytes", "elapsed_hours", "worker_restarts"):
            del state["progress"][clock]
    assert mine == theirs
    assert (
        resume(out, "--machine.workers-backend", "processes").returncode == 0
    )  # done: nothing left


def _start(*arguments: str, nodes: RayNodes) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "train_mt10.py", *arguments],
        cwd=ROOT,
        env=nodes.environment,
        stdout=subprocess.DEVNULL,
    )
