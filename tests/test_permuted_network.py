"""The network and the learner of permuted images, against loops and against training all segments."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from configs.permuted_mnist import PermutedConfig
from configs.permuted_mnist.schema import NetworkConfig
from configs.protection import ProtectionConfig
from machine.compilation import Compiled
from permuted_mnist.learner import Learner
from permuted_mnist.network import PermutedNetwork

PIXELS, CONTEXT = 12, 12
SMALL = replace(
    PermutedConfig(), network=NetworkConfig(hidden=(20, 16), winners_density=0.25, num_segments=3)
)


def network(config: NetworkConfig, context_size: int = CONTEXT) -> PermutedNetwork:
    return PermutedNetwork(
        config,
        pixels=PIXELS,
        context_size=context_size,
        product_dtype=None,
        generator=Generator().manual_seed(1),
    )


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def naive_logits(net: PermutedNetwork, image: Tensor, context: Tensor) -> Tensor:
    """One image, one unit at a time."""
    x = image
    for layer in net.layers:
        sums = layer.linear.weight @ x + layer.linear.bias
        for unit in range(len(sums)):
            activations = layer.dendrites.weight[:, unit] @ context
            sums[unit] *= torch.sigmoid(activations[activations.abs().argmax()])
        winners = sums.argsort(descending=True)[: layer.activation.count]
        x = torch.zeros_like(sums).index_copy(0, winners, sums[winners])
    return net.head.weight @ x + net.head.bias


def test_logits_equal_a_loop_over_units() -> None:
    net = network(SMALL.network)
    images, contexts = draw(5, PIXELS), draw(5, CONTEXT, seed=2)
    with torch.no_grad():
        logits = net(images, net.gates(contexts))
        for image, context, row in zip(images, contexts, logits, strict=True):
            torch.testing.assert_close(row, naive_logits(net, image, context))


def test_weights_keep_their_density_while_they_learn() -> None:
    net = network(SMALL.network)
    learner = Learner(net, SMALL)
    learner.enter(draw(CONTEXT))
    for step in range(5):
        learner.update(draw(8, PIXELS, seed=step), torch.arange(8), progress=0.0)
    for layer in net.layers:
        assert ((layer.linear.weight != 0).sum(dim=1) == layer.linear.in_features // 2).all()


def test_xdg_gives_each_task_its_own_units_and_trains_no_other() -> None:
    config = replace(SMALL, network=replace(SMALL.network, kind="xdg", activation="relu"))
    net = network(config.network, context_size=3)
    for table, units in zip(net.open_units, (20, 16), strict=True):
        assert (table.sum(dim=1) == units - round(0.8 * units)).all()
    assert len({tuple(row) for row in net.open_units[0].tolist()}) == 3
    learner = Learner(net, config)
    before = net.layers[0].linear.bias.detach().clone()
    learner.enter(torch.eye(3)[1])
    learner.update(draw(8, PIXELS), torch.arange(8), progress=0.0)
    moved = net.layers[0].linear.bias.detach() != before
    assert not moved[net.open_units[0][1] == 0].any()
    assert moved.any()
    nearly_all = replace(config.network, gated_off=0.99)
    for table in network(nearly_all, context_size=3).open_units:
        assert (table.sum(dim=1) == 1).all()


class _Dense:
    """Plain Adam on everything, with the layers' own gates and the penalty written into the loss."""

    def __init__(self, config: PermutedConfig) -> None:
        self.net, self.strength = network(config.network), config.protection.strength
        self.learning, self.importance = config.learning, None

    def enter(self, context: Tensor, importance: list[Tensor] | None) -> None:
        self.context, self.importance = context, importance
        self.anchors = [one.detach().clone() for one in self.net.feed_forward()]
        learning = self.learning
        self.optimizer = torch.optim.Adam(
            self.net.parameters(), lr=learning.lr, eps=learning.epsilon
        )

    def update(self, images: Tensor, labels: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.net(images, self.net.gates(self.context)), labels)
        total = loss
        if self.importance is not None:
            parts = zip(self.importance, self.net.feed_forward(), self.anchors, strict=True)
            total = loss + self.strength * sum((i * (p - a).square()).sum() for i, p, a in parts)
        total.backward()
        self.optimizer.step()
        return loss.detach()


