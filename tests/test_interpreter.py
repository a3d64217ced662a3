"""Printed commands begin with a Python that can be pasted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from machine.interpreter import this_python

BIN = Path(sys.executable).parent


def test_an_activated_environment_needs_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(BIN), prepend=os.pathsep)
    assert this_python() == ("python" if (BIN / "python").exists() else sys.executable)


@pytest.mark.parametrize("below", [True, False])
def test_without_one_it_is_a_path_that_works_from_here(
    below: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(BIN.parent if below else tmp_path)
    called = this_python()
    assert called == (f"{BIN.name}/{Path(sys.executable).name}" if below else sys.executable)
    said = subprocess.run(
        [*called.split(), "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True
    )
    assert said.stdout.strip() == sys.prefix
