"""An agent as named tensors, to and from a checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor

from agent.sac import SAC
from training.checkpoints.folder import require_alike

_HEADROOM_BYTES = 2**20


def agent_tensors(agent: SAC) -> dict[str, Tensor]:
    """Parameters, masks, scales of rewards and observations, optimiser moments, by dotted name."""
    tensors = network_tensors(agent)
    for name, optimizer in agent.optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{key}": value for key, value in moments.items()}
    return tensors


def network_tensors(agent: SAC) -> dict[str, Tensor]:
    """What acting needs, and the critics."""
    return {f"model.{name}": value for name, value in agent.state_dict().items()}


def agent_bytes(agent: SAC) -> int:
    """An upper bound of `agent.safetensors`."""
    tensors = [*network_tensors(agent).values(), *_blank_moments(agent).values()]
    return sum(tensor.nbytes for tensor in tensors) + _HEADROOM_BYTES


def load_agent(agent: SAC, tensors: dict[str, Tensor], source: str) -> None:
    """Restore an agent, and its optimisers if they are among the tensors; `source` names them.

    Raises:
        UsageError: other names or shapes, or values that are not finite.
    """
    own, moments = network_tensors(agent), _blank_moments(agent)
    has_moments = any(name.startswith("optimizer.") for name in tensors)
    require_alike(own | moments if has_moments else own, tensors, source)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
    for name, optimizer in agent.optimizers.items() if has_moments else ():
        document = optimizer.state_dict()
        for key in moments:
            _, owner, index, moment = key.split(".")
            if owner == name:
                document["state"].setdefault(int(index), {})[moment] = tensors[key]
        optimizer.load_state_dict(document)


def _blank_moments(agent: SAC) -> dict[str, Tensor]:
    """What `agent_tensors` says of the optimisers after their first step: names, shapes, dtypes."""
    blank: dict[str, Tensor] = {}
    for name, optimizer in agent.optimizers.items():
        for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
            prefix = f"optimizer.{name}.{index}"
            blank[f"{prefix}.step"] = torch.zeros((), dtype=torch.float32)
            blank[f"{prefix}.exp_avg"] = blank[f"{prefix}.exp_avg_sq"] = parameter.detach()
    return blank
