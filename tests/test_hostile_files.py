"""Files of strangers: each of these once did harm or gave a traceback; `tests/stress/fuzz.py` looks for more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import ROOT, TINY_STEPS, refused

import evaluate
import train_mt10
from agent.plan import resolve
from agent.player import exploring_player
from agent.sac import SAC
from configs import UsageError, load_config
from envs import make_goal_lists, training_envs
from evaluate import compare_with_history
from reporting.plots import plot, read_curves
from reporting.report import read_report
from training import export
from training.checkpoints.checksums import refuse_links, write_checksums
from training.checkpoints.folder import find_checkpoint
from training.checkpoints.resume import restore
from training.metrics.keys import COUNTER_COLUMNS, metric_keys
from training.metrics.log import MetricsLog
from training.run_state import RunState
from training.streams import seed_streams, torch_generator


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 90_000, "nested more than 20 deep"),
        ('{"a":' * 15_000, "nested more than 20 deep"),
        ("- " * 40_000, "nested more than 20 deep"),
        ("a: &a [1, 1]\nb: [*a, *a]", "aliases"),
        ("seed: 0x" + "f" * 50_000, "seed: .*a number of thousands of digits"),
        ("seed: " + "9" * 50_000, "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("seed: !!timestamp foo", "not valid YAML"),
        ("seed: !!int ''", "not valid YAML"),
        ("seed: !!bool x", "not valid YAML"),
    ],
)
def test_a_yaml_file_takes_no_time_and_runs_nothing(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        load_config(str(path))


@pytest.mark.parametrize("name", [".lock", ".config.yaml", "metrics.csv", "report.json"])
def test_a_link_in_a_run_folder_is_not_written_through(
    copied_run: Path, tmp_path: Path, name: str
) -> None:
    theirs, mine = copied_run, tmp_path / "mine"
    mine.write_text("precious")
    (theirs / name).unlink(missing_ok=True)
    (theirs / name).symlink_to(mine)
    said = refused(train_mt10.main, "--resume", theirs, "--total-env-steps", 900)
    assert f"{theirs}/{name}: a link or pipe" in said
    assert mine.read_text() == "precious"


def test_a_link_in_the_place_of_the_evaluation_is_not_written_through(
    copied_run: Path, tmp_path: Path
) -> None:
    theirs, mine = copied_run, tmp_path / "mine"
    mine.mkdir()
    (theirs / "evaluation").symlink_to(mine)
    assert "evaluation: a link or pipe" in refused(evaluate.main, theirs, "--goals", 1)
    assert not list(mine.iterdir())


def test_a_run_that_has_lost_its_checkpoint_is_not_started_over(
    tiny_run: Path, tmp_path: Path
) -> None:
    lost = tmp_path / "lost"
    shutil.copytree(tiny_run, lost, ignore=shutil.ignore_patterns("step_*"))
    rows = (lost / "metrics.csv").read_bytes()
    said = refused(train_mt10.main, "--resume", lost)
    assert "its checkpoint is missing or not whole" in said
    assert (lost / "metrics.csv").read_bytes() == rows


@pytest.fixture(scope="module")
def state(tiny_run: Path) -> Iterator[RunState]:
    """The live objects of that run, for checkpoints to be loaded into."""
    config = load_config(str(tiny_run / "config.yaml"))
    plan, streams = resolve(config, torch.device("cpu")), seed_streams(config.seed)
    goals = make_goal_lists(plan.tasks, config.seed)
    agent = SAC(plan, torch_generator(streams["weights"]))
    player = exploring_player(agent.policy, len(plan.tasks), config.exploration)
    with training_envs(config, goals, streams["environments"], 1, player) as envs:
        yield RunState.fresh(plan, agent, envs, streams)


@pytest.mark.parametrize(
    ("section", "key", "value", "says"),
    [
        ("progress", "gradient_steps", 2**60, "progress: gradient_steps"),
        ("progress", "gradient_steps", 0, "'gradient_steps' is not what was due"),
        ("progress", "last_log_env_steps", 10**9, "'last_log_env_steps' is beyond"),
        (
            "progress",
            "last_checkpoint_env_steps",
            TINY_STEPS + 1,
            "'last_checkpoint_env_steps' is beyond",
        ),
        ("versions", "mujoco", "\x1b]0;owned", "'versions' is not as this version writes it"),
        ("progress", "vector_steps", 3, "'env_steps' and 'vector_steps' do not agree"),
        ("progress", "env_steps", -1, "progress: env_steps"),
        ("progress", "elapsed_hours", 1e300, "progress: elapsed_hours"),
        ("config", "seed", 1, "'seed' is another one than in config.yaml"),
    ],
)
def test_a_checkpoint_that_cannot_be_of_this_run_is_refused(
    tiny_run: Path,
    state: RunState,
    tmp_path: Path,
    section: str,
    key: str,
    value: float,
    says: str,
) -> None:
    """Also with checksums that fit: they find damage, not intent."""
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(find_checkpoint(tiny_run), checkpoint)
    restore(state, checkpoint)
    document = json.loads((checkpoint / "state.json").read_text())
    document[section][key] = value
    (checkpoint / "state.json").write_text(json.dumps(document))
    names = [path.name for path in checkpoint.iterdir() if path.name != "SHA256SUMS"]
    write_checksums(checkpoint, names)
    with pytest.raises(UsageError, match=says):
        restore(state, checkpoint)


def test_metrics_that_are_not_those_of_the_checkpoint_are_refused(
    tiny_run: Path, state: RunState, tmp_path: Path
) -> None:
    def refused_at(size: int, says: str = r"metrics\.csv: missing, or shorter") -> None:
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(UsageError, match=says):
            MetricsLog(
                tmp_path,
                COUNTER_COLUMNS,
                metric_keys(state.plan.config),
                resume_at=(TINY_STEPS, size),
            )
        assert (path.read_bytes() if path.is_file() else b"") == before

    path = tmp_path / "metrics.csv"
    refused_at(10_000)  # there is none
    good = (tiny_run / "metrics.csv").read_bytes()
    path.write_bytes(good)
    refused_at(len(good) + 1)
    refused_at(40)  # in the middle of the header
    refused_at(len(good) - 3)  # in the middle of a row
    header, rows = good.split(b"\n", 1)
    names = header.split(b",")
    path.write_bytes(b",".join([*names[:-2], names[-1], names[-2]]) + b"\n" + rows)
    refused_at(len(good), "another order")
    path.write_bytes(b",".join([*names[:-1], b"mine"]) + b"\n" + rows)
    refused_at(len(good), rf"\(no {names[-1].decode()}, mine\); .* start a new run")


def test_a_network_that_is_not_in_the_file_is_not_built(tiny_run: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(find_checkpoint(tiny_run), theirs)
    state = json.loads((theirs / "state.json").read_text())
    state["config"]["network"] |= {"actor_hidden": [30_000, 30_000]}
    (theirs / "state.json").write_text(json.dumps(state))
    write_checksums(theirs, ["state.json", "agent.safetensors"])
    assert "its config is of a larger network" in refused(evaluate.main, theirs)


def test_long_names_of_settings_do_not_multiply(tiny_run: Path, tmp_path: Path) -> None:
    """A name that is copied for each of the settings beneath it would take 36 GB."""
    theirs = tmp_path / "theirs"
    shutil.copytree(find_checkpoint(tiny_run), theirs)
    state = json.loads((theirs / "state.json").read_text())
    state["config"]["x" * 600_000] = {str(i): 0 for i in range(60_000)}
    (theirs / "state.json").write_text(json.dumps(state))
    write_checksums(theirs, ["state.json", "agent.safetensors"])
    assert "x' is unknown; it was not made by train_mt10.py, or" in refused(evaluate.main, theirs)


@pytest.mark.parametrize("name", ["metrics.csv", "checkpoints"])
def test_what_a_link_leads_to_is_not_exported_or_evaluated(
    copied_run: Path, tmp_path: Path, name: str
) -> None:
    theirs, mine = copied_run, tmp_path / "mine"
    (theirs / name).rename(mine)
    (theirs / name).symlink_to(mine)
    out = tmp_path / "out"
    assert f"{name}: a link or pipe" in refused(export.main, theirs, "--out", out)
    assert f"{name}: a link or pipe" in refused(evaluate.main, theirs, "--goals", 1, "--out", out)
    assert not out.exists()


def test_a_run_folder_of_endless_depth_is_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join("a" * 400)).mkdir(parents=True)
    with pytest.raises(UsageError, match="nested more than 10 deep"):
        refuse_links(tmp_path)


def test_only_the_columns_of_the_tasks_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(
        "env_steps,eval/success_rate,eval/success_rate/$\\frac{,eval/success_rate/push-v3\n"
        "100,0.5,0.5,0.25\n200,,,\n300,1.0,1.0,0.75\n"
    )
    curves = read_curves(path)
    assert curves == {"": [(100, 0.5), (300, 1.0)], "push-v3": [(100, 0.25), (300, 0.75)]}
    plot(curves, tmp_path / "curve.png")
    with pytest.raises(UsageError, match=r"not a picture's ending; use one of .*png"):
        plot(curves, tmp_path / "curve.x")
    for text in (
        "env_steps,eval/success_rate\n1\n",
        "eval/success_rate\n1\n",
        "env_steps,eval/success_rate\n1,nan\n",
        "x," * 5000 + "\n",
        "",
    ):
        path.write_text(text)
        with pytest.raises(UsageError):
            read_curves(path)


def test_a_report_without_tasks_is_not_compared(
    capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    shipped = ROOT / "pretrained" / "mt10" / "report.json"
    other = tmp_path / "report.json"
    other.write_text(json.dumps({**json.loads(shipped.read_text()), "tasks": {}}))
    compare_with_history(read_report(shipped), other)
    assert capsys.readouterr().out == ""
    compare_with_history(read_report(shipped), shipped)
    assert "the same successes" in capsys.readouterr().out
