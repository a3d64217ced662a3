"""A real training run of seconds, and whether two of them are the same."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from configs.errors import UsageError
from training.checkpoints.folder import BEST, NEWEST, load_part, load_state

ROOT = Path(__file__).parents[2]
SMALL = (
    *("--config", "smoke"),
    *("--env.tasks", "reach-v3", "drawer-close-v3"),
    *("--network.actor-hidden", "32", "32"),
    *("--network.critic-hidden", "32", "32"),
    *("--recording.log-interval-env-steps", "300"),
    *("--evaluation.interval-env-steps", "1200"),
    *("--recording.checkpoint-interval-env-steps", "500"),
    *("--exploration.hold-rate", "0.2"),  # so that a stop comes in the middle of a hold
)
"""The smoke preset on two tasks with small networks; every part of a run comes within seconds."""

# the clock's columns differ in value and in length
_CLOCK = ("metrics_bytes", "elapsed_hours", "worker_restarts")


def command(*arguments: object) -> list[str]:
    """The command line of train_mt10.py, for a subprocess in `ROOT`."""
    return [sys.executable, "train_mt10.py", *map(str, arguments)]


def run_to_its_end(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run train_mt10.py until it ends by itself."""
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True)


def train(*arguments: object) -> None:
    """Train to the end.

    Raises:
        UsageError: the run failed.
    """
    done = run_to_its_end(*arguments)
    if done.returncode:
        raise UsageError(f"train_mt10.py failed: {done.stderr.strip()[-500:]}")


def tell(progress: str) -> None:
    """Say how far a harness has come."""
    print(progress, file=sys.stderr, flush=True)


def differences(one: Path, other: Path, ignore: tuple[str, ...] = ()) -> list[str]:
    """In what two finished run folders differ, apart from what the clock says.

    Args:
        one, other: run folders.
        ignore: metrics that may differ.
    """
    found = []
    if _rows(one, ignore) != _rows(other, ignore):
        found.append("metrics.csv")
    if _events(one, ignore) != _events(other, ignore):
        found.append("TensorBoard")
    if _report(one) != _report(other):
        found.append("report.json")
    for kind, parts in ((NEWEST, ("agent", "replay", "loop")), (BEST, ("agent",))):
        mine, theirs = (sorted((run / "checkpoints").glob(f"{kind}*")) for run in (one, other))
        names = [path.name for path in mine]
        if names != [path.name for path in theirs] or len(names) > 1:
            found.append(f"{kind}* are {[path.name for path in (*mine, *theirs)]}")
            continue
        for own, other_own in zip(mine, theirs, strict=True):  # one or none
            if _state(own) != _state(other_own):
                found.append(f"{own.name}/state.json")
            found += [
                f"{own.name}/{part}.safetensors"
                for part in parts
                if not _same_tensors(own, other_own, part)
            ]
    return found


def _rows(run: Path, ignore: tuple[str, ...]) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [
            {key: value for key, value in row.items() if not key.startswith(("time/", *ignore))}
            for row in csv.DictReader(file)
        ]


def _events(run: Path, ignore: tuple[str, ...]) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {
        key: [(event.step, event.value) for event in events.Scalars(key)]
        for key in sorted(events.Tags()["scalars"])
        if not key.startswith(("time/", *ignore))
    }


def _report(run: Path) -> dict:
    return json.loads((run / "report.json").read_text(encoding="utf-8"))


def _state(checkpoint: Path) -> dict:
    state = load_state(checkpoint)
    state["config"].pop("total_env_steps")  # a first leg may have been shorter
    state["progress"] = {k: v for k, v in state["progress"].items() if k not in _CLOCK}
    return state


def _same_tensors(one: Path, other: Path, part: str) -> bool:
    mine, theirs = load_part(one, part), load_part(other, part)
    return mine.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[name]) for name, tensor in mine.items()
    )
