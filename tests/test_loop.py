"""The loop as a whole: settings reach the parts they are for, and each part is told what it has to know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from live_run import live_run

from agent.player import evaluated_player
from dendrites.other_winners import AnnealedKWinners
from envs import EpisodeResults, evaluation_envs, make_goal_lists, rollout
from envs.episodes import EpisodeTracker, FinishedEpisode
from envs.step import Step
from train_mt10 import play_and_learn
from training.evaluation import evaluate
from training.streams import torch_generator

DISTINCT = (
    *("--env.horizon", "24", "--env.num-goals", "7", "--env.copies-per-task", "3"),
    *("--evaluation.horizon", "29", "--evaluation.copies-per-task", "2"),
    *("--training.chunk-vector-steps", "4", "--env.stagger-episodes", "True"),
    *("--agent.n-step", "5", "--agent.discount", "0.9", "--replay.capacity", "6000"),
)
"""Every value is another one, so that none can stand for another."""


def test_settings_reach_the_environments_and_the_buffer(tmp_path: Path) -> None:
    with live_run(tmp_path, *DISTINCT) as run:
        envs, replay = run.state.collector.envs, run.state.replay
        assert (envs.horizon, envs.num_goals, envs.copies, envs.longest_chunk) == (24, 7, 3, 4)
        assert envs.state_dict()["time_limit"].tolist() == [8, 16, 24] * 2  # staggered
        assert (replay.n_step, replay.discount, replay.length) == (5, 0.9, 1000)
        config, agent = run.state.plan.config, run.state.agent
        assert (agent.settings.n_step, agent.settings.discount) == (5, 0.9)
        goals, player = make_goal_lists(envs.tasks, 0), evaluated_player(agent.policy, 2, False)
        with evaluation_envs(config, goals, 1, player) as evaluated:
            assert (evaluated.horizon, evaluated.copies, evaluated.num_goals) == (29, 2, 50)
            evaluated.reset(np.zeros((2, 2), np.int64))
            assert evaluated.state_dict()["time_limit"].tolist() == [29] * 4


def test_mean_actions_play_each_goal_once_for_a_second_episode_would_be_the_same(
    tmp_path: Path,
) -> None:
    flags = ("--evaluation.episodes-per-goal", "3")
    with live_run(tmp_path, *flags, *("--evaluation.horizon", "12")) as run:
        config, policy = run.state.plan.config, run.state.agent.policy
        goals = make_goal_lists(config.env.task_names, 0)
        seed, returns = np.random.SeedSequence(1), {}
        for actions in ("mean", "sample"):
            player = evaluated_player(policy, 2, actions == "sample")
            settings = replace(config.evaluation, actions=actions)
            with evaluation_envs(config, goals, 1, player) as envs:
                returns[actions] = evaluate(envs, settings, goals=2, seed=seed).returns
                again = rollout(envs, goals=2, episodes_per_goal=3, generator=torch_generator(seed))
            episodes = again.returns.reshape(2, 2, 3)  # [T, goals, episodes]
            assert (episodes == episodes[..., :1]).all() == (actions == "mean")
        assert returns["mean"].shape == (2, 2)
        assert returns["sample"].shape == (2, 6)


@pytest.mark.parametrize("schedule", ["together", "one_by_one"])
def test_learning_rates_and_winners_follow_the_run_or_its_phase(
    schedule: str, tmp_path: Path
) -> None:
    flags = [
        *("--agent.final-lr-fraction", "0.2", "--training.chunk-vector-steps", "10"),
        *("--env.schedule", schedule),
    ]
    if schedule == "together":  # annealed winners take no phases
        flags += ["--network.activation", "annealed_k_winners"]
    else:
        flags += ["--env.steps-per-task", "410", "--env.least-task-share", "1"]
    with live_run(tmp_path, *flags) as run:
        state, agent = run.state, run.state.agent
        length = 820 if schedule == "together" else 410
        rates = []
        while state.progress.env_steps < 820:
            done = state.progress.env_steps % length / length  # as the chunk begins
            play_and_learn(state)
            for name in ("actor", "critic"):
                first = getattr(agent.settings, f"{name}_lr")
                assert agent.descents[name].lr == pytest.approx(first * (1 - 0.8 * done))
            rates.append(agent.descents["actor"].lr)
            for module in agent.policy.actor.modules():
                if isinstance(module, AnnealedKWinners):
                    annealed = min(1.0, done / module.annealing)
                    assert float(module.annealed) == pytest.approx(annealed)
        assert rates[-1] < 0.3 * rates[0]  # nearly at the end
        assert (np.diff(rates) > 0).sum() == (schedule == "one_by_one")  # the next phase begins


def test_the_best_checkpoint_is_the_first_of_the_best_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Successes are given: 2, 4, 3 and 4 of four episodes' two tasks, in turn."""
    successes = iter([2, 4, 3, 4])

    def evaluated(*_: object, **__: object) -> EpisodeResults:
        zeros = np.zeros((2, 4), np.int64)
        success = (np.arange(8) < next(successes)).reshape(2, 4)
        tasks = ("reach-v3", "drawer-close-v3")
        return EpisodeResults(tasks, zeros, success, success, zeros * 1.0, zeros + 25, zeros)

    with live_run(tmp_path, "--evaluation.interval-env-steps", "100") as run:
        monkeypatch.setattr(run.recorder, "evaluate", evaluated)
        best = []
        while run.state.progress.env_steps < 400:
            play_and_learn(run.state)
            before = run.state.progress.last_evaluation_env_steps
            run.recorder.record()
            if run.state.progress.last_evaluation_env_steps > before:
                (found,) = run.checkpoints.glob("best_*")
                best.append((found.name, run.state.progress.best_success_rate))
    names, rates = zip(*best, strict=True)
    assert rates == (0.25, 0.5, 0.5, 0.5)
    assert names[0] < names[1] == names[2] == names[3]


