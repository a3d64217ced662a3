"""The two commands as a user runs them: files, tables, exit codes, one-line errors."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, TINY, run_python, run_script, train
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agent.checkpoint import find_checkpoint
from agent.checksums import write_checksums
from configs import load_config
from reporting.metric_keys import metric_keys


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run of the real smoke preset: ten tasks, gradient steps, evaluation, report."""
    out = tmp_path_factory.mktemp("smoke") / "run"
    done = run_script("train_mt10.py", "--config", "smoke", "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_smoke_trains_with_gradient_steps_and_reports(smoke: tuple[Path, str]) -> None:
    run, output = smoke
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert int(rows[-1]["env_steps"]) == 2000
    assert int(rows[-1]["vector_steps"]) == 100
    assert int(rows[-1]["gradient_steps"]) == 79  # one for each vector step after the random 20
    assert all(float(row["losses/critic"]) > 0 for row in rows[1:])
    assert rows[-1]["eval/success_rate"] != ""
    assert "| reach-v3 " in output
    assert "reach-v3" in (run / "report.md").read_text()


def test_weights_move(smoke: tuple[Path, str]) -> None:
    """Best was saved at step 1000, newest at 2000."""
    run, _ = smoke
    best = load_file(next((run / "checkpoints").glob("best_*")) / "agent.safetensors")
    newest = load_file(find_checkpoint(run) / "agent.safetensors")
    for name in ("actor.head.weight", "critic.head.weight", "log_temperature"):
        assert not torch.equal(best[f"model.{name}"], newest[f"model.{name}"])


def test_every_declared_metric_reaches_tensorboard_and_csv(smoke: tuple[Path, str]) -> None:
    run, _ = smoke
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    declared = set(metric_keys(load_config("smoke")))
    assert set(events.Tags()["scalars"]) == declared
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert set(header) - declared == {"env_steps", "vector_steps", "gradient_steps"}


def test_the_run_folder_holds_the_resolved_config(smoke: tuple[Path, str]) -> None:
    assert load_config(str(smoke[0] / "config.yaml")) == load_config("smoke")


def test_evaluate_repeats_the_report_of_training(smoke: tuple[Path, str], tmp_path: Path) -> None:
    done = run_script(
        "evaluate.py", smoke[0], "--out", tmp_path / "again", "--goals", 2, "--workers", 1
    )
    assert done.returncode == 0, done.stderr
    again = json.loads((tmp_path / "again" / "report.json").read_text())
    assert again == json.loads((smoke[0] / "report.json").read_text())
    assert set(again) >= {
        *("mean_success_rate", "mean_success_rate_ci95", "tasks", "actions", "goals", "horizon"),
        *("env_steps_trained", "metaworld_version", "mujoco_version", "seed"),
    }
    assert "| **mean**" in done.stdout


def test_an_exported_policy_evaluates_like_its_run(smoke: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "policy"
    done = run_python("-m", "agent.export", smoke[0], "--out", out)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {
        *("agent.safetensors", "state.json", "SHA256SUMS", "config.yaml", "metrics.csv"),
        *("report.json", "report.csv", "report.md"),
    }
    done = run_script("evaluate.py", out, "--goals", 2)
    assert done.returncode == 0, done.stderr
    assert f"the same successes, goal by goal, as in {out}/report.json" in done.stdout

    shipped = json.loads((out / "report.json").read_text())
    failed = shipped["tasks"]["reach-v3"]["failed_goals"]
    shipped["tasks"]["reach-v3"]["failed_goals"] = sorted({0, 1} - set(failed))
    (out / "report.json").write_text(json.dumps(shipped))
    done = run_script("evaluate.py", out, "--goals", 2)
    assert "goals with another outcome: reach-v3 [0, 1]" in done.stdout
    (out / "report.json").write_text("[]")
    expect_error("evaluate.py", out, "--goals", 2, says="not a report of this version")

    expect_error("-m", "agent.export", smoke[0], "--out", out, says="exists already")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    newest = find_checkpoint(smoke[0])
    shutil.copytree(newest, tmp_path / "run" / "checkpoints" / newest.name)
    unfinished = ("-m", "agent.export", tmp_path / "run", "--out", tmp_path / "other")
    expect_error(*unfinished, says="no config.yaml in it; export a finished run")
    assert not (tmp_path / "other").exists()


def test_evaluate_takes_the_shipped_policy_by_default(tmp_path: Path) -> None:
    done = run_script("evaluate.py", "--goals", 1, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    shipped = json.loads((ROOT / "pretrained" / "mt10" / "report.json").read_text())
    assert report["env_steps_trained"] == shipped["env_steps_trained"]
    assert report["tasks"]["drawer-close-v3"]["success_rate"] == 1
    assert sum(path.stat().st_size for path in (ROOT / "pretrained/mt10").glob("*.*")) < 5e6


def test_evaluate_samples_actions_and_uses_other_goals(
    smoke: tuple[Path, str], tmp_path: Path
) -> None:
    returns = {}
    for name, flags in {
        "mean": (),
        "sample": ("--actions", "sample"),
        "goals": ("--seed", 5),
    }.items():
        done = run_script("evaluate.py", smoke[0], "--out", tmp_path / name, "--goals", 1, *flags)
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / name / "report.json").read_text())
        returns[name] = report["tasks"]["reach-v3"]["mean_return"]
    assert len(set(returns.values())) == 3


def test_dry_run_prints_the_forecast_and_writes_nothing(tmp_path: Path) -> None:
    done = run_script("train_mt10.py", "--dry-run", "--out", tmp_path / "run")
    assert done.returncode == 0
    config, forecast = done.stdout.split("dendritic (this run)")
    assert yaml.safe_load(config)["agent"]["actor_lr"] > 0
    assert "non-zero parameters" in forecast
    assert "mlp (for comparison)" in forecast
    assert "GB" in forecast
    assert not (tmp_path / "run").exists()


def test_help_describes_every_setting() -> None:
    text = run_script("train_mt10.py", "--help").stdout
    plain = yaml.safe_load(run_script("train_mt10.py", "--dry-run").stdout.split("dendritic (")[0])
    for section, settings in plain.items():
        names = (
            [section] if not isinstance(settings, dict) else [f"{section}.{k}" for k in settings]
        )
        for name in names:
            assert f"--{name.replace('_', '-')} " in text


def expect_error(script: str, *arguments: object, says: str) -> None:
    """Exit code 2 and exactly one line on stderr."""
    done = run_script(script, *arguments) if script != "-m" else run_python(script, *arguments)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert says in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--agent.actr-lr", "1"], "did you mean --agent.actor-lr"),
        (["--agent.actor-lr", "fast"], "--agent.actor-lr"),
        (["--config", "nope"], "--config nope: neither a preset nor a file"),
        (["--device", "cuda:7", "--config", "smoke"], "--device cuda:7: this machine has"),
        (["--device", "tpu"], "--device tpu: give auto, cpu, cuda or cuda:N"),
        (["--env.tasks", "reach-v2"], "unknown task 'reach-v2' (did you mean 'reach-v3'?)"),
        (["--replay.capacity", "1000000000000"], "replay.capacity: 1,000,000,000,000"),
    ],
)
def test_bad_arguments_to_training(arguments: list[str], says: str, tmp_path: Path) -> None:
    expect_error("train_mt10.py", *arguments, "--out", tmp_path / "run", says=says)


