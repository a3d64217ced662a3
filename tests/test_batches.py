"""The batches of the gradient steps that are due."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from replay_samples import Lists, numbers_of, seeded

from agent.plan import resolve
from configs import load_config
from training.allocation import TaskShares
from training.batches import BatchSource
from training.progress import Progress
from training.stopwatch import Stopwatch


def make_source(generator, sampling="balanced", updates=1.0, random_env_steps=0, least=1.0):
    """Of two tasks with three copies each, whose buffer holds four vector steps."""
    config = load_config("smoke")
    config = replace(
        config,
        env=replace(
            config.env, tasks=config.env.task_names[:2], copies_per_task=3, least_task_share=least
        ),
        exploration=replace(config.exploration, random_env_steps=random_env_steps),
        training=replace(config.training, updates_per_vector_step=updates),
        replay=replace(config.replay, batch_size=8, sampling=sampling),
    )
    plan = resolve(config, torch.device("cpu"))
    buffer = Lists(2, 3, 8).filled(4).buffer
    shares = TaskShares(2, least)
    return BatchSource(plan, buffer, shares, Progress(), Stopwatch(), generator)


@pytest.mark.parametrize(("sampling", "shape"), [("balanced", (2, 4)), ("uniform", (8,))])
def test_a_batch_is_drawn_for_every_gradient_step_that_is_due(sampling, shape):
    # twelve random environment steps are two vector steps; two updates for each after that
    source = make_source(seeded(1), sampling, updates=2.0, random_env_steps=12)
    for vector_steps, due in ((0, 0), (2, 0), (3, 2), (3, 0), (5, 4)):
        source.progress.env_steps = 6 * vector_steps
        drawn = list(source.due(0))
        assert len(drawn) == due
        for batch, noise in drawn:
            assert batch.reward.shape == shape
            assert noise.shape == (2, *shape, 2)
    assert source.progress.gradient_steps == 6


@pytest.mark.parametrize(
    ("env_steps", "rehearsal", "tasks"),
    [(18, False, [0, 0, 0, 0]), (54, False, [1, 1, 1, 1]), (54, True, [0, 0, 1, 1])],
)
def test_one_by_one_a_batch_is_of_the_present_task_or_of_all_so_far(env_steps, rehearsal, tasks):
    source = make_source(seeded(1))
    config = source.plan.config
    source.plan = replace(
        source.plan,
        config=replace(
            config,
            env=replace(config.env, schedule="one_by_one", steps_per_task=36),
            replay=replace(config.replay, rehearsal=rehearsal),
        ),
    )
    if env_steps < 36:  # nothing is known of the task to come
        source.replay.stored[1] = 0
    source.progress.env_steps = env_steps
    source.progress.gradient_steps = env_steps // 3 - 5
    drawn = list(source.due(0))
    assert len(drawn) == 5
    for batch, noise in drawn:
        assert batch.task.flatten().tolist() == tasks  # two groups of two for each task
        assert batch.reward.shape == (4, 2)
        assert noise.shape == (2, 4, 2, 2)


@pytest.mark.parametrize("sampling", ["balanced", "uniform"])
def test_what_is_drawn_is_the_replay_buffers_sample_and_then_the_noise(sampling):
    """Part of what a seed means."""
    source, generator = make_source(seeded(1), sampling), seeded(1)
    source.progress.env_steps = 18
    drawn = list(source.due(0))
    assert len(drawn) == 3
    for batch, noise in drawn:
        expected = source.replay.sample(sampling, 8, generator)
        assert torch.equal(numbers_of(batch), numbers_of(expected))
        assert torch.equal(noise, torch.randn(2, *batch.action.shape, generator=generator))


def test_what_is_in_play_counts_and_without_anything_stored_nothing_is_learned():
    source = make_source(seeded(1))
    stored = source.replay.stored
    source.replay.stored = torch.zeros_like(stored)
    assert list(source.due(playing=18)) == []
    source.replay.stored = stored
    source.progress.env_steps = 12
    assert len(list(source.due(playing=18))) == 5
    assert len(list(source.due(playing=18))) == 0


def test_a_gradient_step_counts_once_the_next_batch_is_asked_for():
    """One that raises was not done, and nothing is drawn that is not used."""
    generator = seeded(1)
    source = make_source(generator)
    source.progress.env_steps = 18
    before = generator.get_state()
    batches = source.due(0)
    assert torch.equal(generator.get_state(), before)
    for done in range(3):
        next(batches)
        assert source.progress.gradient_steps == done
    after = generator.get_state()
    assert list(batches) == []
    assert source.progress.gradient_steps == 3
    assert torch.equal(generator.get_state(), after)


def test_a_batch_has_more_groups_of_a_task_that_fails():
    source = make_source(seeded(1), least=0.2)
    for _ in range(400):
        source.shares.observe(0, success=True)
    source.progress.env_steps = 6 * 600
    tasks = torch.stack([batch.task for batch, _ in source.due(0)])  # [updates, G, 1]
    assert tasks.shape == (600, 4, 1)
    assert (tasks == 0).float().mean().item() == pytest.approx(0.2 / 1.2, abs=0.01)