def a_step(tasks: list[int], reward: object, done: object, success: object) -> Step:
    """A step of two copies, of which some arrays matter."""
    shape, no = (len(tasks), 2), np.zeros((len(tasks), 2), bool)
    empty = np.zeros((*shape, 0), np.float32)
    rewards = np.array(reward, np.float32).reshape(shape)
    ends, flags = np.array(done, bool).reshape(shape), np.array(success, bool).reshape(shape)
    return Step(np.array(tasks), empty, empty, empty, rewards, no, ends, flags, no, 0)


def test_episodes_by_hand() -> None:
    """Success at any step, sums from one end to the next, of the task that plays, less lost ones."""
    tracker = EpisodeTracker((3, 2))
    none = [[0, 0], [0, 0]]
    assert tracker.observe(a_step([0, 2], [[1, 2], [3, 4]], none, [[1, 0], [0, 0]])) == []
    found = tracker.observe(a_step([2], [[10, 20]], [[1, 0]], [[0, 1]]))
    assert found == [FinishedEpisode(task=2, total_reward=13, success=False, length=2)]
    found = tracker.observe(a_step([0, 2], [[5, 6], [7, 8]], [[1, 1], [0, 1]], none))
    assert found == [
        FinishedEpisode(task=0, total_reward=6, success=True, length=2),
        FinishedEpisode(task=0, total_reward=8, success=False, length=2),
        FinishedEpisode(task=2, total_reward=32, success=True, length=3),
    ]
    lost = a_step([0], [[1, 1]], [[1, 1]], [[1, 1]])
    lost = lost._replace(lost=np.array([[True, False]]))
    assert tracker.observe(lost) == [FinishedEpisode(0, 1, True, 1)]
    found = tracker.observe(a_step([0], [[2, 2]], [[1, 1]], [[0, 0]]))  # nothing is left of before
    assert found == [FinishedEpisode(0, 2, False, 1)] * 2
