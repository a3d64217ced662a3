"""Sweep files: what they say becomes the ordinary commands, and what is wrong gets one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import in_process

import sweep
from configs import dump_config, load_config
from configs.command_line import parse_train_command
from configs.errors import UsageError
from configs.loading import MULTI_TASK
from configs.permuted_mnist import PERMUTED
from configs.permuted_mnist.command import parse_permuted_command
from sweeps.definition import config_of, read_sweep
from sweeps.runs import require_same_settings, runs_of

GOOD = """
config: smoke
settings: {agent: {actor_lr: 0.002}, total_env_steps: 3000, env: {tasks: [reach-v3, push-v3]}}
arms:
  dendrites:
  relu: {network: {activation: relu}, replay: {rehearsal: false}}
  faster:
    network: {num_segments: 8}
    agent: {actor_lr: 0.003}
seeds: [3, 1]
"""


def written(folder: Path, text: str = GOOD) -> Path:
    path = folder / "sweep_file.yaml"
    path.write_text(text)
    return path


def test_runs_are_every_arm_with_every_seed(tmp_path: Path) -> None:
    runs = runs_of(read_sweep(written(tmp_path)), tmp_path)
    assert [run.name for run in runs] == [
        *("dendrites-seed3", "relu-seed3", "faster-seed3"),
        *("dendrites-seed1", "relu-seed1", "faster-seed1"),
    ]
    assert {run.state for run in runs} == {"new"}


def test_the_command_line_gives_the_settings_of_the_arm(tmp_path: Path) -> None:
    read = read_sweep(written(tmp_path))
    for run in runs_of(read, tmp_path):
        command = parse_train_command(run.arguments(cores=2)[1:])
        expected = replace(config_of(read, run.arm, ""), seed=run.seed)
        assert replace(command.settings, machine=expected.machine) == expected
        assert command.out == run.folder
        assert (command.settings.machine.threads, command.settings.machine.workers) == (1, 1)
        own = {"faster": 0.003}.get(run.arm, 0.002)
        assert (expected.agent.actor_lr, expected.total_env_steps) == (own, 3000)


@pytest.mark.parametrize("preset", MULTI_TASK.preset_names())
def test_the_commands_do_not_depend_on_a_file_that_config_names(
    tmp_path: Path, preset: str
) -> None:
    """It may be edited while runs wait."""
    own = tmp_path / "my own.yaml"
    own.write_text(dump_config(replace(load_config(preset), seed=5)))
    read = read_sweep(written(tmp_path, f"config: {own}\narms: {{a: }}\nseeds: [1]"))
    expected = replace(config_of(read, "a", ""), seed=1)
    (run,) = runs_of(read, tmp_path)
    own.unlink()
    found = parse_train_command(run.arguments(cores=2)[1:]).settings
    machine = replace(expected.machine, threads=1, workers=1)
    assert found == replace(expected, machine=machine)


@pytest.mark.parametrize("preset", PERMUTED.preset_names())
def test_nor_do_those_of_permuted_images(tmp_path: Path, preset: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(PERMUTED.dump(PERMUTED.load(preset)))
    text = f"command: train_permuted_mnist.py\nconfig: {own}\narms: {{a: }}\nseeds: [1]"
    read = read_sweep(written(tmp_path, text))
    expected = replace(config_of(read, "a", ""), seed=1)
    (run,) = runs_of(read, tmp_path)
    own.unlink()
    found = parse_permuted_command(run.arguments(cores=2)[1:]).settings
    assert found == replace(expected, machine=replace(expected.machine, threads=2))


@pytest.mark.parametrize(
    "setting",
    [
        "total_env_steps: 1.0e+4",
        "env: {stagger_episodes: 0}",
        "replay: {rehearsal: 'no', sampling: balanced}",
        "agent: {value_range: [-5, 5]}",
    ],
)
def test_what_a_preset_may_say_the_command_line_says_too(tmp_path: Path, setting: str) -> None:
    read = read_sweep(written(tmp_path, f"arms: {{a: {{{setting}}}}}\nseeds: [1]"))
    (run,) = runs_of(read, tmp_path)
    found = parse_train_command(run.arguments(cores=2)[1:]).settings
    expected = replace(config_of(read, "a", ""), seed=1)
    assert found == replace(expected, machine=found.machine)


def test_a_sweep_of_permuted_images(tmp_path: Path) -> None:
    text = "command: train_permuted_mnist.py\nconfig: digits\narms: {a: , b: {learning: {lr: 0.1}}}\nseeds: [0]"
    read = read_sweep(written(tmp_path, text))
    for run in runs_of(read, tmp_path):
        command = parse_permuted_command(run.arguments(cores=2)[1:])
        expected = replace(config_of(read, run.arm, ""), seed=0)
        assert replace(command.settings, machine=expected.machine) == expected
        assert (command.settings.machine.threads, run.total) == (2, 10)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arms: {}\nseeds: [1]", "arms: dictionary should have at least 1 item"),
        ("arms: {a: }\nseeds: []", "seeds: list should have at least 1 item"),
        ("seeds: [1]", "arms: field required"),
        ("arms: {a: }\nseeds: [1, 1]", "seeds: one is given twice"),
        ("arms: {a: }\nseeds: [-1]", "seeds.0: input should be greater than or equal to 0"),
        ("arms: {a: }\nseeds: [1]\nsetings: {}", "(did you mean 'settings'?)"),
        (
            "arms: {A b: }\nseeds: [1]",
            "(names of arms: small letters, digits, _ and -, at most 40)",
        ),
        (
            "arms: {a: }\nseeds: [1]\nconfig: mt11",
            "config mt11: neither a preset of train_mt10.py nor a file",
        ),
        ("arms: {a: {agent: {actr_lr: 1}}}\nseeds: [1]", "arms.a: unknown key 'agent.actr_lr'"),
        ("arms: {a: {agent: {actor_lr: -1}}}\nseeds: [1]", "arms.a: agent.actor_lr"),
        ("arms: {a: {seed: 3}}\nseeds: [1]", "arms.a: seed: the runs' seeds are those under"),
        (
            "arms: {a: {machine: {threads: 1}}}\nseeds: [1]",
            "arms.a: machine.threads: sweep.py sets it; use its --cores",
        ),
        (
            "arms: {a: , b: {evaluation: {goals: 3}}}\nseeds: [1]",
            "arms.b: evaluation.goals: 3 here, 5 in a; arms that are compared are measured alike",
        ),
        (
            "arms: {a: , b: {env: {tasks: [reach-v3, push-v3]}}}\nseeds: [1]\nconfig: smoke",
            "arms.b: env.tasks: ('reach-v3', 'push-v3') here, 'mt10' in a",
        ),
        (
            "arms: {a: , b: {total_env_steps: 3000}}\nseeds: [1]",
            "arms.b: total_env_steps: 3000 here, 3000000 in a",
        ),
        (
            "command: train_permuted_mnist.py\nconfig: digits\n"
            "arms: {a: , b: {recording: {evaluation_interval_tasks: 2}}}\nseeds: [1]",
            "arms.b: recording.evaluation_interval_tasks: 2 here, 1 in a",
        ),
        (
            "command: train_permuted_mnist.py\nconfig: digits\n"
            "arms: {a: , b: {data: {name: mnist}}}\nseeds: [1]",
            "arms.b: data.name: 'mnist' here, 'digits' in a",
        ),
        (
            "command: train_permuted_mnist.py\nconfig: digits\n"
            "arms: {a: , b: {data: {evaluate_on: validation}}}\nseeds: [1]",
            "arms.b: data.evaluate_on: 'validation' here, 'test' in a",
        ),
        (
            "config: mt10_one_by_one\narms: {a: , b: {env: {steps_per_task: 200000}}}\nseeds: [1]",
            "arms.b: env.steps_per_task: 200000 here, ",
        ),
        (
            "arms: {a: }\nseeds: [1]\nsettings: {machine: 3}",
            "yaml: settings: machine: input should be a dictionary",
        ),
        (
            "arms: {a: }\nseeds: [1]\nsettings: {total_env_step: 3}",
            "yaml: settings: unknown key 'total_env_step'",
        ),
        ("arms: {a: }\nseeds: [1]\nsettings: {seed: 3}", "yaml: settings: seed: the runs' seeds"),
        (
            "arms: {a: }\nseeds: [1]\nsettings: {machine: {workers: 3}}",
            "yaml: settings: machine.workers: sweep.py sets it",
        ),
        ("arms: {a: , b: , a: {}}\nseeds: [1]", "line 1: 'a' is there twice"),
        ("arms: {a: }\nseeds: [1]\ncommand: rm", "command: input should be 'train_mt10.py'"),
        ("arms: [", "not valid YAML"),
        ("- 1", "the file: input should be a dictionary; it needs arms and seeds"),
        ("arms: {a: }\nseeds: 3", "seeds: input should be a valid list; such as [1, 2, 3]"),
    ],
)
def test_a_wrong_file_gets_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read_sweep(written(tmp_path, text))
    assert said in str(error.value)


def test_a_run_begun_with_other_settings_is_not_taken_for_the_arms(tmp_path: Path) -> None:
    read = read_sweep(written(tmp_path))
    runs = runs_of(read, tmp_path)
    command = parse_train_command(runs[0].arguments(cores=1)[1:])
    runs[0].folder.mkdir(parents=True)
    (runs[0].folder / "config.yaml").write_text(dump_config(command.settings))
    require_same_settings(read, runs)
    other = read_sweep(written(tmp_path, GOOD.replace("3000", "4000")))
    with pytest.raises(UsageError, match="begun with total_env_steps 3000, arm dendrites has 4000"):
        require_same_settings(other, runs_of(other, tmp_path))
    (runs[0].folder / "report.json").write_text("{}")
    (runs[0].folder / "config.yaml").write_text(dump_config(replace(command.settings, seed=7)))
    with pytest.raises(UsageError, match="dendrites-seed3: is a run with seed 7"):
        require_same_settings(read, runs)
    (runs[0].folder / "config.yaml").unlink()
    with pytest.raises(UsageError, match="missing, and yet there is"):
        require_same_settings(read, runs)
    (runs[0].folder / "config.yaml").write_text(dump_config(command.settings))
    stranger = read_sweep(written(tmp_path, "arms: {other: }\nseeds: [1]"))
    with pytest.raises(UsageError, match="has the runs of another sweep; give another --out"):
        require_same_settings(stranger, runs_of(stranger, tmp_path))


def test_a_sweep_that_was_killed_before_it_began_begins(tmp_path: Path) -> None:
    file, out = written(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / ".lock").write_text("7 on here\n")  # all that it had written
    done = in_process(sweep.main, file, "--out", out, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["missing.yaml", "--out", "x"], "missing.yaml: no such sweep file or folder"),
        (["FILE"], "--out: give a folder for the sweep, such as runs/sweep_file"),
        (["FOLDER"], "no sweep there"),
        (["FOLDER", "--out", "x"], "--out: not with the folder of a sweep"),
        (["FILE", "--out", "x", "--jobs", "0"], "--jobs 0: give 1 or more"),
        (["FILE", "--out", "x", "--cores", "999", "--dry-run"], "--cores 999: more than this"),
        (["FILE", "--out", "x", "--address", "1.2.3.4:1"], "--address: is that of a Ray cluster"),
        (["FILE", "--out", "x", "--slurm", "a=b"], "--slurm a=b: give KEY=VALUE, with --backend"),
        (["FILE", "--out", "x", "--backend", "cloud"], "--backend"),
        (["FILE", "--out", "x", "--dry-run", "--report"], "--dry-run, --report: give one of them"),
        (["FILE", "--out", "x", "--hours", "0"], "--hours 0: give more than 0"),
        (["FILE", "--out", "x", "--hours", "nan"], "--hours nan: give more than 0, and an end"),
        (["FILE", "--out", "x", "--hours", "3"], "--hours 3: is Slurm's time limit; add --backend"),
        (["FILE", "--out", "FOLDER"], "holds something else than a sweep; give another folder"),
        (["FILE", "--out", "FILE"], "holds something else than a sweep; give another folder"),
    ],
)
def test_a_wrong_flag_gets_one_line(tmp_path: Path, flags: list[str], said: str) -> None:
    places = {"FILE": str(written(tmp_path)), "FOLDER": str(tmp_path)}
    done = in_process(sweep.main, *[places.get(flag, flag) for flag in flags])
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_address_without_a_port_gets_one_line(tmp_path: Path) -> None:
    flags = ("--backend", "ray", "--address", "1.2.3.4")
    done = in_process(sweep.main, written(tmp_path), "--out", tmp_path / "out", *flags)
    assert (done.returncode, done.stderr) == (
        2,
        "error: --backend ray: --address 1.2.3.4: give HOST:PORT\n",
    )


def test_runs_on_a_ray_cluster_do_not_ask_for_more_of_it(tmp_path: Path) -> None:
    """They would hold the cores that their simulators wait for."""
    file = written(
        tmp_path, "config: smoke\narms: {a: {machine: {workers_backend: ray}}}\nseeds: [1]"
    )
    done = in_process(sweep.main, file, "--out", tmp_path / "out", "--backend", "ray")
    assert done.returncode == 2
    assert "arms.a: machine.workers_backend: ray, in runs that are on a Ray" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    done = in_process(sweep.main, file, "--out", tmp_path / "out", "--dry-run")
    assert done.returncode == 0, done.stderr
