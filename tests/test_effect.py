"""Notes on settings that do nothing: they are true, every preset is free of them, and sweeps name the arm."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from conftest import succeed
from sac_samples import ACTION, OBS, TASKS, make_batch, make_noise, make_plan, seeded

import sweep
import train_mt10
from agent.plan import resolve
from agent.sac import SAC
from configs import Config, load_config
from configs.loading import MULTI_TASK
from configs.network import Activation
from configs.permuted_mnist import PERMUTED, parse_permuted_command
from configs.settings import Settings, flatten
from permuted_mnist.run_state import RunState

Settable = dict[str, object]
"""Dotted names of settings, with values."""
Tensors = dict[str, torch.Tensor]

MATCHED_MLP: Settable = {"network.kind": "mlp"}
UNMATCHED: Settable = {"network.match_parameters": False}
OF_AN_UPDATE: dict[str, tuple[object, Settable, Settable]] = {
    # setting -> another value of it; settings with which it does something, and with which it does nothing
    "agent.value_bins": (21, {}, {"agent.critic_loss": "mse"}),
    "agent.value_range": (
        (-3.0, 9.0),
        {"agent.critic_loss": "mse", "normalization.reward_scaling": "per_task_return"},
        {"agent.critic_loss": "mse", "normalization.reward_scaling": "none"},
    ),
    "network.num_segments": (5, {}, {**UNMATCHED, "network.kind": "mlp"}),
    "network.segment_density": (0.5, MATCHED_MLP, {**UNMATCHED, "network.gating": "film"}),
    "network.weight_density": (0.5, MATCHED_MLP, {**UNMATCHED, "network.kind": "mlp"}),
    "network.dendritic_layers": ((1,), MATCHED_MLP, {**UNMATCHED, "network.kind": "mlp"}),
    "network.gating": ("max", {}, {"network.kind": "mlp"}),
    "network.attention_temperature": (0.7, {"network.gating": "attention"}, {}),
    "network.context_density": (0.5, {"network.gating": "gate_table"}, {"network.gating": "film"}),
    "network.embedding_size": (5, {"network.context": "embedding"}, {}),
    "network.winners_density": ((0.5,), {}, {"network.activation": "relu"}),
    "network.first_winners_density": (0.7, {"network.activation": "annealed_k_winners"}, {}),
    "network.winners_annealing": (0.101, {"network.activation": "soft_winners"}, {}),
    "network.winners_boost": (3.0, {"network.activation": "boosted_k_winners"}, {}),
    "network.winners_mass": (0.3, {"network.activation": "nucleus_winners"}, {}),
}
OF_A_RUN: dict[str, tuple[object, Settable, Settable]] = {
    "env.steps_per_task": (400, {"env.schedule": "one_by_one"}, {}),
    "exploration.hold_steps": (9, {}, {"exploration.hold_rate": 0.0}),
    "agent.protects": ("actor_and_critics", {"protection.strength": 0.1}, {}),
    "protection.damping": (0.3, {"protection.strength": 0.1}, {}),
    "evaluation.episodes_per_goal": (3, {"evaluation.actions": "sample"}, {}),
    "machine.ray_address": ("host:1", {"machine.workers_backend": "ray"}, {}),
}
"""Here, only the notes are tested."""
CLUSTERED = ["--context.kind", "clustering"]
OF_IMAGES: dict[str, tuple[str, list[str], list[str]]] = {
    "context.kind": ("one_hot", [], ["--network.kind", "plain"]),
    "context.cluster_pixels": ("1", CLUSTERED, []),
    "context.cluster_exemplars": ("2", [*CLUSTERED, "--context.cluster-p-value", "0.3"], []),
    "context.cluster_p_value": ("0.5", CLUSTERED, []),
    "network.winners_density": ("0.3", [], ["--network.activation", "relu"]),
    "network.num_segments": ("4", [], ["--network.kind", "plain"]),
    "network.context_density": ("0.5", [], ["--network.kind", "plain"]),
    "network.gated_off": ("0.4", ["--network.kind", "xdg", "--context.kind", "one_hot"], []),
    "learning.segment_epsilon": ("0.1", [], ["--network.kind", "plain"]),
    "protection.damping": ("0.9", ["--protection.strength", "5"], []),
}


def with_settings(config: Config, settings: Settable) -> Config:
    for key, value in settings.items():
        section, _, name = key.partition(".")
        part = replace(getattr(config, section), **{name: value})
        config = replace(config, **{section: part})
    return config


def updated(settings: Settable) -> tuple[Tensors, Tensors]:
    """Parameters and state of a small agent after an episode of one step, and two updates."""
    config = with_settings(make_plan(dtype=torch.float32).config, settings)
    plan = replace(resolve(config, torch.device("cpu")), obs_size=OBS, action_size=ACTION)
    agent = SAC(plan, seeded())
    rewards = np.linspace(1, 5, TASKS * config.env.copies_per_task, dtype=np.float32)
    rewards = rewards.reshape(TASKS, -1)
    agent.rewards.observe(rewards, rewards > 0, rewards < 0)
    agent.set_progress(0.1)
    for seed in (1, 2):
        agent.update(make_batch(torch.float32, seed), make_noise(torch.float32, seed))
    return dict(agent.named_parameters()), agent.state_dict()


def learned(*flags: str) -> Tensors:
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


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def idle(settings: Settable) -> set[str]:
    return set(MULTI_TASK.idle(with_settings(load_config("mt10"), settings)))


@pytest.mark.parametrize("key", OF_AN_UPDATE)
def test_a_setting_of_the_agent_does_nothing_where_a_note_says_so(key: str) -> None:
    """Parameters differ where it acts: what winners remember may differ and not matter."""
    value, acting, vain = OF_AN_UPDATE[key]
    assert not same(updated(acting)[0], updated({**acting, key: value})[0])
    assert same(updated(vain)[1], updated({**vain, key: value})[1])


@pytest.mark.parametrize("kind", get_args(Activation))
def test_notes_know_what_each_kind_of_winners_has(kind: str) -> None:
    usual = {"network.activation": kind}
    before = updated(usual)[0]
    for key, (value, _, _) in OF_AN_UPDATE.items():
        if "winners" in key:
            acts = not same(before, updated({**usual, key: value})[0])
            assert acts == (key not in idle({**usual, key: value})), key


@pytest.mark.parametrize("key", MULTI_TASK.effects)
def test_there_is_a_note_where_a_setting_does_nothing(key: str) -> None:
    value, acting, vain = {**OF_AN_UPDATE, **OF_A_RUN}[key]
    config = with_settings(load_config("mt10"), {**vain, key: value})
    assert any(note.startswith(f"{key}: ") for note in MULTI_TASK.without_effect(config))
    assert key not in idle({**acting, key: value})


@pytest.mark.parametrize("key", PERMUTED.effects)
def test_a_setting_of_images_does_nothing_where_a_note_says_so(key: str) -> None:
    value, acting, vain = OF_IMAGES[key]
    changed = [f"--{key.replace('_', '-')}", value]
    assert not same(learned(*acting), learned(*acting, *changed))
    assert not PERMUTED.without_effect(parse_permuted_command([*acting, *changed]).settings)
    assert same(learned(*vain), learned(*vain, *changed))
    (note,) = PERMUTED.without_effect(parse_permuted_command([*vain, *changed]).settings)
    assert note.startswith(f"{key}: {value} does nothing with ")


def test_digits_have_no_more_pixels_to_compare() -> None:
    more = [*CLUSTERED, "--context.cluster-pixels", "100"]
    assert same(learned(*CLUSTERED), learned(*more))
    (note,) = PERMUTED.without_effect(parse_permuted_command(more).settings)
    assert note.endswith("with context.kind: clustering and data.name: digits")


def test_a_network_told_nothing_it_can_use_still_learns_by_clusters() -> None:
    plain = ["--network.kind", "plain"]
    assert not same(learned(*plain), learned(*plain, *CLUSTERED, "--context.cluster-pixels", "1"))
    assert not PERMUTED.without_effect(parse_permuted_command([*plain, *CLUSTERED]).settings)


@pytest.mark.parametrize(
    ("known", "preset"),
    [(known, preset) for known in (MULTI_TASK, PERMUTED) for preset in known.preset_names()],
)
def test_presets_set_nothing_in_vain(known: Settings, preset: str) -> None:
    assert known.without_effect(known.load(preset)) == []


@pytest.mark.parametrize("known", [MULTI_TASK, PERMUTED])
def test_the_names_are_those_of_settings(known: Settings) -> None:
    names = dict(flatten(asdict(known.schema())))
    for key, effect in known.effects.items():
        assert {key, *effect.decided_by} <= names.keys()


def test_a_note_says_what_does_nothing_and_why() -> None:
    flags = ("--network.activation", "relu", "--network.winners-density", "0.5", "0.4")
    more = ("--exploration.hold-steps", "9", "--exploration.hold-rate", "0")
    gates = ("--network.attention-temperature", "0.5")
    said = succeed(train_mt10.main, "--config", "smoke", *flags, *more, *gates, "--dry-run").stdout
    assert said.splitlines()[-3:] == [
        "note: exploration.hold_steps: 9 does nothing with exploration.hold_rate: 0.0",
        "note: network.attention_temperature: 0.5 does nothing with network.kind: dendritic and network.gating: "
        "abs_max_signed",
        "note: network.winners_density: 0.5 0.4 does nothing with network.activation: relu",
    ]


SWEEP = """
command: train_permuted_mnist.py
config: digits
settings: {protection: {damping: 0.3}, network: {hidden: [16], num_segments: 7}}
arms:
  dendrites:
  plain: {network: {kind: plain}}
  open: {network: {gated_off: 0.3}}
  usual: {protection: {damping: 0.1}}
seeds: [1]
"""


def test_a_sweep_names_the_arm(tmp_path: Path) -> None:
    """Also where the arm has the usual value; of what all arms have, only what serves none of them."""
    file = tmp_path / "sweep_file.yaml"
    file.write_text(SWEEP)
    said = succeed(sweep.main, file, "--out", tmp_path / "out", "--dry-run").stdout
    assert [line for line in said.splitlines() if line.startswith("note")] == [
        f"note: {file}: arms.open: network.gated_off: 0.3 does nothing with network.kind: dendritic",
        f"note: {file}: arms.usual: protection.damping: 0.1 does nothing with protection.strength: 0.0",
        f"note: {file}: settings: protection.damping: 0.3 does nothing with protection.strength: 0.0",
    ]