def test_an_output_folder_in_use_is_refused(smoke: tuple[Path, str]) -> None:
    expect_error("train_mt10.py", "--out", smoke[0], says="exists and is not empty")


def test_an_output_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    expect_error("train_mt10.py", "--out", tmp_path / "file" / "run", says="can't be written")


def test_a_read_only_folder_is_refused() -> None:
    """Nobody, not even root, makes a folder in /proc."""
    expect_error("train_mt10.py", "--out", "/proc/run", says="--out /proc/run: can't be written")


def test_missing_foreign_and_truncated_checkpoints(smoke: tuple[Path, str], tmp_path: Path) -> None:
    expect_error("evaluate.py", tmp_path / "none", says="no such run or checkpoint folder")
    expect_error("evaluate.py", tmp_path, says="no checkpoint in it")
    checkpoint = find_checkpoint(smoke[0])
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "state.json").write_text((checkpoint / "state.json").read_text()[:500])
    expect_error("evaluate.py", broken, says="state.json: not a readable checkpoint")
    (broken / "state.json").write_text('{"epoch": 3}')
    expect_error("evaluate.py", broken, says="format None, this version reads format 2")
    (broken / "state.json").write_text((checkpoint / "state.json").read_text())
    expect_error("evaluate.py", broken, says="No such file or directory")
    shutil.copyfile(checkpoint / "SHA256SUMS", broken / "SHA256SUMS")
    expect_error("evaluate.py", broken, says="agent.safetensors: not a checkpoint part")
    whole = (checkpoint / "agent.safetensors").read_bytes()
    (broken / "agent.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    expect_error("evaluate.py", broken, says="its checksum is not the one in SHA256SUMS")
    torch.save({"weights": torch.ones(3)}, broken / "agent.safetensors")
    write_checksums(broken, ["state.json", "agent.safetensors"])
    expect_error("evaluate.py", broken, says="agent.safetensors: not a checkpoint part")


def test_a_checkpoint_of_other_shapes_names_the_tensor(
    smoke: tuple[Path, str], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    checkpoint = find_checkpoint(smoke[0])
    (other / "state.json").write_text((checkpoint / "state.json").read_text())
    tensors = load_file(checkpoint / "agent.safetensors")
    tensors["model.actor.head.weight"] = torch.zeros(8, 99)
    save_file(tensors, other / "agent.safetensors")
    write_checksums(other, ["state.json", "agent.safetensors"])
    expect_error("evaluate.py", other, says="'model.actor.head.weight' is torch.float32 [8, 99]")


def test_the_best_checkpoint_can_be_evaluated_but_not_resumed(
    smoke: tuple[Path, str], tmp_path: Path
) -> None:
    best = next((smoke[0] / "checkpoints").glob("best_*"))
    done = run_script("evaluate.py", best, "--goals", 1, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "config.yaml").write_text((smoke[0] / "config.yaml").read_text())
    (tmp_path / "checkpoints").mkdir()
    shutil.copytree(best, tmp_path / "checkpoints" / "step_000001000")
    expect_error("train_mt10.py", "--resume", tmp_path, says="holds networks only")


def test_evaluate_checks_its_flags(smoke: tuple[Path, str]) -> None:
    expect_error("evaluate.py", smoke[0], "--goals", 51, says="--goals 51")
    expect_error("evaluate.py", smoke[0], "--seed", -1, says="--seed -1")
    expect_error("evaluate.py", smoke[0], "--device", "cuda:9", says="--device cuda:9")
    expect_error("evaluate.py", smoke[0], "--workers", 0, says="--workers 0")


def test_a_dying_worker_ends_training_with_its_name(tmp_path: Path) -> None:
    """A step timeout that no simulator can meet stands for a worker that hangs."""
    arguments = (
        "--out",
        tmp_path / "run",
        "--env.step-timeout-s",
        1e-6,
        "--env.worker-restarts",
        0,
    )
    done = run_script("train_mt10.py", *TINY, *arguments)
    assert done.returncode == 2
    assert "simulator worker" in done.stderr
    assert "did not answer" in done.stderr
    assert "reach-v3 (copy 0, seed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_uniform_sampling_of_the_paper_trains(tmp_path: Path) -> None:
    """The paper preset's code path, at a size that a test can afford."""
    arguments = [
        *("--config", "paper", "--compile", "never", "--env.tasks", "reach-v3", "drawer-close-v3"),
        *("--network.actor-hidden", "40", "40", "--network.critic-hidden", "40", "40"),
        *("--replay.batch-size", "64", "--replay.capacity", "5000", "--env.horizon", "25"),
        *("--training.update-interval-vector-steps", "25", "--total-env-steps", "200"),
        *("--training.log-interval-env-steps", "100", "--evaluation.interval-env-steps", "200"),
        *("--evaluation.horizon", "25", "--evaluation.episodes-per-goal", "2"),
    ]
    done = run_script("train_mt10.py", *arguments, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert int(rows[-1]["gradient_steps"]) == 37  # 0.5 for each of 75 vector steps, in bursts


def test_training_without_a_terminal_is_quiet(tmp_path: Path) -> None:
    done = train(tmp_path / "run", "--total-env-steps", 400)
    assert done.stderr == ""
