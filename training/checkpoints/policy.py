"""A trained agent from a run folder, a checkpoint or an export: what `evaluate.py` starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from agent.plan import Plan, resolve
from agent.sac import SAC
from configs import UsageError, parse_recorded_config
from training.checkpoints.checksums import refuse_links
from training.checkpoints.folder import find_checkpoint, load_part, load_state
from training.checkpoints.tensors import load_agent
from training.forecast import least_agent_bytes, require_network_memory
from training.progress import parse_progress
from training.streams import seed_streams, torch_generator

_MOST_PER_LEAST = 9
"""Of each weight: itself, its target, two moments, three tensors that protect it, two masks."""
_HEADROOM_BYTES = 2**20


@dataclass(frozen=True)
class TrainedPolicy:
    """An agent and where it comes from."""

    agent: SAC
    plan: Plan
    env_steps: int
    """Environment steps that it was trained for."""
    versions: dict[str, str]
    """Packages that it was trained with."""


def load_policy(path: Path, device: torch.device) -> TrainedPolicy:
    """The agent of the newest checkpoint in `path`, or of the checkpoint that it is.

    The run may still be training: a checkpoint that it replaces meanwhile is not mixed with the next.

    Raises:
        UsageError: there is none, it is damaged, holds links, or is of another version of this project.
    """
    find_checkpoint(path)
    refuse_links(path.resolve())  # what they lead to is not a stranger's to evaluate
    while True:
        checkpoint = find_checkpoint(path)
        try:
            return _load(checkpoint, device)
        except UsageError:
            if find_checkpoint(path) == checkpoint:
                raise


def _load(checkpoint: Path, device: torch.device) -> TrainedPolicy:
    state = load_state(checkpoint)
    source = f"{checkpoint}/state.json"
    config = parse_recorded_config(state["config"], source=f"{source}: config")
    progress = parse_progress(state["progress"], source)
    plan = resolve(config, device)
    # The file first: a network that is not in it is not built.
    least = least_agent_bytes(plan)
    tensors = load_part(checkpoint, "agent", _MOST_PER_LEAST * least + _HEADROOM_BYTES)
    if sum(tensor.nbytes for tensor in tensors.values()) < least:
        raise UsageError(
            f"{source}: its config is of a larger network than agent.safetensors; use another "
            "checkpoint"
        )
    require_network_memory(plan)
    agent = SAC(plan, torch_generator(seed_streams(0)["weights"]))  # weights to be replaced
    load_agent(agent, tensors, f"{checkpoint}/agent.safetensors")
    versions = {str(name): str(version) for name, version in state["versions"].items()}
    return TrainedPolicy(agent, plan, progress.env_steps, versions)
