"""The fast update (compiled, bfloat16) is the same update; without a compiler there still is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from agent.compilation import Compiled
from agent.diagnostics import network_statistics
from agent.replay import Batch
from agent.sac import SAC
from configs import Config, load_config

TASKS, PER_TASK, OBS, ACTION = 2, 12, 6, 4
KINDS = ("k_winners", "relu", "mlp")


def small(kind: str = "k_winners", sampling: str = "balanced", **settings: str) -> Config:
    base = load_config("mt10")
    network = {
        "kind": "mlp" if kind == "mlp" else "dendritic",
        "activation": "k_winners" if kind == "k_winners" else "relu",
        "actor_hidden": (32, 32),
        "critic_hidden": (32, 32),
    }
    return replace(
        base,
        **({"compile": "never", "precision": "float32"} | settings),
        env=replace(base.env, tasks=base.env.tasks[:TASKS]),
        replay=replace(base.replay, batch_size=TASKS * PER_TASK, sampling=sampling),
        network=replace(base.network, **network),
        agent=replace(base.agent, observation_frame="world"),  # features without a meaning
    )


@pytest.fixture(autouse=True)
def forget_compiled_functions() -> Iterator[None]:
    """The compiler stops after eight versions of one function."""
    yield
    torch.compiler.reset()


def make_agent(config: Config) -> SAC:
    return SAC(config, OBS, ACTION, torch.device("cpu"), torch.Generator().manual_seed(0))


def make_batch(config: Config, generator: torch.Generator) -> tuple[Batch, torch.Tensor]:
    uniform = config.replay.sampling == "uniform"
    shape = (TASKS * PER_TASK,) if uniform else (TASKS, PER_TASK)
    batch = Batch(
        obs=torch.randn(*shape, OBS, generator=generator),
        action=torch.rand(*shape, ACTION, generator=generator) * 2 - 1,
        reward=torch.rand(shape, generator=generator),
        next_obs=torch.randn(*shape, OBS, generator=generator),
        discount=0.99 * (torch.rand(shape, generator=generator) > 0.2),
        rows=torch.arange(TASKS * PER_TASK) % TASKS if uniform else None,
    )
    return batch, torch.randn(2, *shape, ACTION, generator=generator)


def objectives(config: Config) -> dict[str, list[torch.Tensor]]:
    """Losses, what comes with them, and the gradients of every weight, from the first batch."""
    agent = make_agent(config)
    batch, noise = make_batch(config, torch.Generator().manual_seed(1))
    results = {}
    temperature, weight = torch.full((TASKS, 1), 0.1), torch.linspace(0.5, 2, TASKS).unsqueeze(1)
    for name, objective, arguments in (
        ("critic", agent.critic_objective, (noise[0], temperature)),
        ("actor", agent.actor_objective, (noise[1], temperature, weight)),
    ):
        parameters = list(getattr(agent, name).parameters())
        compiled = Compiled(objective, config.compile)
        loss, extra = compiled(batch, *arguments)
        gradients = torch.autograd.grad(loss, parameters)
        results[name] = [loss.detach(), extra, *gradients]
    return results


def relative_errors(fast: list[torch.Tensor], exact: list[torch.Tensor]) -> list[float]:
    """Of each tensor: length of the difference over length of the exact one."""
    return [
        ((one - other).norm() / other.norm()).item() for one, other in zip(fast, exact, strict=True)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_objectives_agree_with_plain_ones(
    kind: str, capsys: pytest.CaptureFixture
) -> None:
    fast = objectives(small(kind, compile="auto"))
    assert capsys.readouterr().err.count("compiled") == 2, "objectives of critic and actor"
    exact = objectives(small(kind))
    for name, tensors in exact.items():
        for one, other in zip(fast[name], tensors, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_agrees_with_float32_within_its_rounding(kind: str) -> None:
    """2^-9 a rounding; a few of them in a row, and units that win or lose by less than that."""
    fast = objectives(small(kind, precision="bfloat16"))
    exact = objectives(small(kind))
    for name, tensors in exact.items():
        errors = relative_errors(fast[name], tensors)
        assert errors[0] < 2e-3, "loss"
        assert errors[1] < 0.01, "Q values or log-probabilities"
        assert max(errors[2:]) < 0.2, "gradients"
        assert max(errors) > 0, "computed in float32"


def winners(mode: str, dtype: torch.dtype | None) -> torch.Tensor:
    """Which units of the actor's last hidden layer are active."""
    trunk = make_agent(small()).actor.trunk
    obs = torch.randn(TASKS, 200, OBS, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return Compiled(lambda x: trunk(x, dtype=dtype), mode)(obs) != 0


def test_the_fast_path_has_the_same_winners() -> None:
    exact = winners("never", None)
    assert exact.sum(-1).unique().tolist() == [8]  # a quarter of 32
    assert (winners("auto", None) != exact).float().mean() < 1e-3
    assert (winners("auto", torch.bfloat16) != exact).float().mean() < 0.01


def test_the_first_layer_and_the_head_are_float32() -> None:
    """In bfloat16 a millimetre at 0.6 m is nothing."""
    agent = make_agent(small(precision="bfloat16"))
    hidden = agent.actor.trunk.layers[0]
    context = agent.actor.trunk.context.unsqueeze(-2)
    obs = torch.full((TASKS, PER_TASK, OBS), 0.6)
    obs[1:] += 0.001
    seen = []
    hidden.register_forward_hook(lambda *call: seen.append(call[-1]))
    agent.actor(obs, dtype=torch.bfloat16)
    assert torch.equal(seen[0], hidden(obs, context))
    features = agent.actor.trunk(obs, dtype=torch.bfloat16)
    mean, log_std = agent.actor(obs, dtype=torch.bfloat16)
    assert torch.equal(torch.cat([mean, log_std], -1), agent.actor.head(features).clamp(-10))


@pytest.mark.parametrize("sampling", ["balanced", "uniform"])
def test_compiled_updates_agree_with_plain_ones(sampling: str) -> None:
    """Three updates: metrics to 1e-4; weights but for those whose gradient is rounding alone."""
    agents, rows = [], []
    for mode in ("auto", "never"):
        config = small(sampling=sampling, compile=mode)
        agent, generator = make_agent(config), torch.Generator().manual_seed(1)
        rows.append([agent.update(*make_batch(config, generator)) for _ in range(3)])
        agents.append(agent)
    for one, other in zip(*rows, strict=True):
        for key, value in one.items():
            torch.testing.assert_close(value, other[key], rtol=1e-4, atol=1e-5, msg=key)
    fast, plain = (dict(agent.named_parameters()) for agent in agents)
    for name, weight in fast.items():
        # A gradient that is zero but for rounding moves a weight by up to a whole Adam step.
        agree = (weight - plain[name]).abs() < 1e-5
        assert agree.float().mean() > 0.99, name


def test_each_objective_is_compiled_once() -> None:
    config = small(compile="auto")
    agent, generator = make_agent(config), torch.Generator().manual_seed(1)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for _ in range(4):
        batch, noise = make_batch(config, generator)
        agent.update(batch, noise)
        agent.act(batch.obs.numpy(), noise[0])
        network_statistics(agent, batch)  # adds hooks to the layers, and takes them away
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] - before == 2


