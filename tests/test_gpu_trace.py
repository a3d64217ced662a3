"""Everything that would run on a GPU, run on a pretended one: the same numbers, no tensor elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import refused, resume, rows_without_time, succeed, train
from pretended_gpu import GPU, GPUTensor, generator, pretended_gpu
from torch import Tensor

import evaluate
import train_mt10
from agent import first_update
from agent.batch import Batch
from agent.first_update import learner_device
from agent.plan import Plan, resolve
from agent.replay import ReplayBuffer
from agent.sac import SAC
from benchmarks.random_batch import random_batch
from configs import Config, UsageError, load_config
from dendrites import sparse_linear
from training import streams
from training.checkpoints.tensors import agent_tensors, load_agent

CPU = torch.device("cpu")
TASKS, COPIES, ACTION = 3, 2, 4
WITHOUT_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real GPU")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine has one GPU, and the CPU multiplies as a GPU does: losers are not left out."""
    monkeypatch.setattr(sparse_linear, "skips_losers", lambda *_: False)
    for module in (streams, first_update):
        monkeypatch.setattr(module, "Generator", generator)
    with pretended_gpu():
        yield


def small(preset: str = "mt10", precision: str = "float32", **network: object) -> Config:
    config = load_config(preset)
    units = {"actor_hidden": (24, 16), "critic_hidden": (20, 16), "match_parameters": False}
    return replace(
        config,
        machine=replace(config.machine, compile="never", precision=precision),
        env=replace(config.env, tasks=config.env.task_names[:TASKS], copies_per_task=COPIES),
        replay=replace(config.replay, batch_size=24, capacity=120),
        network=replace(config.network, **(units | network)),
    )


def make(config: Config, device: torch.device) -> tuple[SAC, Plan]:
    plan = resolve(config, device)
    return SAC(plan, torch.Generator().manual_seed(0)), plan


def equal(there: Tensor, here: Tensor) -> None:
    """A tensor of the GPU has the very numbers of one of the CPU."""
    assert isinstance(there, GPUTensor)
    assert there.device == GPU
    assert torch.equal(there.detach().cpu(), here)


# --- the pretended GPU can tell ----------------------------------------------------------------


def test_tensors_of_two_devices_do_not_meet(gpu: None) -> None:
    there, here = torch.ones(3, device="cuda"), torch.ones(3)
    for meet in (
        lambda: there + here,
        lambda: torch.stack([there, here]),
        lambda: there.index_select(0, torch.tensor([1])),
        lambda: torch.where(there > 0, there, here),
        lambda: torch._foreach_lerp_([there], [here], 0.5),
    ):
        with pytest.raises(RuntimeError, match="same device"):
            meet()
    assert (there + torch.tensor(2.0)).device == GPU  # a number may come along
    there.copy_(here)
    assert torch.equal(there.to("cpu"), here)


def test_what_needs_the_memory_of_the_cpu_does_not_get_a_gpu_s(gpu: None) -> None:
    there = torch.ones(3, device="cuda")
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    with pytest.raises(RuntimeError, match="address"):
        there.data_ptr()


@pytest.mark.parametrize("left_behind", ["batch", "noise", "scale", "segments"])
def test_a_tensor_left_on_the_cpu_is_found(gpu: None, left_behind: str) -> None:
    agent, plan = make(small(), GPU)
    batch, noise = random_batch(plan, torch.Generator())
    if left_behind == "batch":
        batch = batch._replace(reward=batch.reward.cpu())
    elif left_behind == "noise":
        noise = noise.cpu()
    elif left_behind == "scale":
        agent.rewards.scale = torch.ones(TASKS)
    else:
        dendrites = agent.critic.trunk.layers[1].dendrites
        dendrites.weight = torch.nn.Parameter(dendrites.weight.detach().cpu())
    with pytest.raises(RuntimeError, match="same device"):
        agent.update(batch, noise)


# --- the parts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "precision", "network"),
    [
        ("mt10", "float32", {}),
        ("mt10", "bfloat16", {}),
        ("mt10", "float32", {"activation": "relu"}),
        ("mt10", "float32", {"kind": "mlp", "activation": "relu"}),
        ("mt10", "float32", {"context": "embedding", "gating": "gate_table"}),
        ("paper", "float32", {}),
    ],
)
def test_updates_are_those_of_the_cpu(
    gpu: None, preset: str, precision: str, network: dict[str, object]
) -> None:
    config = small(preset, precision, **network)
    (there, plan), (here, plan_here) = make(config, GPU), make(config, CPU)
    for seed in range(2):
        draw = torch.Generator().manual_seed(seed)
        metrics = there.update(*random_batch(plan, draw))
        expected = here.update(*random_batch(plan_here, draw.manual_seed(seed)))
        for key, value in expected.items():
            equal(metrics[key], value)
    expected = agent_tensors(here)
    for name, tensor in agent_tensors(there).items():
        equal(tensor, expected[name])


