"""Notes on settings that do nothing: they are true, every preset is free of them, and sweeps name the arm."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from conftest import succeed
from sac_samples import make_agent, make_batch, make_noise

import sweep
import train_mt10
from configs.effect import MULTI_TASK_NEEDS, PERMUTED_NEEDS
from configs.loading import MULTI_TASK
from configs.permuted_mnist import PERMUTED, parse_permuted_command
from configs.settings import Settings, flatten
from permuted_mnist.run_state import RunState

OF_AN_UPDATE = {
    # setting -> another value of it, settings that it needs
    "agent.value_bins": (21, {}),
    "agent.value_range": ((-3.0, 9.0), {}),
    "network.attention_temperature": (0.7, {"network.gating": "attention"}),
    "network.embedding_size": (5, {"network.context": "embedding"}),
    "network.context_density": (0.5, {}),
    "network.winners_density": ((0.5,), {}),
    "network.first_winners_density": (0.7, {"network.activation": "annealed_k_winners"}),
    "network.winners_annealing": (0.9, {"network.activation": "soft_winners"}),
    "network.winners_boost": (3.0, {"network.activation": "boosted_k_winners"}),
    "network.winners_mass": (0.3, {"network.activation": "nucleus_winners"}),
}
IN_VAIN = {
    "agent.": {"agent.critic_loss": "mse"},
    "network.context_density": {"network.kind": "mlp"},
    "network.winners_density": {"network.activation": "relu"},
}
"""By the beginning of their names, settings with which they do nothing; for the others those of `mt10`."""
OF_IMAGES = {
    "context.cluster_pixels": ("1", ["--context.kind", "clustering"]),
    "context.cluster_exemplars": (
        "2",
        ["--context.kind", "clustering", "--context.cluster-p-value", "0.3"],
    ),
    "context.cluster_p_value": ("0.5", ["--context.kind", "clustering"]),
    "network.winners_density": ("0.3", []),
    "network.num_segments": ("4", []),
    "network.context_density": ("0.5", []),
    "network.gated_off": ("0.4", ["--network.kind", "xdg", "--context.kind", "one_hot"]),
    "learning.segment_epsilon": ("0.1", []),
    "protection.damping": ("0.9", ["--protection.strength", "5"]),
}
IMAGES_IN_VAIN = {
    "network.winners_density": ["--network.activation", "relu"],
    "network.num_segments": ["--network.kind", "plain"],
    "network.context_density": ["--network.kind", "plain"],
    "learning.segment_epsilon": ["--network.kind", "plain"],
}


def updated(settings: dict[str, object]) -> dict[str, torch.Tensor]:
    """The weights of a small agent after two updates."""
    sections: dict[str, dict[str, object]] = {"agent": {"critic_loss": "hl_gauss"}, "network": {}}
    for key, value in settings.items():
        section, _, name = key.partition(".")
        sections[section][name] = value
    agent = make_agent(network=sections["network"], dtype=torch.float32, **sections["agent"])
    agent.set_progress(0.1)
    for seed in (1, 2):
        agent.update(make_batch(torch.float32, seed), make_noise(torch.float32, seed))
    return agent.state_dict()


def learned(*flags: str) -> dict[str, torch.Tensor]:
    """The weights of a small network after four batches of each of three tasks."""
    tiny = ("--data.num-tasks", "3", "--network.hidden", "32", "--learning.batch-size", "64")
    run = RunState(parse_permuted_command([*tiny, *flags]).settings)
    for task in range(3):
        run.contexts.begin_task(task, run.tasks.train_images(task))
        batches = run.tasks.batches(task, 1, 64)
        for step, (images, labels) in zip(range(4), batches, strict=False):
            run.follow_context(images)
            run.learner.update(images, labels, progress=step / 4)
    return run.learner.network.state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


@pytest.mark.parametrize("key", OF_AN_UPDATE)
def test_a_setting_of_the_agent_does_something_where_no_note_says_otherwise(key: str) -> None:
    value, needed = OF_AN_UPDATE[key]
    assert key in MULTI_TASK_NEEDS
    assert not same(updated(needed), updated({**needed, key: value}))
    vain = next((vain for start, vain in IN_VAIN.items() if key.startswith(start)), {})
    assert same(updated(vain), updated({**vain, key: value}))


@pytest.mark.parametrize("key", PERMUTED_NEEDS)
def test_a_setting_of_images_does_something_where_no_note_says_otherwise(key: str) -> None:
    value, needed = OF_IMAGES[key]
    flag = f"--{key.replace('_', '-')}"
    assert not same(learned(*needed), learned(*needed, flag, value))
    vain = IMAGES_IN_VAIN.get(key, [])
    assert same(learned(*vain), learned(*vain, flag, value))
    config = parse_permuted_command([*vain, flag, value]).settings
    assert list(PERMUTED.without_effect(config)) == [key]
    assert not PERMUTED.without_effect(parse_permuted_command([*needed, flag, value]).settings)


@pytest.mark.parametrize(
    ("known", "preset"),
    [(known, preset) for known in (MULTI_TASK, PERMUTED) for preset in known.preset_names()],
)
def test_presets_set_nothing_in_vain(known: Settings, preset: str) -> None:
    assert known.without_effect(known.load(preset)) == {}


@pytest.mark.parametrize("known", [MULTI_TASK, PERMUTED])
def test_the_names_are_those_of_settings(known: Settings) -> None:
    names = dict(flatten(asdict(known.schema())))
    for key, needs in known.needs.items():
        assert {key, *(need.key for need in needs)} <= names.keys()


def test_a_note_says_what_does_nothing_and_why() -> None:
    flags = ("--network.activation", "relu", "--network.winners-density", "0.5", "0.4")
    more = ("--exploration.hold-steps", "9", "--exploration.hold-rate", "0")
    said = succeed(train_mt10.main, "--config", "smoke", *flags, *more, "--dry-run").stdout
    assert said.splitlines()[-2:] == [
        "note: exploration.hold_steps: 9 does nothing with exploration.hold_rate: 0.0",
        "note: network.winners_density: 0.5 0.4 does nothing with network.activation: relu",
    ]


def test_a_sweep_names_the_arm(tmp_path: Path) -> None:
    """Of what all arms have, only what serves none of them."""
    file = tmp_path / "sweep_file.yaml"
    file.write_text(
        """
command: train_permuted_mnist.py
config: digits
settings: {protection: {damping: 0.3}, network: {hidden: [16], num_segments: 7}}
arms:
  dendrites:
  plain: {network: {kind: plain}}
  open: {network: {gated_off: 0.3}}
seeds: [1]
"""
    )
    said = succeed(sweep.main, file, "--out", tmp_path / "out", "--dry-run").stdout
    assert said.splitlines()[:2] == [
        f"note: {file}: arms.open: network.gated_off: 0.3 does nothing with network.kind: dendritic",
        f"note: {file}: settings: protection.damping: 0.3 does nothing with protection.strength: 0.0",
    ]
    assert "note" not in "".join(said.splitlines()[2:])