def test_two_fast_runs_are_equal_bit_for_bit() -> None:
    config = small(compile="auto", precision="bfloat16")
    agents = [make_agent(config) for _ in range(2)]
    for agent in agents:
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            agent.update(*make_batch(config, generator))
    for mine, theirs in zip(*(agent.parameters() for agent in agents), strict=True):
        assert torch.equal(mine, theirs)


class _NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
        return grad * 2 if grad.sum().item() > 0 else grad * 3


def test_a_backward_pass_that_cannot_be_compiled_runs_plainly(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compiled, "failed", False)
    x = torch.ones(3, requires_grad=True)
    y = Compiled(lambda x: _NoBackward.apply(x).sum(), "auto")(x)
    assert capsys.readouterr().err.startswith("note: not compiled")
    (gradient,) = torch.autograd.grad(y, [x])
    assert gradient.tolist() == [2.0, 2.0, 2.0]


def test_a_function_that_cannot_be_compiled_runs_plainly(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compiled, "failed", False)

    def data_dependent(x: torch.Tensor) -> float:
        return x.sum().item() if x.sum().item() > 0 else -1.0

    function = Compiled(data_dependent, "auto")
    assert function(torch.ones(3)) == 3.0
    assert function(-torch.ones(3)) == -1.0
    note = capsys.readouterr().err
    assert note.startswith("note: not compiled")
    assert len(note.splitlines()) == 1
