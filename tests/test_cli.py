"""The two commands as a user runs them: files, tables, exit codes, one-line errors."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, TINY, TINY_STEPS, Done, in_process, refused, run_script, succeed
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import evaluate
import train_mt10
from configs import load_config
from configs.command_line import parse_train_command
from configs.evaluation_command import PRETRAINED
from machine.cores import usable_cores
from training import export
from training.checkpoints.folder import find_checkpoint
from training.metrics.keys import metric_keys


def test_a_run_trains_with_gradient_steps_and_reports(tiny_run: Path) -> None:
    rows = list(csv.DictReader((tiny_run / "metrics.csv").open()))
    assert int(rows[-1]["env_steps"]) in range(TINY_STEPS - 150, TINY_STEPS + 1)
    assert int(rows[-1]["vector_steps"]) >= int(rows[-1]["env_steps"]) / 4
    # one for two vector steps of all four environments after the random 50
    assert int(rows[-1]["gradient_steps"]) == (int(rows[-1]["env_steps"]) // 4 - 50) // 2 > 50
    assert all(float(row["losses/critic"]) > 0 for row in rows[2:])
    assert [row["env_steps"] for row in rows if row["eval/success_rate"]] == ["300", "600"]
    output = tiny_run.with_suffix(".txt").read_text()
    assert "| reach-v3 " in output
    assert (tiny_run / "report.md").read_text().count("| reach-v3 ") == 1
    state = json.loads((find_checkpoint(tiny_run) / "state.json").read_text())
    assert state["progress"]["env_steps"] == TINY_STEPS


def test_training_without_a_terminal_is_quiet(tiny_run: Path) -> None:
    """Nothing but the forecast, the tables and where things are."""
    said = tiny_run.with_suffix(".txt").read_text()
    assert said.splitlines()[-1] == f"report: {tiny_run}/report.md, report.json, report.csv"
    assert not re.search("warning|error|note|it/s|step/s", said)


@pytest.mark.slow
def test_the_smoke_preset_runs_every_task(tmp_path: Path) -> None:
    """As it is: ten tasks, worker processes that are spawned, as many as there are cores."""
    done = run_script("train_mt10.py", "--config", "smoke", "--out", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    env_steps, vector_steps = int(rows[-1]["env_steps"]), int(rows[-1]["vector_steps"])
    assert 2000 <= env_steps < 2100  # up to the end of a chunk
    assert vector_steps >= env_steps / 20
    # 0.6 for each 20 environment steps after the random 400
    assert int(rows[-1]["gradient_steps"]) == int(0.6 * (env_steps // 20 - 20))
    assert set(rows[0]) >= set(metric_keys(load_config("smoke")))
    assert load_config(str(tmp_path / "run" / "config.yaml")) == load_config("smoke")
    for task in load_config("smoke").env.task_names:
        assert f"| {task} " in done.stdout


def test_weights_move(tiny_run: Path) -> None:
    """Best was saved at an evaluation, newest at the end."""
    best = load_file(next((tiny_run / "checkpoints").glob("best_*")) / "agent.safetensors")
    newest = load_file(find_checkpoint(tiny_run) / "agent.safetensors")
    for name in ("actor.head.weight", "critic.head.weight", "log_temperature"):
        assert not torch.equal(best[f"model.{name}"], newest[f"model.{name}"])


def test_every_declared_metric_reaches_tensorboard_and_csv(tiny_run: Path) -> None:
    events = EventAccumulator(str(tiny_run / "tensorboard"))
    events.Reload()
    declared = set(metric_keys(load_config(str(tiny_run / "config.yaml"))))
    assert set(events.Tags()["scalars"]) == declared
    header = (tiny_run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert set(header) - declared == {"env_steps", "vector_steps", "gradient_steps"}


def test_the_run_folder_holds_the_resolved_config(tiny_run: Path) -> None:
    recorded = load_config(str(tiny_run / "config.yaml"))
    assert recorded == parse_train_command(TINY).settings


def test_evaluate_repeats_the_report_of_training(tiny_run: Path, tmp_path: Path) -> None:
    """With two workers where training had one."""
    flags = ("--out", tmp_path / "again", "--goals", 2, "--workers", 2)
    done = succeed(evaluate.main, tiny_run, *flags)
    again = json.loads((tmp_path / "again" / "report.json").read_text())
    assert again == json.loads((tiny_run / "report.json").read_text())
    assert set(again) >= {
        *("mean_success_rate", "mean_success_rate_ci95", "tasks", "actions", "goals", "horizon"),
        *("env_steps_trained", "metaworld_version", "mujoco_version", "seed"),
    }
    assert "| **mean**" in done.stdout
    assert f"the same successes, goal by goal, as in {tiny_run}/report.json" in done.stdout


def test_an_exported_policy_evaluates_like_its_run(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "policy"
    succeed(export.main, tiny_run, "--out", out)
    assert {path.name for path in out.iterdir()} == {
        *("agent.safetensors", "state.json", "SHA256SUMS", "config.yaml", "metrics.csv"),
        *("sessions.csv", "report.json", "report.csv", "report.md", "README.md"),
        "learning_curve.png",
    }
    report = tmp_path / "report"
    again = (evaluate.main, out, "--goals", 2, "--out", report)
    done = succeed(*again)
    assert f"the same successes, goal by goal, as in {out}/report.json" in done.stdout

    shipped = json.loads((out / "report.json").read_text())
    _, block, card = (out / "README.md").read_text().split("---\n", 2)
    (result,) = yaml.safe_load(block)["model-index"][0]["results"]
    rate = shipped["mean_success_rate"]
    assert result["metrics"][0]["value"] == pytest.approx(rate, abs=5e-5)
    assert f"**{rate:.1%}**" in card
    assert "python evaluate.py path/to/policy --goals 2\n" in card
    failed = shipped["tasks"]["reach-v3"]["failed_goals"]
    shipped["tasks"]["reach-v3"]["failed_goals"] = sorted({0, 1} - set(failed))
    (out / "report.json").write_text(json.dumps(shipped))
    assert "goals with another outcome: reach-v3 [0, 1]" in succeed(*again).stdout
    shipped["tasks"]["reach-v3"] |= {"failed_goals": failed, "success_rate": 0.123}
    (out / "report.json").write_text(json.dumps(shipped))  # as with several episodes on a goal
    assert "goals with another outcome: reach-v3 (12.3% then)" in succeed(*again).stdout
    (out / "report.json").write_text("[]")
    assert "not a report of this version" in refused(*again)


def test_only_a_finished_run_is_exported_and_only_to_a_new_folder(
    tiny_run: Path, tmp_path: Path
) -> None:
    assert "exists already" in refused(export.main, tiny_run, "--out", tmp_path)
    newest = find_checkpoint(tiny_run)
    shutil.copytree(newest, tmp_path / "run" / "checkpoints" / newest.name)
    said = refused(export.main, tmp_path / "run", "--out", tmp_path / "other")
    assert "no config.yaml in it; export a finished run" in said
    longer = tmp_path / "longer"
    shutil.copytree(tiny_run, longer)
    report = json.loads((longer / "report.json").read_text()) | {"env_steps_trained": 7}
    (longer / "report.json").write_text(json.dumps(report))
    said = refused(export.main, longer, "--out", tmp_path / "other")
    assert "its report is of 7 environment steps, its last checkpoint of " in said
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_evaluate_takes_the_shipped_policy_by_default(tmp_path: Path) -> None:
    done = run_script("evaluate.py", "--goals", 1, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    shipped = json.loads((ROOT / "pretrained" / "mt10" / "report.json").read_text())
    assert report["env_steps_trained"] == shipped["env_steps_trained"]
    assert report["tasks"]["drawer-close-v3"]["success_rate"] == 1


def test_the_shipped_policy_is_small() -> None:
    assert PRETRAINED == ROOT / "pretrained" / "mt10"
    assert sum(path.stat().st_size for path in PRETRAINED.glob("*.*")) < 5e6


def test_evaluate_samples_actions_and_uses_other_goals(tiny_run: Path, tmp_path: Path) -> None:
    returns = {}
    for name, flags in {
        "mean": (),
        "sample": ("--actions", "sample"),
        "goals": ("--seed", 5),
    }.items():
        out = tmp_path / name
        succeed(
            evaluate.main, tiny_run, "--out", out, "--goals", 1, "--workers", 1, *map(str, flags)
        )
        report = json.loads((out / "report.json").read_text())
        returns[name] = report["tasks"]["reach-v3"]["mean_return"]
    assert len(set(returns.values())) == 3


def test_the_best_checkpoint_can_be_evaluated_but_not_resumed(
    tiny_run: Path, tmp_path: Path
) -> None:
    best = next((tiny_run / "checkpoints").glob("best_*"))
    flags = ("--goals", 1, "--workers", 1, "--out", tmp_path / "report")
    succeed(evaluate.main, best, *flags)
    run = tmp_path / "run"
    shutil.copytree(best, run / "checkpoints" / "step_000000300")
    shutil.copyfile(tiny_run / "config.yaml", run / "config.yaml")
    assert "holds networks only" in refused(train_mt10.main, "--resume", run)


def test_the_uniform_sampling_of_the_paper_trains(tmp_path: Path) -> None:
    """The paper preset's code path, at a size that a test can afford."""
    arguments = [
        *("--config", "paper", "--env.tasks", "reach-v3", "drawer-close-v3"),
        *("--network.actor-hidden", "40", "40", "--network.critic-hidden", "40", "40"),
        *("--replay.batch-size", "64", "--replay.capacity", "5000", "--env.horizon", "25"),
        *("--training.update-interval-vector-steps", "25", "--total-env-steps", "200"),
        *("--recording.log-interval-env-steps", "100", "--evaluation.interval-env-steps", "200"),
        *("--evaluation.horizon", "25", "--evaluation.episodes-per-goal", "2"),
        *("--evaluation.copies-per-task", "2", "--machine.compile", "never"),
        *("--machine.workers", "1", "--machine.threads", "1", "--machine.start-method", "fork"),
    ]
    succeed(train_mt10.main, *arguments, "--out", tmp_path / "run")
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert int(rows[-1]["gradient_steps"]) == 50  # 0.5 for each of 100 vector steps, in bursts


