"""The fast update (compiled, bfloat16) is the same update; without a compiler there still is one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from agent.batch import Batch
from agent.first_update import blank_batch
from agent.plan import resolve
from agent.sac import SAC
from configs import Config, load_config
from dendrites import DendriticLayer
from machine.compilation import Compiled
from training.metrics.networks import network_statistics

TASKS, PER_TASK, OBS, ACTION = 2, 12, 6, 4
KINDS = ("k_winners", "relu", "mlp")
OTHER_WINNERS = ("annealed_k_winners", "boosted_k_winners", "threshold_winners")


def small(
    kind: str = "k_winners",
    sampling: str = "balanced",
    per_task: int = PER_TASK,
    **settings: str,
) -> Config:
    base = load_config("mt10")
    network = {
        "kind": "mlp" if kind == "mlp" else "dendritic",
        "activation": "relu" if kind == "mlp" else kind,
        "actor_hidden": (32, 32),
        "critic_hidden": (32, 32),
    }
    return replace(
        base,
        machine=replace(base.machine, **({"compile": "never", "precision": "float32"} | settings)),
        env=replace(base.env, tasks=base.env.task_names[:TASKS]),
        replay=replace(base.replay, batch_size=TASKS * per_task, sampling=sampling),
        network=replace(base.network, **network),
        # features without a meaning
        normalization=replace(base.normalization, observation_frame="world"),
    )


@pytest.fixture(autouse=True)
def forget_compiled_functions() -> Iterator[None]:
    """The compiler stops after eight versions of one function."""
    yield
    torch.compiler.reset()


def make_agent(config: Config) -> SAC:
    plan = replace(resolve(config, torch.device("cpu")), obs_size=OBS, action_size=ACTION)
    return SAC(plan, torch.Generator().manual_seed(0))


def make_batch(config: Config, generator: torch.Generator) -> tuple[Batch, torch.Tensor]:
    uniform = config.replay.sampling == "uniform"
    samples = config.replay.batch_size
    shape = (samples,) if uniform else (TASKS, samples // TASKS)
    batch = Batch(
        obs=torch.randn(*shape, OBS, generator=generator),
        action=torch.rand(*shape, ACTION, generator=generator) * 2 - 1,
        reward=torch.rand(shape, generator=generator),
        next_obs=torch.randn(*shape, OBS, generator=generator),
        discount=0.99 * (torch.rand(shape, generator=generator) > 0.2),
        task=torch.arange(samples) % TASKS if uniform else None,
    )
    return batch, torch.randn(2, *shape, ACTION, generator=generator)


def objectives(config: Config) -> dict[str, list[torch.Tensor]]:
    """Losses, what comes with them, and the gradients of every weight, from the first batch."""
    agent = make_agent(config)
    batch, noise = make_batch(config, torch.Generator().manual_seed(1))
    results = {}
    agent.log_temperature.data = torch.linspace(0.05, 0.2, TASKS).log()
    for name, objective, eps in (
        ("critic", agent.critic_objective, noise[0]),
        ("actor", agent.actor_objective, noise[1]),
    ):
        parameters = list(getattr(agent, name).parameters())
        loss, *extra = Compiled(objective, config.machine.compile)(batch, eps)
        gradients = torch.autograd.grad(loss, parameters)
        results[name] = [loss.detach(), extra[-1], *gradients]
    return results


def relative_errors(fast: list[torch.Tensor], exact: list[torch.Tensor]) -> list[float]:
    """Of each tensor: length of the difference over length of the exact one."""
    return [
        ((one - other).norm() / other.norm()).item() for one, other in zip(fast, exact, strict=True)
    ]


class Notes:
    """What the log says of compiling, from now on."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "machine")
        self._caplog = caplog

    def lines(self) -> list[str]:
        records = self._caplog.records
        return [one.getMessage() for one in records if one.name == "machine.compilation"]

    def compiled(self) -> list[str]:
        """Names of functions."""
        return [line.split()[1] for line in self.lines() if line.startswith("compiled ")]


