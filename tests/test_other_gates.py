"""FiLM and the gating MLP against naive loops, in every layout; equal parameters; attention's limit."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from agent.sizing import count_agent, count_parameters, matched_network
from configs.agent import AgentConfig
from configs.network import NetworkConfig
from dendrites import DendriticLayer, DendriticSegments, FiLM, GatingMLP, nonzero_parameters
from dendrites.segments import select_segment

UNITS, CONTEXT, TASKS, PER_TASK = 5, 6, 3, 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def film(stack: int | None = None) -> FiLM:
    module = FiLM(UNITS, CONTEXT, stack=stack).double()
    module.weight.data = randn(*module.weight.shape, seed=5)
    return module


def gating_mlp(stack: int | None = None) -> GatingMLP:
    return GatingMLP(UNITS, CONTEXT, num_segments=4, stack=stack, generator=seeded()).double()


def naive_film(module: FiLM, y: list[float], c: list[float]) -> list[float]:
    rows = module.weight.tolist()
    gamma = [sum(w * x for w, x in zip(row, c, strict=True)) for row in rows[:UNITS]]
    beta = [sum(w * x for w, x in zip(row, c, strict=True)) for row in rows[UNITS:]]
    return [one * (1 + g) + b for one, g, b in zip(y, gamma, beta, strict=True)]


def naive_gating_mlp(module: GatingMLP, y: list[float], c: list[float]) -> list[float]:
    hidden = [
        max(0.0, sum(w * x for w, x in zip(row, c, strict=True)) + b)
        for row, b in zip(module.hidden_weight.tolist(), module.hidden_bias.tolist(), strict=True)
    ]
    outputs = []
    for one, row, b in zip(y, module.weight.tolist(), module.bias.tolist(), strict=True):
        d = sum(w * h for w, h in zip(row, hidden, strict=True)) + b
        outputs.append(one / (1 + math.exp(-d)))
    return outputs


@pytest.mark.parametrize(("make", "naive"), [(film, naive_film), (gating_mlp, naive_gating_mlp)])
def test_a_gate_is_its_definition(make, naive) -> None:
    module, y, context = make(), randn(7, UNITS), randn(7, CONTEXT, seed=2)
    expected = [naive(module, *rows) for rows in zip(y.tolist(), context.tolist(), strict=True)]
    torch.testing.assert_close(module(y, context), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("make", [film, gating_mlp])
@pytest.mark.parametrize("stack", [None, 2])
def test_a_gate_once_per_task_is_one_for_each_sample(make, stack: int | None) -> None:
    lead = () if stack is None else (stack,)
    module = make(stack)
    y, context = randn(*lead, TASKS, PER_TASK, UNITS), randn(*lead, TASKS, CONTEXT, seed=2)
    per_sample = context.unsqueeze(-2).expand(*lead, TASKS, PER_TASK, CONTEXT)
    once = module(y, context.unsqueeze(-2))
    torch.testing.assert_close(module(y, per_sample), once, rtol=1e-12, atol=1e-12)
    for copy in range(stack or 0):
        single = make()
        for own, whole in zip(single.parameters(), module.parameters(), strict=True):
            own.data.copy_(whole.data[copy])
        torch.testing.assert_close(single(y[copy], context[copy].unsqueeze(-2)), once[copy])


@pytest.mark.parametrize("make", [film, gating_mlp])
def test_gradients_pass_gradcheck(make) -> None:
    module, y, context = make(), randn(3, UNITS), randn(3, CONTEXT, seed=2)
    names = [name for name, _ in module.named_parameters()]

    def run(y: Tensor, context: Tensor, *weights: Tensor) -> Tensor:
        values = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(module, values, (y, context))

    leaves = [y, context, *(one.detach() for one in module.parameters())]
    assert torch.autograd.gradcheck(run, [leaf.requires_grad_() for leaf in leaves])


def test_film_starts_without_an_effect() -> None:
    y = randn(2, UNITS).float()
    assert torch.equal(FiLM(UNITS, CONTEXT)(y, torch.ones(2, CONTEXT)), y)


def test_attention_is_abs_max_in_the_limit_and_the_mean_far_from_it() -> None:
    activations = randn(4, UNITS)
    winner = select_segment(activations, "abs_max_signed")
    torch.testing.assert_close(select_segment(activations, "attention", 1e-3), winner)
    mean = activations.mean(dim=-2)
    torch.testing.assert_close(select_segment(activations, "attention", 1e9), mean)


def test_every_segment_gets_a_gradient_from_attention() -> None:
    segments = DendriticSegments(UNITS, CONTEXT, gating="attention", attention_temperature=1.0)
    segments.gate(torch.ones(CONTEXT)).sum().backward()
    assert segments.weight.grad is not None
    assert (segments.weight.grad != 0).all()


@pytest.mark.parametrize("gating", ["film", "gating_mlp", "attention"])
def test_a_layer_with_it_counts_the_parameters_that_it_has(gating) -> None:
    config = NetworkConfig(gating=gating, actor_hidden=(32, 24))
    layers = [
        DendriticLayer(before, after, context_size=TASKS, gating=gating, layer_norm=True)
        for before, after in ((39, 32), (32, 24))
    ]
    built = sum(nonzero_parameters(layer) for layer in layers) + (24 + 1) * 8
    assert count_parameters(config, (32, 24), TASKS, 39, 8) == built


@pytest.mark.parametrize("kind", ["film", "gating_mlp", "attention", "mlp"])
@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_networks_are_matched_within_a_percent(kind, factor: float) -> None:
    agent, dendrites = AgentConfig(), NetworkConfig()
    own = replace(dendrites, kind="mlp") if kind == "mlp" else replace(dendrites, gating=kind)
    network = matched_network(replace(own, parameter_factor=factor), 10, 39, 4, agent)
    goals = count_agent(dendrites, 10, 39, 4, agent)
    for found, goal in zip(count_agent(network, 10, 39, 4, agent), goals, strict=True):
        assert found == pytest.approx(factor * goal, rel=0.01)


@pytest.mark.parametrize("gating", ["film", "gating_mlp", "abs_max_signed", "attention"])
@pytest.mark.parametrize("stack", [None, 2])
def test_a_context_of_another_size_is_refused_in_one_line(gating, stack: int | None) -> None:
    layer = DendriticLayer(8, UNITS, context_size=CONTEXT, gating=gating, stack=stack)
    lead = () if stack is None else (stack,)
    with pytest.raises(ValueError, match=r"^context must have size 6, got 4$"):
        layer.gate(torch.ones(*lead, 3, 4))
    if stack is not None:
        with pytest.raises(ValueError, match=r"^context of a stack must have shape \[2, "):
            layer.gate(torch.ones(3, 3, CONTEXT))


@pytest.mark.parametrize("temperature", [0.0, 1e-40, float("nan")])
def test_a_temperature_that_leaves_float32_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=r"^attention_temperature must be at least 1e-06, got "):
        DendriticSegments(UNITS, CONTEXT, gating="attention", attention_temperature=temperature)
    lowest = DendriticSegments(UNITS, CONTEXT, gating="attention", attention_temperature=1e-6)
    assert lowest.gate(1000 * torch.ones(CONTEXT)).isfinite().all()
