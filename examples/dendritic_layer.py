"""Dendritic layers by themselves: four tasks share their inputs, and each has its own labels.

A network that is not told the task can at best answer as most tasks would. Run from the folder that
holds `dendrites/`: `python -m examples.dendritic_layer`.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from dendrites import DendriticLayer

TASKS, INPUTS, UNITS = 4, 8, 64
CONTEXT = torch.eye(TASKS).unsqueeze(1)  # [T, 1, T]: one context per task, for all its samples


def layer(inputs: int, context_size: int | None) -> DendriticLayer:
    """One of TASKS features of a context is 1; a layer that knows starts with gates that differ."""
    density = 1 / TASKS
    return DendriticLayer(
        inputs, UNITS, context_size=context_size, context_density=density, winners=0.25
    )


class Network(nn.Module):
    """Two layers and a plain head; without a context size, layers without dendrites."""

    def __init__(self, context_size: int | None) -> None:
        super().__init__()
        self.first, self.second = layer(INPUTS, context_size), layer(UNITS, context_size)
        self.head = nn.Linear(UNITS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`x [T, b, in] -> [T, b]`, positive for label 1."""
        return self.head(self.second(self.first(x, CONTEXT), CONTEXT)).squeeze(-1)


def main() -> dict[str, float]:
    """Print and return the accuracies; "best without context" is what is possible at all."""
    torch.manual_seed(0)
    networks = {"with context": Network(TASKS), "without context": Network(None)}
    rules, new = torch.randn(TASKS, INPUTS), torch.randn(5000, INPUTS)
    answers = rules @ new.T > 0  # [T, 5000]: a task's label is 1 if x . rule > 0
    accuracy = {}
    for name, network in networks.items():
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(400):
            x = torch.randn(64, INPUTS)
            logits, labels = network(x.expand(TASKS, -1, -1)), (rules @ x.T > 0).float()
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(logits, labels).backward()
            optimizer.step()
        right = (network(new.expand(TASKS, -1, -1)) > 0) == answers
        accuracy[name] = right.float().mean().item()
    share = answers.float().mean(dim=0)  # of tasks whose label is 1
    accuracy["best without context"] = torch.maximum(share, 1 - share).mean().item()
    print(first := networks["with context"].first)
    gates = first.gate(CONTEXT[:, 0])  # [T, units]
    for task, gate in enumerate([] if gates is None else gates[:, :8].tolist()):
        print(f"task {task}, gates of eight units:", *(f"{value:.2f}" for value in gate))
    print(*(f"{name}: {value:.1%}" for name, value in accuracy.items()), sep="\n")
    return accuracy


if __name__ == "__main__":
    main()
