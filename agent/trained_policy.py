"""A trained agent from a run folder, a checkpoint or an export: what `evaluate.py` starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from agent.agent_tensors import load_agent
from agent.checkpoint import find_checkpoint, load_part, load_state
from agent.checksums import refuse_links
from agent.counters import parse_counters
from agent.forecast import least_agent_bytes, require_network_memory
from agent.sac import SAC
from agent.seeding import seed_streams, torch_generator
from configs import Config, UsageError, parse_recorded_config
from envs.goals import ACTION_SIZE, OBS_SIZE

_MOST_PER_LEAST = 8  # two moments of each weight, target critics, masks
_HEADROOM_BYTES = 2**20


@dataclass(frozen=True)
class TrainedPolicy:
    """An agent and where it comes from."""

    agent: SAC
    config: Config
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
    refuse_links(
        path.resolve()
    )  # what they lead to is not a stranger's to evaluate, or to write to
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
    counters = parse_counters(state["counters"], source)
    # The file first: a network that is not in it is not built.
    least = least_agent_bytes(config)
    tensors = load_part(checkpoint, "agent", _MOST_PER_LEAST * least + _HEADROOM_BYTES)
    if sum(tensor.nbytes for tensor in tensors.values()) < least:
        raise UsageError(
            f"{source}: its config is of a larger network than agent.safetensors; use another "
            "checkpoint"
        )
    require_network_memory(config, device)
    initial = torch_generator(seed_streams(0)["weights"])  # all are replaced
    agent = SAC(config, OBS_SIZE, ACTION_SIZE, device, initial)
    load_agent(agent, tensors, f"{checkpoint}/agent.safetensors")
    versions = {str(name): str(version) for name, version in state["versions"].items()}
    return TrainedPolicy(agent, config, counters.env_steps, versions)
