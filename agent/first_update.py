"""An update of zeros: tries a GPU before it is used, and lets the compiler begin early."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import Generator, Tensor

from agent.batch import Batch
from agent.plan import Plan, resolve
from agent.replay import ReplayBuffer
from agent.sac import SAC
from configs.errors import UsageError
from configs.schema import Config
from machine.device import resolve_device

logger = logging.getLogger(__name__)


def learner_device(config: Config) -> torch.device:
    """The device that a config names, if it can do an update; `auto` falls back to the CPU.

    The CPU is not tried. What is tried on a GPU is one update, without the compiler, of an agent and a
    batch of the run's sizes: a driver or a build of torch that does not fit, or too little memory,
    shows here rather than minutes later. A compiler that fails is no reason to leave the GPU: the
    update then goes on without it (`machine/compilation.py`).

    Raises:
        UsageError: there is no such device, or it was asked for by name and fails.
    """
    name = config.machine.device
    device = resolve_device(name)
    if device.type == "cpu":
        return device
    try:
        plain = replace(config, machine=replace(config.machine, compile="never"))
        update_once(resolve(plain, device))
        torch.cuda.empty_cache()
    except Exception as error:  # the exceptions of CUDA have no common base
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        if name != "auto":
            raise UsageError(
                f"--machine.device {name}: the first update fails there ({said}); use "
                "--machine.device cpu"
            ) from error
        logger.info("on the CPU: the first update on the GPU fails (%s)", said)
        return torch.device("cpu")
    return device


def update_once(plan: Plan) -> None:
    """Learn from a batch of zeros.

    Raises:
        RuntimeError: its results are not finite; or whatever the device raises.
    """
    metrics = SAC(plan, Generator()).update(*blank_batch(plan))
    # Reading the results waits for the device, so that what went wrong on it shows here.
    if not all(value.isfinite().all() for value in metrics.values()):
        raise RuntimeError("its results are not finite")


def blank_batch(plan: Plan) -> tuple[Batch, Tensor]:
    """A batch and noise of the run's shapes, sampled from one vector step of zeros."""
    config, shape = plan.config, (len(plan.tasks), plan.config.env.copies_per_task)
    replay = ReplayBuffer(
        *shape,
        shape[0] * shape[1],
        plan.obs_size,
        plan.action_size,
        plan.replay_device,
        discount=config.agent.discount,
        n_step=config.agent.n_step,
    )
    obs, action = torch.zeros(*shape, plan.obs_size), torch.zeros(*shape, plan.action_size)
    reward, no = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    replay.add(obs, action, reward, obs, no, no)
    shares = None if config.env.treats_all_alike else torch.ones(shape[0])
    batch = replay.sample(
        config.replay.sampling, config.replay.batch_size, Generator(plan.replay_device), shares
    ).to(plan.device)
    return batch, torch.zeros(2, *batch.action.shape, device=plan.device)
