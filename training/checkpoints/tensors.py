"""An agent as named tensors, to and from a checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor

from agent.sac import SAC
from training.checkpoints.folder import require_alike

_HEADROOM_BYTES = 2**20


def agent_tensors(agent: SAC) -> dict[str, Tensor]:
    """Parameters, masks, scales of rewards and observations, optimiser moments, by dotted name.

    With Synaptic Intelligence also importance, anchors and gains of what it holds.
    """
    return network_tensors(agent) | _moments(agent) | _protection(agent)


def network_tensors(agent: SAC) -> dict[str, Tensor]:
    """What acting needs, and the critics."""
    return {f"model.{name}": value for name, value in agent.state_dict().items()}


def agent_bytes(agent: SAC) -> int:
    """An upper bound of `agent.safetensors`."""
    return sum(tensor.nbytes for tensor in agent_tensors(agent).values()) + _HEADROOM_BYTES


def load_agent(agent: SAC, tensors: dict[str, Tensor], source: str) -> None:
    """Restore an agent, and its optimisers if they are among the tensors; `source` names them.

    Raises:
        UsageError: other names or shapes, or values that are not finite.
    """
    has_moments = any(name.startswith("optimizer.") for name in tensors)
    own = agent_tensors(agent) if has_moments else network_tensors(agent)
    require_alike(own, tensors, source)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def _moments(agent: SAC) -> dict[str, Tensor]:
    return {
        f"optimizer.{name}.{key}": value
        for name, descent in agent.descents.items()
        for key, value in descent.state_dict().items()
    }


def _protection(agent: SAC) -> dict[str, Tensor]:
    return {
        f"protection.{name}.{key}": value
        for name, descent in agent.descents.items()
        if descent.protection is not None
        for key, value in descent.protection.state_dict().items()
    }
