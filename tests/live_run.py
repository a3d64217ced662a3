"""A run in this process, to be stepped by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import TINY

from agent.plan import resolve
from agent.player import exploring_player
from agent.sac import SAC
from configs.command_line import parse_train_command
from envs import make_goal_lists, training_envs
from training.recorder import Recorder
from training.run_state import RunState
from training.stop_signals import StopSignals
from training.streams import seed_streams, torch_generator


@dataclass(frozen=True)
class LiveRun:
    """What train_mt10.py sets up."""

    state: RunState
    recorder: Recorder
    signals: StopSignals
    checkpoints: Path


@contextmanager
def live_run(folder: Path, *flags: str) -> Iterator[LiveRun]:
    """A run in a new folder, with the settings of `TINY` and those of the flags.

    Its recorder has the training environments in place of those of evaluations.
    """
    config = parse_train_command([*TINY, *flags]).settings
    plan, streams = resolve(config), seed_streams(config.seed)
    goals = make_goal_lists(plan.tasks, config.seed)
    agent = SAC(plan, torch_generator(streams["weights"]))
    player = exploring_player(agent.policy, len(plan.tasks), config.exploration)
    with training_envs(config, goals, streams["environments"], 1, player) as envs:
        state = RunState.fresh(plan, agent, envs, streams)
        state.collector.reset()
        (folder / "checkpoints").mkdir(parents=True)
        signals, seed = StopSignals(), streams["evaluation"]
        with Recorder(state, folder, envs, seed, signals, resumed=False) as recorder:
            yield LiveRun(state, recorder, signals, folder / "checkpoints")