@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_the_learner_equals_training_all_segments_where_none_hands_over(strength: float) -> None:
    tiny = {"epsilon": 1e-20, "segment_epsilon": 1e-20}  # which the two add to different sizes
    learning = replace(SMALL.learning, **tiny)
    config = replace(SMALL, learning=learning, protection=ProtectionConfig(strength=strength))
    learner, dense, labels = Learner(network(config.network), config), _Dense(config), None
    for task in range(2):
        context, labels = draw(CONTEXT, seed=9 + task), torch.arange(8).roll(task)
        learner.enter(context)
        held = learner.protection.importance if strength and task else None
        dense.enter(context, held)
        for step in range(4):
            images = draw(8, PIXELS, seed=step)
            told = learner.update(images, labels, progress=0.0)
            torch.testing.assert_close(told["losses/cross_entropy"], dense.update(images, labels))
            assert told["segments/winners_changed"] == 0
    learner.write_back()
    for (name, own), other in zip(
        learner.network.named_parameters(), dense.net.parameters(), strict=True
    ):
        torch.testing.assert_close(own, other, msg=name)


def test_moments_that_stand_still_change_nothing_that_matters() -> None:
    """The deviation that matters most, with many hand-overs: the losses of two tasks, ours and with dense Adam."""
    config = replace(SMALL, network=replace(SMALL.network, context_density=1.0, num_segments=5))
    learner, dense = Learner(network(config.network), config), _Dense(config)
    changed, ours, theirs = 0.0, [], []
    for task in range(2):
        context = 0.3 * draw(CONTEXT, seed=9 + task)
        learner.enter(context)
        dense.enter(context, None)
        images = draw(400, PIXELS, seed=task)
        labels = images[:, :10].argmax(dim=1)
        for step in range(300):
            rows = torch.randperm(400, generator=Generator().manual_seed(step))[:50]
            told = learner.update(images[rows], labels[rows], progress=0.0)
            changed += told["segments/winners_changed"]
            ours.append(told["losses/cross_entropy"].item())
            theirs.append(dense.update(images[rows], labels[rows]).item())
    assert changed > 10
    ends = [sum(losses[at : at + 50]) / 50 for losses in (ours, theirs) for at in (250, 550)]
    assert ends[:2] == pytest.approx(ends[2:], rel=0.1)
    assert max(ends) < 0.9 * ours[0]


def test_feed_forward_weights_and_segments_have_an_epsilon_of_their_own() -> None:
    """Adam's first step is lr x g / (|g| + epsilon): under a large epsilon nothing moves far."""
    for held in ("epsilon", "segment_epsilon"):
        config = replace(SMALL, learning=replace(SMALL.learning, **{held: 1e6}))
        net = network(config.network)
        learner = Learner(net, config)
        before = [parameter.detach().clone() for parameter in net.parameters()]
        learner.enter(draw(CONTEXT))
        learner.update(draw(8, PIXELS), torch.arange(8), progress=0.0)
        learner.write_back()
        feed_forward = {id(parameter) for parameter in net.feed_forward()}
        for parameter, old in zip(net.parameters(), before, strict=True):
            moved = (parameter.detach() - old).abs().max().item()
            is_held = (id(parameter) in feed_forward) == (held == "epsilon")
            assert moved < 1e-8 if is_held else moved > 1e-6


def test_beta2_is_of_feed_forward_weights_and_their_moments_may_outlive_a_task() -> None:
    learning = replace(SMALL.learning, beta2=0.75, reset_optimizer=False)
    learner = Learner(network(SMALL.network), replace(SMALL, learning=learning))
    weight = learner.network.layers[1].linear.weight
    learner.enter(draw(CONTEXT))
    learner.update(draw(8, PIXELS), torch.arange(8), progress=0.0)
    first = weight.grad.clone()
    learner.enter(draw(CONTEXT, seed=1))
    learner.update(draw(8, PIXELS, seed=1), torch.arange(8), progress=0.0)
    expected = 0.75 * 0.25 * first.square() + 0.25 * weight.grad.square()
    torch.testing.assert_close(learner.optimizer.state[weight]["exp_avg_sq"], expected)
    activation = learner.winning[1].activation  # of the second task's winners: one step so far
    expected = 0.001 * activation.grad.square()
    torch.testing.assert_close(learner.optimizer.state[activation]["exp_avg_sq"], expected)


