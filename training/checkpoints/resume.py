"""A training run to and from a checkpoint.

Resuming equals never having stopped, so all of `RunState` is saved: networks, masks, optimiser
moments, temperatures, replay buffer, scales of returns and observations, exploration noise, held
actions, every generator, the running episodes, counters, and metrics gathered since the last row.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from configs.errors import UsageError
from configs.loading import fixed_changes, parse_recorded_config
from envs import NonFiniteError
from envs.arrays import require_range
from machine.fingerprint import fingerprint, log_differences
from training.checkpoints.folder import (
    BEST,
    NEWEST,
    load_part,
    load_state,
    save_checkpoint,
)
from training.checkpoints.tensors import agent_bytes, agent_tensors, load_agent, network_tensors
from training.metrics.keys import metric_keys
from training.metrics.rows import by_task
from training.progress import parse_progress, updates_due
from training.run_state import RunState

_HEADROOM_BYTES = 2**20
_GENERATOR_BYTES = (len(Generator().get_state()), 16)  # on the CPU, on a GPU


def save_newest(run: RunState, folder: Path) -> Path:
    """Write the newest checkpoint into the run's `checkpoints/` and return its path.

    Raises:
        NonFiniteError: a number of the agent is NaN or infinite; nothing is written.
        OSError: disk full, folder gone or read-only; the older checkpoint is still there.
    """
    simulators = run.collector.envs.state_dict()
    loop: dict[str, Tensor] = {
        f"generator.{name}": generator.get_state() for name, generator in run.generators.items()
    }
    groups = {prefix: part.state_dict() for prefix, part in run.collector.parts().items()}
    groups["envs"] = {key: simulators[key] for key in simulators if key != "generators"}
    for prefix, arrays in groups.items():
        loop |= {f"{prefix}.{key}": torch.from_numpy(value) for key, value in arrays.items()}
    parts = {
        "agent": _finite(agent_tensors(run.agent)),
        "replay": run.replay.state_dict(),
        "loop": loop,
    }
    state = {
        **_header(run),
        "machine": fingerprint(run.plan.device, run.plan.precision),
        "goal_generators": simulators["generators"],
        "metrics": run.metrics.state_dict(),
    }
    return save_checkpoint(folder, NEWEST, run.progress.env_steps, parts, state)


def save_best(run: RunState, folder: Path) -> Path:
    """Write the best checkpoint: networks only, for `evaluate.py`; it can't be resumed."""
    parts = {"agent": _finite(network_tensors(run.agent))}
    return save_checkpoint(folder, BEST, run.progress.env_steps, parts, _header(run))


def restore(run: RunState, checkpoint: Path) -> None:
    """Load a checkpoint into the live objects.

    Raises:
        UsageError: it is damaged, of another network, or can't be resumed.
    """
    state = load_state(checkpoint)
    if "goal_generators" not in state:
        raise UsageError(f"{checkpoint}: holds networks only; resume from checkpoints/step_*")
    source = f"{checkpoint}/state.json"
    recorded = parse_recorded_config(state["config"], source=f"{source}: config")
    for key in fixed_changes(recorded, run.plan.config):
        raise UsageError(f"{source}: '{key}' is another one than in config.yaml; another run?")
    vars(run.progress).update(vars(parse_progress(state["progress"], source)))
    agent = load_part(checkpoint, "agent", agent_bytes(run.agent))
    load_agent(run.agent, agent, f"{checkpoint}/agent.safetensors")
    own_bytes = sum(store.nbytes for store in run.replay.storage.values())
    replay = load_part(checkpoint, "replay", own_bytes + _HEADROOM_BYTES)
    loop = load_part(checkpoint, "loop", _loop_bytes(run) + _HEADROOM_BYTES)
    try:
        run.replay.load_state_dict(replay)
        require_range("action", replay["action"].numpy(), -1, 1)
        for name, generator in run.generators.items():
            _restore_generator(run, generator, loop[f"generator.{name}"])
        for prefix, part in run.collector.parts().items():
            part.load_state_dict(_group(loop, prefix))
        run.metrics.load_state_dict(state["metrics"])
        unknown = set(by_task(run.metrics.means(), run.plan.tasks)) - set(
            metric_keys(run.plan.config)
        )
        if unknown:
            raise ValueError(f"metrics that this version has not: {sorted(unknown)}")
        simulators = {**_group(loop, "envs"), "generators": state["goal_generators"]}
        run.collector.obs = run.collector.envs.load_state_dict(simulators)
        _require_agreement(run)
        log_differences(state["machine"], fingerprint(run.plan.device, run.plan.precision))
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UsageError(f"{checkpoint}: can't be resumed ({error!r:.200})") from error