# --- what is said before anything starts ---------------------------------------------------------


@pytest.fixture(scope="module")
def mt10_dry_run(tmp_path_factory: pytest.TempPathFactory) -> Done:
    out = tmp_path_factory.mktemp("dry") / "run"
    done = succeed(train_mt10.main, "--dry-run", "--out", out)
    assert not out.exists()
    return done


def test_a_dry_run_prints_the_config_and_the_forecast(mt10_dry_run: Done) -> None:
    config, forecast = mt10_dry_run.stdout.split("dendritic (this run)")
    assert yaml.safe_load(config)["agent"]["actor_lr"] > 0
    assert "non-zero parameters" in forecast
    assert "mlp (for comparison)" in forecast
    assert "replay buffer: 1,000,000 transitions" in forecast


def test_the_forecast_of_fifty_tasks_counts_their_simulators() -> None:
    said = succeed(train_mt10.main, "--config", "mt50", "--dry-run").stdout
    found = re.search(
        r"simulators: 100 environments of 50 tasks in (\d+) process(?:es)?, 50 for evaluations; memory "
        r"about ([0-9.]+) GB",
        said,
    )
    assert found is not None, said
    processes = int(found[1]) + usable_cores()
    assert float(found[2]) == pytest.approx(150 * 0.004 + processes * 0.55, abs=0.06)
    assert "replay buffer: 3,000,000 transitions" in said


