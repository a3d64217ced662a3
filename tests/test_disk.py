"""Full disks, read-only and vanished folders: nothing is lost that was saved."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import (
    ROOT,
    TINY,
    TINY_STEPS,
    resume,
    training_process,
    wait_until,
)

from machine.interpreter import this_python
from tests.stress.small_run import command, differences
from training.checkpoints.folder import find_checkpoint, newest_checkpoint


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


def test_files_that_cannot_grow_cost_no_checkpoint_and_no_row(
    tiny_run: Path, tmp_path: Path
) -> None:
    """A limit on the size of files: the system refuses the write, as if the disk was full."""
    out, said = tmp_path / "run", tmp_path / "said"
    settings = ("--recording.checkpoint-interval-env-steps", 200)
    last = find_checkpoint(tiny_run) / "replay.safetensors"
    limit = last.stat().st_size * 780 // TINY_STEPS  # not enough for step 800
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))  # the process inherits it
    try:
        with training_process(said, *TINY, *settings, "--out", out) as process:
            process.join(120)
            assert process.exitcode == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    text = said.read_text()
    assert "warning: no checkpoint could be written" in text
    assert "File too large" in text
    assert f"then: {this_python()} train_mt10.py --resume {out}" in text
    assert "Traceback" not in text
    assert find_checkpoint(out).name == "step_000000600"
    assert not list((out / "checkpoints").glob(".writing-*"))
    resume(out, "--recording.checkpoint-interval-env-steps", 250)
    # the best checkpoint is of before, and holds the interval
    assert [what for what in differences(tiny_run, out) if not what.startswith("best_")] == []


@pytest.mark.slow
@can_mount
@pytest.mark.parametrize(("kilobytes", "has_checkpoint"), [(1040, True), (300, False)])
def test_a_full_disk_costs_no_checkpoint_and_no_row(
    tiny_run: Path, tmp_path: Path, kilobytes: int, has_checkpoint: bool
) -> None:
    """Checkpoints grow with the replay buffer, until two do not fit side by side; or not even one."""
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
    done = in_own_mounts(script, disk, *command(*TINY, "--out", disk / "run"))
    said = done.stdout + done.stderr
    assert "warning: no checkpoint could be written" in said
    assert "No space left on device" in said
    assert "exit code 2" in said
    assert f"then: {this_python()} train_mt10.py --resume {disk}/run" in said
    assert "Traceback" not in said
    copy = tmp_path / "small.copy"
    assert (newest_checkpoint(copy) is not None) == has_checkpoint
    assert not list((copy / "checkpoints").glob(".writing-*"))
    # with room again it goes on, and ends as if nothing had been
    assert differences(tiny_run, tmp_path / "small.mended") == []


@can_mount
def test_a_disk_that_has_become_read_only_is_named(copied_run: Path) -> None:
    script = 'mount --bind $1 $1 && mount -o remount,ro,bind $1 && shift && "$@"'
    going_on = command("--resume", copied_run, "--total-env-steps", 1600)
    done = in_own_mounts(script, copied_run, *going_on)
    assert done.returncode == 2
    assert "Read-only file system; checkpoints that were complete are untouched" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_vanished_folder_ends_the_run_with_one_line(tmp_path: Path) -> None:
    out, said = tmp_path / "run", tmp_path / "said"
    with training_process(said, *TINY, "--total-env-steps", 10**6, "--out", out) as process:
        wait_until(lambda: bool(list(out.glob("checkpoints/step_*"))))
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
        process.join(120)
        assert process.exitcode == 2
    (error,) = [line for line in said.read_text().splitlines() if line.startswith("error:")]
    assert "No such file or directory" in error
    assert "Traceback" not in said.read_text()
    assert not out.exists()