def _require_agreement(run: RunState) -> None:
    """Raise `ValueError` if the parts of a checkpoint are not of one moment."""
    progress = run.progress
    copies, most = run.replay.copies, run.collector.envs.num_envs
    steps = progress.vector_steps
    if progress.env_steps % copies or not steps * copies <= progress.env_steps <= steps * most:
        raise ValueError("'env_steps' and 'vector_steps' do not agree")
    for what in ("log", "evaluation", "checkpoint"):
        if getattr(progress, f"last_{what}_env_steps") > progress.env_steps:
            raise ValueError(f"'last_{what}_env_steps' is beyond 'env_steps'")
    done, chunk = progress.env_steps, run.plan.config.training.chunk_vector_steps * most
    before, after = (updates_due(max(0, n), run.plan.config) for n in (done - chunk, done + chunk))
    # In the first chunk nothing is learned, and one that failed may have learned already.
    if not before <= progress.gradient_steps <= after:
        raise ValueError("'gradient_steps' is not what was due")
    replay, written = run.replay, run.collector.shares.steps
    if written.sum() * copies != progress.env_steps:
        raise ValueError("steps of the tasks and 'env_steps' do not agree")
    for name, expected in (
        ("stored", np.minimum(written, replay.length)),
        ("position", written % replay.length),
    ):
        if not np.array_equal(getattr(replay, name).numpy(), expected):
            raise ValueError(f"'{name}' of the replay buffer is not what was collected")
    elapsed = run.collector.envs.state_dict()["elapsed"]
    parts = run.collector.parts()
    for lengths in (parts["returns"].state_dict(), parts["episodes"].state_dict()):
        if not np.array_equal(lengths["length"].ravel(), elapsed):
            raise ValueError("lengths of the running episodes do not agree")


def _restore_generator(run: RunState, generator: Generator, saved: Tensor) -> None:
    if len(saved) == len(generator.get_state()):
        generator.set_state(saved)
        return
    if len(saved) not in _GENERATOR_BYTES:
        raise ValueError(f"a generator's state has {len(saved)} bytes")
    # A GPU's generator can't go on where the CPU's stopped, nor the other way round.
    generator.manual_seed(generator.initial_seed() + run.progress.env_steps)


def _loop_bytes(run: RunState) -> int:
    """An upper bound of `loop.safetensors`."""
    arrays = [
        array for part in run.collector.parts().values() for array in part.state_dict().values()
    ]
    states = [generator.get_state() for generator in run.generators.values()]
    return (
        sum(array.nbytes for array in arrays)
        + sum(s.nbytes for s in states)
        + run.collector.envs.state_bytes
    )


def _header(run: RunState) -> dict[str, Any]:
    return {"config": asdict(run.plan.config), "progress": asdict(run.progress)}


def _finite(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors; what is not finite never gets into a checkpoint."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise NonFiniteError(
                f"{name} of the agent is not finite; no checkpoint is written of it"
            )
    return tensors


def _group(tensors: dict[str, Tensor], prefix: str) -> dict[str, NDArray]:
    """The arrays whose names begin with `prefix.`, without it."""
    return {
        name.removeprefix(f"{prefix}."): tensor.numpy()
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }
