"""What goes wrong is said in one line that names the flag, the key or the file; exit code 2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from conftest import TINY, refused
from safetensors.torch import load_file, save_file

import evaluate
import train_mt10
from configs import exit_on_error
from training.checkpoints.checksums import write_checksums
from training.checkpoints.folder import find_checkpoint


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--agent.actr-lr", "1"], "did you mean --agent.actor-lr"),
        (["--agent.actor-lr", "fast"], "--agent.actor-lr"),
        (["--config", "nope"], "--config nope: neither a preset of train_mt10.py nor a file"),
        (["--machine.device", "cuda:7"], "--machine.device cuda:7: this machine has"),
        (["--machine.device", "tpu"], "--machine.device tpu: give auto, cpu, cuda or cuda:N"),
        (["--env.tasks", "reach-v2"], "unknown task 'reach-v2' (did you mean 'reach-v3'?)"),
        (["--env.tasks", "mt15"], "unknown task 'mt15' (did you mean 'mt"),
        (["--env.tasks", "mt10", "push-v3"], "env.tasks: 'mt10' is a set of tasks, not one in a"),
        (["--resume", "nowhere", "--config", "quick"], "--config: not with --resume"),
    ],
)
def test_bad_arguments_to_training(arguments: list[str], says: str, tmp_path: Path) -> None:
    assert says in refused(train_mt10.main, *arguments, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--agent.actor-lr", "fast"], ["--seed"], ["--sead", "1"], ["--seed", "1", "2"]),
        *(["--config"], ["--resume"], ["--machine.start-method", "threads"]),
    ],
)
def test_lines_of_the_parser_end_as_sentences(arguments: list[str]) -> None:
    said = refused(train_mt10.main, *arguments)
    assert said.endswith((". See train_mt10.py --help.\n", "? See train_mt10.py --help.\n"))
    assert ".." not in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--replay.capacity", "1000000000000"], "replay.capacity: 1,000,000,000,000"),
        (["--env.copies-per-task", "1000"], "fewer --machine.workers, --env.copies-per-task"),
        (
            ["--env.copies-per-task", "900", "--config", "mt50"],
            "error: 45050 simulators in ",
        ),
        (
            ["--network.actor-hidden", *(["65536"] * 16)],
            "network.actor_hidden and critic_hidden: need",
        ),
    ],
)
def test_a_run_too_big_for_the_memory_is_refused_with_its_setting(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    said = refused(train_mt10.main, *arguments, "--out", tmp_path / "run")
    assert says in said
    assert "GB" in said
    assert not (tmp_path / "run").exists()


def test_an_output_folder_in_use_is_refused(tiny_run: Path) -> None:
    assert "exists and is not empty" in refused(train_mt10.main, *TINY, "--out", tiny_run)


def test_an_output_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = refused(train_mt10.main, *TINY, "--out", tmp_path / "file" / "run")
    assert "can't be written" in said
    # nobody, not even root, makes a folder in /proc
    said = refused(train_mt10.main, *TINY, "--out", "/proc/run")
    assert "--out /proc/run: can't be written" in said


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--goals", 51), "--goals 51"),
        (("--seed", -1), "--seed -1"),
        (("--device", "cuda:9"), "--device cuda:9"),
        (("--workers", 0), "--workers 0"),
        (("--golas", 3), "did you mean --goals?). See evaluate.py --help."),
    ],
)
def test_evaluate_checks_its_flags(tiny_run: Path, flags: tuple, says: str) -> None:
    assert says in refused(evaluate.main, tiny_run, *flags)


# --- checkpoints ---------------------------------------------------------------------------------


def test_missing_and_foreign_checkpoints(tmp_path: Path) -> None:
    assert "no such run or checkpoint folder" in refused(evaluate.main, tmp_path / "none")
    assert "no checkpoint in it" in refused(evaluate.main, tmp_path)
    (tmp_path / "state.json").write_text('{"epoch": 3}')
    said = refused(evaluate.main, tmp_path)
    assert "format None, this version of the project reads format 3" in said


def test_truncated_and_changed_checkpoints(tiny_run: Path, tmp_path: Path) -> None:
    checkpoint, broken = find_checkpoint(tiny_run), tmp_path / "broken"
    broken.mkdir()
    text = (checkpoint / "state.json").read_text()
    (broken / "state.json").write_text(text[:500])
    assert "state.json: not a readable checkpoint" in refused(evaluate.main, broken)
    (broken / "state.json").write_text(text)
    assert "No such file or directory" in refused(evaluate.main, broken)
    shutil.copyfile(checkpoint / "SHA256SUMS", broken / "SHA256SUMS")
    assert "agent.safetensors: not a checkpoint part" in refused(evaluate.main, broken)
    whole = (checkpoint / "agent.safetensors").read_bytes()
    (broken / "agent.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "its checksum is not the one in SHA256SUMS" in refused(evaluate.main, broken)
    torch.save({"weights": torch.ones(3)}, broken / "agent.safetensors")
    write_checksums(broken, ["state.json", "agent.safetensors"])
    assert "agent.safetensors: not a checkpoint part" in refused(evaluate.main, broken)


def test_a_checkpoint_of_other_shapes_names_the_tensor(tiny_run: Path, tmp_path: Path) -> None:
    checkpoint = find_checkpoint(tiny_run)
    shutil.copyfile(checkpoint / "state.json", tmp_path / "state.json")
    tensors = load_file(checkpoint / "agent.safetensors")
    tensors["model.actor.head.weight"] = torch.zeros(8, 99)
    save_file(tensors, tmp_path / "agent.safetensors")
    write_checksums(tmp_path, ["state.json", "agent.safetensors"])
    said = refused(evaluate.main, tmp_path)
    assert "'model.actor.head.weight' is torch.float32 [8, 99]" in said


def test_a_checkpoint_of_the_older_layout_is_named_as_such(copied_run: Path) -> None:
    """Format 2 had `counters` and other sections of settings; its checksums are right."""
    checkpoint = find_checkpoint(copied_run)
    document = json.loads((checkpoint / "state.json").read_text())
    document["format"] = 2
    document["counters"] = document.pop("progress")
    document["config"]["training"] |= document["config"].pop("exploration")
    (checkpoint / "state.json").write_text(json.dumps(document))
    names = [path.name for path in checkpoint.iterdir() if path.name != "SHA256SUMS"]
    write_checksums(checkpoint, names)
    says = (
        f"{checkpoint}/state.json: not a readable checkpoint (format 2, this version of the project "
        "reads format 3; the version that wrote it can still read it); use another one"
    )
    assert says in refused(evaluate.main, copied_run)
    assert says in refused(train_mt10.main, "--resume", copied_run)

    # its config.yaml is that of its layout, too, and is read first
    settings = yaml.safe_load((copied_run / "config.yaml").read_text())
    settings["training"] |= settings.pop("exploration")
    (copied_run / "config.yaml").write_text(yaml.safe_dump(settings))
    said = refused(train_mt10.main, "--resume", copied_run)
    assert (
        "config.yaml: 'exploration' is missing; it was not made by train_mt10.py, or it was by another version"
        in said
    )


def test_ctrl_c_where_nobody_waits_for_it_is_one_line_too(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def main() -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        exit_on_error(main)
    assert caught.value.code == 130
    assert capfd.readouterr().err == "stopped at once, without saving\n"
