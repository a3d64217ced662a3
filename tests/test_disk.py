"""Full disks, read-only and vanished folders: nothing is lost that was saved."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from agent.checkpoint import newest_checkpoint
from reliability.small_run import SMALL, command, differences, train


def in_own_mounts(script: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run a shell script in a mount namespace of its own; `$1`, ... are the arguments."""
    become_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return subprocess.run(
        ["unshare", *become_root, "--mount", "bash", "-c", script, "bash", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )


can_mount = pytest.mark.skipif(
    shutil.which("unshare") is None or in_own_mounts("mount -t tmpfs tmpfs /mnt").returncode != 0,
    reason="needs a small disk of its own, hence the right to mount one",
)


@can_mount
@pytest.mark.parametrize(
    ("kilobytes", "env_steps", "has_checkpoint"), [(1700, 3600, True), (300, 1600, False)]
)
def test_a_full_disk_costs_no_checkpoint_and_no_row(
    tmp_path: Path, kilobytes: int, env_steps: int, has_checkpoint: bool
) -> None:
    """Checkpoints grow with the replay buffer, until two do not fit side by side; or not even one."""
    settings = [*SMALL, "--total-env-steps", env_steps, "--evaluation.interval-env-steps", 10**6]
    whole = tmp_path / "whole"
    train(*settings, "--out", whole)
    script = f"""
        mount -t tmpfs -o size={kilobytes}k tmpfs $1
        shift
        "$@"
        echo "exit code $?"
        disk=$(findmnt --noheadings --output TARGET --types tmpfs --raw | grep small)
        cp -r $disk/run $disk.copy
        mount -o remount,size=100m $disk
        python=$1
        $python train_mt10.py --resume $disk/run && cp -r $disk/run $disk.mended
    """
    disk = tmp_path / "small"
    disk.mkdir()
    done = in_own_mounts(script, disk, *command(*settings, "--out", disk / "run"))
    said = done.stdout + done.stderr
    assert "warning: no checkpoint could be written" in said
    assert "No space left on device" in said
    assert "exit code 2" in said
    assert f"then: python train_mt10.py --resume {disk}/run" in said
    assert "Traceback" not in said
    copy = tmp_path / "small.copy"
    assert (newest_checkpoint(copy) is not None) == has_checkpoint
    assert not list((copy / "checkpoints").glob(".writing-*"))
    # with room again it goes on, and ends as if nothing had been
    assert differences(whole, tmp_path / "small.mended") == []


@can_mount
def test_a_disk_that_has_become_read_only_is_named(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(*SMALL, "--total-env-steps", 700, "--out", out)
    script = 'mount --bind $1 $1 && mount -o remount,ro,bind $1 && shift && "$@"'
    done = in_own_mounts(script, out, *command("--resume", out, "--total-env-steps", 1600))
    assert done.returncode == 2
    assert "Read-only file system; checkpoints that were complete are untouched" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_vanished_folder_ends_the_run_with_one_line(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = subprocess.Popen(
        command(*SMALL, "--total-env-steps", 10**6, "--out", out),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(out.glob("checkpoints/step_*")):
        assert run.poll() is None
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 2
    assert "No such file or directory" in said
    assert "Traceback" not in said
    assert not out.exists()
