"""Help and mistakes are answered at once: nothing heavy is imported before the command line is good."""

from __future__ import annotations

import json

from conftest import run_python

SCRIPT = """
import contextlib, io, json, sys
import train_mt10, evaluate
from configs import RunError, UsageError

answers = []
for main, arguments in (
    (train_mt10.main, ["--help"]),
    (train_mt10.main, ["--agent.actr-lr", "1"]),
    (train_mt10.main, ["--agent.actor-lr", "-1"]),
    (train_mt10.main, ["--config", "quik"]),
    (train_mt10.main, ["--config", "mt50", "--env.tasks", "reach-v2"]),
    (train_mt10.main, ["--resume", "/nowhere"]),
    (evaluate.main, ["--help"]),
    (evaluate.main, ["--gaols", "1"]),
    (evaluate.main, ["--goals", "51"]),
):
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            main(arguments)
        answers.append("it ran")
    except SystemExit as left:
        answers.append(f"exit {left.code}: {out.getvalue()[:5]}")
    except (UsageError, RunError) as error:
        answers.append(type(error).__name__)
heavy = {"torch", "metaworld", "mujoco", "gymnasium", "scipy", "tensorboard", "safetensors"}
print(json.dumps({"answers": answers, "heavy": sorted(heavy & set(sys.modules))}))
"""


def test_help_and_mistakes_import_nothing_heavy() -> None:
    """A stand-in for `in under a second` that does not depend on the machine's mood."""
    done = run_python("-c", SCRIPT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["heavy"] == []
    helped, refused = "exit 0: usage", "UsageError"
    assert found["answers"] == [helped, *[refused] * 5, helped, *[refused] * 2]
