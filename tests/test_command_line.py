"""Every setting is a flag; which of them a resumed run may change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from configs import MT10, MT25, MT50, UsageError, dump_config, load_config
from configs.command_line import parse_train_command


def leaves(tree: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted names and values of nested settings."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_any_setting_can_be_changed_on_the_command_line() -> None:
    settings = parse_train_command(
        [
            "--config",
            "quick",
            "--seed",
            "3",
            "--agent.actor-lr",
            "7e-4",
            "--network.actor-hidden",
            "64",
            "32",
            "--network.layer-norm",
            "False",
            "--machine.workers",
            "2",
        ]
    ).settings
    quick = load_config("quick")
    assert settings == replace(
        quick,
        seed=3,
        agent=replace(quick.agent, actor_lr=7e-4),
        network=replace(quick.network, actor_hidden=(64, 32), layer_norm=False),
        machine=replace(quick.machine, workers=2),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--agent.actorlr 1", "did you mean --agent.actor-lr"),
        ("--env.workers 3", "--env.workers is now --machine.workers. See "),
        ("--agent.hold-rate 0.1", "--agent.hold-rate is now --exploration.hold-rate. See "),
        ("--device cpu --seed 1", "--device is now --machine.device. See "),
        ("--env.tasks MT10", "unknown task 'MT10' (did you mean 'mt10'?)"),
        ("--network.dendritic-layers", "the network is not told its task; name a layer, or use "),
        ("--env.num-goals 3", "use --evaluation.goals 3 --evaluation.report-goals 3"),
        ("--agent.actor-lr x", "--agent.actor-lr"),
        ("--agent.actor-lr 0", "agent.actor_lr: input should be greater than 0"),
        ("--seed", "--seed"),
        ("--config", "--config"),
        ("--machine.start-method threads", "--machine.start-method"),
        ("--resume nowhere", "--resume nowhere: no run there"),
        ("--resume nowhere --config quick", "--config: not with --resume"),
    ],
)
def test_command_line_mistakes_name_the_flag(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_train_command(line.split())
    assert message in str(caught.value)


def test_any_setting_can_be_changed_on_the_command_line_by_its_own_name() -> None:
    """Every key of the YAML file is a flag: those of a smaller preset make it of the default one."""
    smoke = load_config("smoke")
    assert smoke != load_config("mt10")
    flags = []
    for key, value in leaves(yaml.safe_load(dump_config(smoke))):
        values = value if isinstance(value, list) else [value]
        flags += [f"--{key.replace('_', '-')}", *map(str, values)]
    assert parse_train_command(flags).settings == smoke


@pytest.mark.parametrize(
    ("given", "tasks"),
    [
        (["mt10"], MT10),
        (["mt25"], MT25),
        (["mt50"], MT50),
        (["push-v3", "reach-v3"], ("push-v3", "reach-v3")),
    ],
)
def test_tasks_are_a_set_or_a_list(
    given: list[str], tasks: tuple[str, ...], tmp_path: Path
) -> None:
    """On the command line and in a file alike; in the order given."""
    even = ["--replay.batch-size", str(10 * len(tasks))]
    line = parse_train_command(["--env.tasks", *given, *even]).settings
    assert line.env.task_names == tasks
    path = tmp_path / "mine.yaml"
    written = given[0] if len(given) == 1 else given
    path.write_text(yaml.safe_dump({"env": {"tasks": written}, "replay": {"batch_size": 50}}))
    assert load_config(str(path)).env.task_names == tasks
    path.write_text(dump_config(line))
    assert load_config(str(path)) == line


# --- runs that go on -----------------------------------------------------------------------------


OTHER = {
    "machine.device": "cpu",
    "machine.threads": 3,
    "machine.precision": "float32",
    "machine.compile": "auto",
    "machine.workers": 3,
    "machine.start_method": "fork",
    "machine.workers_backend": "ray",
    "machine.ray_address": "127.0.0.2:6379",
    "machine.step_timeout_s": 7.0,
    "machine.worker_restarts": 7,
    "machine.lost_episodes": 7,
    "recording.log_interval_env_steps": 7,
    "recording.checkpoint_interval_env_steps": 7,
    "evaluation.interval_env_steps": 7,
    "evaluation.goals": 7,
    "evaluation.report_goals": 7,
    "evaluation.horizon": 7,
    "evaluation.copies_per_task": 7,
    "evaluation.episodes_per_goal": 7,
    "evaluation.actions": "sample",
    "total_env_steps": 7,
}
"""Another value for each setting that may change."""


def test_a_resumed_run_may_change_what_is_no_part_of_the_experiment(tmp_path: Path) -> None:
    smoke = load_config("smoke")
    (tmp_path / "config.yaml").write_text(dump_config(smoke))
    flags = [word for k, v in OTHER.items() for word in (f"--{k.replace('_', '-')}", str(v))]
    changed = parse_train_command(["--resume", str(tmp_path), *flags]).settings
    got = dict(leaves(yaml.safe_load(dump_config(changed))))
    assert {key: got[key] for key in OTHER} == OTHER
    free = ("evaluation.", "recording.", "machine.", "total_env_steps")
    assert {key for key in got if key.startswith(free)} == set(OTHER)
    assert (
        replace(
            changed,
            machine=smoke.machine,
            recording=smoke.recording,
            evaluation=smoke.evaluation,
            total_env_steps=smoke.total_env_steps,
        )
        == smoke
    )


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--seed", "7"),
        ("--env.horizon", "7"),
        ("--env.tasks", "mt25"),
        ("--replay.sampling", "uniform"),
        ("--network.layer-norm", "False"),
        ("--agent.actor-lr", "7e-4"),
        ("--exploration.hold-rate", "0.7"),
        ("--normalization.observation-frame", "world"),
        ("--training.updates-per-vector-step", "7"),
    ],
)
def test_a_resumed_run_keeps_what_it_learns_and_how(flag: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(dump_config(load_config("smoke")))
    with pytest.raises(UsageError, match=f"{flag}: fixed by the run that is resumed"):
        parse_train_command(["--resume", str(tmp_path), flag, value])
    with pytest.raises(UsageError, match="--out: not with --resume"):
        parse_train_command(["--resume", str(tmp_path), "--out", "x"])