def test_a_checkpoint_goes_to_the_cpu_and_back(gpu: None) -> None:
    agent, plan = make(small(), GPU)
    agent.update(*random_batch(plan, torch.Generator()))
    saved = {name: tensor.detach().cpu() for name, tensor in agent_tensors(agent).items()}
    for device in (GPU, CPU):
        other, _ = make(small(), device)
        load_agent(other, saved, "test")
        restored = agent_tensors(other)
        assert restored.keys() == saved.keys()
        for name, tensor in restored.items():
            assert tensor.device == device
            assert torch.equal(tensor.detach().cpu(), saved[name])
        other.update(*random_batch(resolve(small(), device), torch.Generator()))


def test_the_policy_acts_as_on_the_cpu_after_the_scales_have_changed(gpu: None) -> None:
    (there, plan), (here, _) = make(small(), GPU), make(small(), CPU)
    draw = np.random.default_rng(0)
    obs = draw.normal(size=(TASKS, COPIES, plan.obs_size)).astype(np.float32)
    reward, done = obs[..., 0], np.ones((TASKS, COPIES), bool)
    for agent in (there, here):
        agent.observations.observe(obs, done)
        agent.rewards.observe(reward, done, ~done)
    equal(there.observations.spread, here.observations.spread)
    equal(there.rewards.scale, here.rewards.scale)
    noise = torch.randn(TASKS, COPIES, ACTION)
    for given in (noise, None):
        assert np.array_equal(there.policy.act(obs, given), here.policy.act(obs, given))


@pytest.mark.parametrize("n_step", [1, 3])
def test_the_replay_buffer_gives_the_batches_of_the_cpu(gpu: None, n_step: int) -> None:
    sizes = (TASKS, COPIES, 60, 5, ACTION)
    there, here = (
        ReplayBuffer(*sizes, device, discount=0.9, n_step=n_step) for device in (GPU, CPU)
    )
    draw = torch.Generator().manual_seed(0)
    for step in range(13):  # the ring of 10 comes round
        features = torch.randn(3, TASKS, COPIES, 5, generator=draw)
        ended = torch.rand(3, TASKS, COPIES, generator=draw) < 0.2
        lost = ended[2] if step else None
        values = (features[0], features[1, ..., :ACTION], features[1, ..., 4], features[2])
        for buffer in (there, here):
            buffer.add(*values, *ended[:2], lost)
    stored = here.state_dict()
    for name, tensor in there.state_dict().items():
        assert tensor.device == CPU
        assert torch.equal(tensor, stored[name])
    there.load_state_dict(stored)
    draws = [generator(device).manual_seed(0) for device in (GPU, CPU)]
    for sampling in ("balanced", "uniform"):
        equal_batches(
            *(b.sample(sampling, 12, g) for b, g in zip((there, here), draws, strict=True))
        )
    equal_batches(there.newest(7), here.newest(7))
    equal_batches(here.newest(7).to(GPU), here.newest(7))


def equal_batches(there: Batch, here: Batch) -> None:
    for mine, theirs in zip(there, here, strict=True):
        assert (mine is None) == (theirs is None)
        if theirs is not None:
            equal(mine, theirs)


# --- the first update --------------------------------------------------------------------------


def on_device(name: str) -> Config:
    config = small()
    return replace(config, machine=replace(config.machine, device=name))


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_gpu_that_does_an_update_is_taken(gpu: None, name: str) -> None:
    assert learner_device(on_device(name)).type == "cuda"


@pytest.mark.parametrize("name", ["auto", "cpu"])
@WITHOUT_CUDA
def test_the_cpu_is_not_tried(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_update, "update_once", lambda plan: pytest.fail("tried"))
    assert learner_device(on_device(name)) == CPU


@WITHOUT_CUDA
def test_a_gpu_that_fails_is_left_alone_by_auto_and_an_error_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Torch without CUDA is told that there is a GPU, and really fails to use it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    command = ("--config", "smoke", "--dry-run", "--machine.device")
    done = succeed(train_mt10.main, *command, "auto")
    assert done.stderr.startswith("note: on the CPU: the first update on the GPU fails (")
    assert len(done.stderr.splitlines()) == 1
    assert "CPU threads" in done.stdout
    said = refused(train_mt10.main, *command, "cuda")
    assert "--machine.device cuda: the first update fails there (" in said
    assert "use --machine.device cpu" in said


def test_numbers_that_are_not_finite_are_a_failure(gpu: None) -> None:
    config = on_device("cuda")
    config = replace(config, agent=replace(config.agent, initial_temperature=math.inf))
    with pytest.raises(UsageError, match="not finite"):
        learner_device(config)


# --- the whole ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_is_that_of_the_cpu_goes_on_and_is_evaluated(gpu: None, tmp_path: Path) -> None:
    few = ("--training.updates-per-vector-step", "0.05", "--machine.compile", "never")
    rows = {}
    for device in ("cpu", "cuda"):
        run = tmp_path / device
        where = (*few, "--machine.device", device, "--machine.precision", "float32")
        train(run, *where, "--total-env-steps", 400)
        rows[device] = rows_without_time(run)
        resume(run, "--total-env-steps", 420)
    assert rows["cuda"] == rows["cpu"]
    succeed(evaluate.main, run, "--device", "cuda", "--goals", 1, "--workers", 1)