def test_help_describes_every_setting(mt10_dry_run: Done) -> None:
    text = succeed(train_mt10.main, "--help").stdout
    plain = yaml.safe_load(mt10_dry_run.stdout.split("dendritic (")[0])
    for section, settings in plain.items():
        names = (
            [section] if not isinstance(settings, dict) else [f"{section}.{k}" for k in settings]
        )
        for name in names:
            assert f"--{name.replace('_', '-')} " in text


def test_the_scripts_run_as_scripts(tmp_path: Path) -> None:
    """From another folder, and from a path with a space in it."""
    checkout = tmp_path / "check out"
    checkout.symlink_to(ROOT)
    for script, flag in (("train_mt10.py", "--agent.actor-lr "), ("evaluate.py", "--goals ")):
        done = run_script(checkout / script, "--help", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert flag in done.stdout
    done = run_script("train_mt10.py", "--sead", 1, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: Unrecognized options: --sead, 1 (did you mean --seed?). See train_mt10.py --help.\n"
    )
    assert os.listdir(tmp_path) == ["check out"]


def test_a_simulator_that_hangs_ends_training_with_its_name(tmp_path: Path) -> None:
    """A step timeout that no simulator can meet stands for a worker that hangs."""
    limits = ("--machine.step-timeout-s", 1e-6, "--machine.worker-restarts", 0)
    done = in_process(train_mt10.main, *TINY, "--out", tmp_path / "run", *limits)
    assert done.returncode == 2
    assert "simulator worker" in done.stderr
    assert "did not answer" in done.stderr
    assert "reach-v3 (copy 0, seed" in done.stderr
    assert len(done.stderr.splitlines()) == 1