def test_protection_holds_weights_that_mattered_for_the_task_before() -> None:
    def distance(strength: float) -> float:
        config = replace(SMALL, protection=ProtectionConfig(strength=strength))
        net = network(config.network)
        learner = Learner(net, config)
        learner.enter(draw(CONTEXT))
        for step in range(30):
            learner.update(draw(16, PIXELS, seed=step), torch.arange(16) % 10, progress=0.0)
        held = [parameter.detach().clone() for parameter in net.feed_forward()]
        learner.enter(draw(CONTEXT, seed=1))
        for step in range(30):
            learner.update(draw(16, PIXELS, seed=step), torch.arange(16).flip(0) % 10, progress=0.0)
        pairs = zip(net.feed_forward(), held, strict=True)
        return sum((now - then).square().sum().item() for now, then in pairs)

    assert distance(1000.0) < 0.5 * distance(0.0)


def test_smoothed_labels_by_hand() -> None:
    """0.8 of the label, and 0.02 of each of the ten classes."""
    config = replace(SMALL, learning=replace(SMALL.learning, label_smoothing=0.2))
    learner, images, labels = (
        Learner(network(config.network), config),
        draw(8, PIXELS),
        torch.arange(8),
    )
    context = draw(CONTEXT)
    learner.enter(context)
    with torch.no_grad():
        logits = learner.network(images, learner.network.gates(context))
    log_p = logits.log_softmax(dim=1)
    expected = -(0.8 * log_p[labels, labels] + 0.02 * log_p.sum(dim=1)).mean()
    told = learner.update(images, labels, progress=0.0)
    torch.testing.assert_close(told["losses/cross_entropy"], expected)


def test_the_learning_rate_falls_within_a_task() -> None:
    config = replace(SMALL, learning=replace(SMALL.learning, lr=0.1, final_lr_fraction=0.2))
    learner = Learner(network(config.network), config)
    learner.enter(draw(CONTEXT))
    rates = []
    for progress in (0.0, 0.5, 0.75):
        learner.update(draw(8, PIXELS), torch.arange(8), progress)
        rates.append(learner.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.06, 0.04])


@pytest.mark.parametrize("reset", [True, False])
def test_moments_are_forgotten_at_a_boundary_if_so_set(reset: bool) -> None:
    config = replace(SMALL, learning=replace(SMALL.learning, reset_optimizer=reset))
    net = network(config.network)
    learner = Learner(net, config)
    learner.enter(draw(CONTEXT))
    learner.update(draw(8, PIXELS), torch.arange(8), progress=0.0)
    learner.enter(draw(CONTEXT, seed=1))
    assert all((one not in learner.optimizer.state) is reset for one in net.feed_forward())


@pytest.mark.slow
def test_a_compiled_objective_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("permuted_mnist.learner.FEWEST_WEIGHTS", 0)
    monkeypatch.setattr(Compiled, "failed", False)
    torch.compiler.reset()
    learned = []
    for mode in ("never", "auto"):
        config = replace(SMALL, machine=replace(SMALL.machine, compile=mode))
        learner = Learner(network(SMALL.network), config)
        for task in range(2):
            learner.enter(draw(CONTEXT, seed=task))
            for step in range(5):
                images, labels = draw(16, PIXELS, seed=step), torch.arange(16) % 10
                metrics = learner.update(images, labels, progress=step / 5)
        learner.write_back()
        learned.append(
            [metrics["losses/cross_entropy"], *map(torch.clone, learner.network.parameters())]
        )
        assert not Compiled.failed
    torch.testing.assert_close(*learned, rtol=1e-4, atol=1e-6)