@pytest.fixture
def notes(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Notes:
    """Of a process in which no compilation has failed before."""
    monkeypatch.setattr(Compiled, "failed", False)
    return Notes(caplog)


def spread(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.relu(x @ weight)
    return (y - y.mean(dim=-1, keepdim=True)).square().mean(), y.detach()


@pytest.mark.slow
def test_a_small_function_is_compiled_once_and_gives_the_same(notes: Notes) -> None:
    x, weight = torch.randn(2, 4, 6), torch.randn(6, 5, requires_grad=True)
    function = Compiled(spread, "auto")
    for one in x:
        found, expected = function(one, weight), spread(one, weight)
        torch.testing.assert_close(found, expected)
        gradients = [torch.autograd.grad(loss, [weight]) for loss, _ in (found, expected)]
        torch.testing.assert_close(*gradients)
    assert notes.compiled() == ["spread"]
    assert not Compiled.failed


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_objectives_agree_with_plain_ones(kind: str, notes: Notes) -> None:
    fast = objectives(small(kind, compile="auto"))
    assert notes.compiled() == ["critic_objective", "actor_objective"]
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


def winners(compile: str, precision: str) -> torch.Tensor:
    """Which units of the actor's last hidden layer are active."""
    trunk = make_agent(small(precision=precision)).actor.trunk
    obs = torch.randn(TASKS, 200, OBS, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return Compiled(trunk.forward, compile)(obs) != 0


@pytest.mark.slow
def test_the_fast_path_has_the_same_winners() -> None:
    exact = winners("never", "float32")
    assert exact.sum(-1).unique().tolist() == [8]  # a quarter of 32
    assert (winners("auto", "float32") != exact).float().mean() < 1e-3
    rounded = winners("never", "bfloat16")
    assert 0 < (rounded != exact).float().mean() < 0.01
    assert (winners("auto", "bfloat16") != exact).float().mean() < 0.01


def test_the_first_layer_and_the_head_are_float32() -> None:
    """In bfloat16 a millimetre at 0.6 m is nothing."""
    agent, exact = (make_agent(small(precision=name)) for name in ("bfloat16", "float32"))
    obs = torch.full((TASKS, PER_TASK, OBS), 0.6)
    obs[1:] += 0.001
    seen: dict[str, list[torch.Tensor]] = {"rounded": [], "exact": []}
    for name, trunk in (("rounded", agent.actor.trunk), ("exact", exact.actor.trunk)):
        for layer in trunk.modules():
            if isinstance(layer, DendriticLayer):
                layer.linear.register_forward_hook(
                    lambda *call, name=name: seen[name].append(call[-1])
                )
    features = agent.actor.trunk(obs)
    exact.actor.trunk(obs)
    assert torch.equal(seen["rounded"][0], seen["exact"][0])
    assert not torch.equal(seen["rounded"][1], seen["exact"][1])
    mean, log_std = agent.actor(obs)
    by_hand = features @ exact.actor.head.weight.T + exact.actor.head.bias
    expected_mean, expected_log_std = by_hand.chunk(2, dim=-1)
    torch.testing.assert_close(mean, expected_mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(log_std, expected_log_std.clamp(-10, 2), rtol=1e-6, atol=1e-6)


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampling", "per_task", "threads"), [("balanced", PER_TASK, 1), ("uniform", 640, 2)]
)
def test_compiled_updates_agree_with_plain_ones(
    sampling: str, per_task: int, threads: int, notes: Notes
) -> None:
    """Three updates: metrics to 1e-4; weights but for those whose gradient is rounding alone.

    Also with as many samples as `mt10` has, on as many threads as four cores give.
    """
    agents, metrics = [], []
    for mode, count in (("auto", threads), ("never", 1)):
        config = small(sampling=sampling, per_task=per_task, compile=mode)
        agent, generator = make_agent(config), torch.Generator().manual_seed(1)
        with threads_of_torch(count):
            metrics.append([agent.update(*make_batch(config, generator)) for _ in range(3)])
        agents.append(agent)
    assert notes.compiled() == ["critic_objective", "actor_objective"]
    for one, other in zip(*metrics, strict=True):
        for key, value in one.items():
            torch.testing.assert_close(value, other[key], rtol=1e-4, atol=1e-5, msg=key)
    fast, plain = (dict(agent.named_parameters()) for agent in agents)
    for name, weight in fast.items():
        # A gradient that is zero but for rounding moves a weight by up to a whole Adam step.
        agree = (weight - plain[name]).abs() < 1e-5
        assert agree.float().mean() > 0.99, name


@pytest.mark.slow
def test_each_objective_is_compiled_once() -> None:
    config = small(compile="auto")
    agent, generator = make_agent(config), torch.Generator().manual_seed(1)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for _ in range(4):
        batch, noise = make_batch(config, generator)
        agent.update(batch, noise)
        agent.policy.act(batch.obs.numpy(), noise[0])
        network_statistics(agent, batch)  # adds hooks to the layers, and takes them away
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] - before == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", OTHER_WINNERS)
def test_other_winners_follow_training_without_being_compiled_anew(kind: str) -> None:
    """Losses and what the winners remember, after updates at several stages of training."""
    agents = [make_agent(small(kind, compile=mode)) for mode in ("auto", "never")]
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for agent in agents:
        generator = torch.Generator().manual_seed(1)
        for stage in (0.0, 0.1, 0.2, 0.5):
            agent.set_progress(stage)
            agent.update(*make_batch(small(kind), generator))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] - before == 2
    fast, plain = (agent.state_dict() for agent in agents)
    seen = [name for name in fast if ".activation." in name]
    assert seen
    for name in seen:
        torch.testing.assert_close(fast[name], plain[name], rtol=1e-4, atol=2e-3)
    for name in fast:
        agree = (fast[name] - plain[name]).abs() < 1e-4
        assert agree.float().mean() > 0.98, name


class _NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
        return grad * 2 if grad.sum().item() > 0 else grad * 3


def test_a_backward_pass_that_cannot_be_compiled_runs_plainly(notes: Notes) -> None:
    x = torch.ones(3, requires_grad=True)
    y = Compiled(lambda x: _NoBackward.apply(x).sum(), "auto")(x)
    assert [line.split(",")[0] for line in notes.lines()] == ["not compiled"]
    (gradient,) = torch.autograd.grad(y, [x])
    assert gradient.tolist() == [2.0, 2.0, 2.0]


def data_dependent(x: torch.Tensor) -> float:
    return x.sum().item() if x.sum().item() > 0 else -1.0


def test_a_function_that_cannot_be_compiled_runs_plainly(notes: Notes) -> None:
    function = Compiled(data_dependent, "auto")
    assert function(torch.ones(3)) == 3.0
    assert function(-torch.ones(3)) == -1.0
    (note,) = notes.lines()
    assert note.startswith("not compiled, so slower (")
    assert len(note.splitlines()) == 1


def test_after_one_failure_nothing_else_is_tried(notes: Notes) -> None:
    Compiled(data_dependent, "auto")(torch.ones(3))
    assert Compiled.failed
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert Compiled(torch.sin, "auto")(torch.zeros(2)).tolist() == [0, 0]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
    assert len(notes.lines()) == 1


def test_mode_never_does_not_try(notes: Notes) -> None:
    assert Compiled(data_dependent, "never")(torch.ones(3)) == 3.0
    assert notes.lines() == []
    assert not Compiled.failed


@pytest.mark.slow
def test_the_update_in_groups_is_compiled_with_several_threads_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on four cores and more, with batches of `mt10`; boosted winners also count by group."""
    monkeypatch.setattr(Compiled, "failed", False)
    base = load_config("mt10")
    small_boosted = replace(
        base.network,
        activation="boosted_k_winners",
        actor_hidden=(32, 32),
        critic_hidden=(32, 32),
    )
    plan = resolve(replace(base, network=small_boosted), torch.device("cpu"))
    with threads_of_torch(2):
        batch, noise = blank_batch(plan)
        assert batch.task is not None
        SAC(plan, torch.Generator()).warm_up(batch, noise)
    assert not Compiled.failed
