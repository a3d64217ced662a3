"""Shared by the tests: goal lists, and the command lines run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is not a failure, and CI tries the same examples every time.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from envs import GoalLists, make_goal_lists  # noqa: E402

TINY = [
    *("--config", "smoke"),
    *("--env.tasks", "reach-v3", "drawer-close-v3"),
    *("--network.actor-hidden", "32", "32"),
    *("--network.critic-hidden", "32", "32"),
]
"""The smoke preset on two tasks with small networks."""


@pytest.fixture(scope="session")
def goal_lists() -> GoalLists:
    return make_goal_lists(seed=0)


def run_script(script: str, *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Run one of the two commands and wait for it."""
    return run_python(ROOT / script, *arguments, cwd=cwd)


def run_python(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Run this Python with arguments and wait for it."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
    )


def train(out: Path, *arguments: object) -> subprocess.CompletedProcess:
    """Train into a new run folder; fails the test if the command fails."""
    done = run_script("train_mt10.py", *TINY, "--out", out, *arguments)
    assert done.returncode == 0, done.stderr
    return done


def rows_without_time(run: Path) -> list[list[str]]:
    """metrics.csv as text cells, less the columns that depend on the clock."""
    lines = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    keep = [i for i, name in enumerate(lines[0]) if not name.startswith("time/")]
    return [[line[i] for i in keep] for line in lines]
