"""What `pip install` makes of this project works in an empty folder, without the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import ROOT, TINY

pytestmark = pytest.mark.slow

PACKAGES = (
    *("agent", "configs", "configs.permuted_mnist", "continual", "dendrites", "dendrites.kernels"),
    *(
        "envs",
        "envs.simulator",
        "envs.workers",
        "machine",
        "permuted_mnist",
        "reporting",
        "training",
    ),
    *("training.checkpoints", "training.metrics"),
    *("analysis", "demonstrations", "pages", "videos"),
    *("sweeps", "sweeps.backends"),
)
NOT_OURS = ("tests", "docs", "benchmarks", "examples", "pretrained", "runs", "build", "dist")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, for building leaves files in the source."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", *NOT_OURS)
    )
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel installed, that finds torch and the others where this Python does."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--quiet"]
    subprocess.run([*pip, str(wheel)], check=True)
    # a folder in a .pth file is searched last, and the .pth files in it are not read: an editable
    # install of this project there does not count
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (library,) = folder.glob("lib/python*/site-packages")
    (library / "others.pth").write_text("".join(f"{place}\n" for place in sorted(places)))
    return python


def run(python: Path, folder: Path, *arguments: object) -> str:
    """What this Python prints, started in a folder that is not the checkout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_every_module_and_what_they_read(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {path.name for path in ROOT.glob("*.py")}
    for package in PACKAGES:
        folder = ROOT / package.replace(".", "/")
        modules |= {str(path.relative_to(ROOT)) for path in folder.glob("*.py")}
    presets = {str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml")}
    kernels = {
        f"dendrites/kernels/{path.name}" for path in (ROOT / "dendrites/kernels").glob("*.[ch]")
    }
    assert names == modules | presets | kernels | {"dendrites/py.typed", "pages/report.html.j2"}


def test_no_folder_with_code_is_forgotten() -> None:
    """A new package has to be named in setup.cfg and here."""
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("[a-z]*/**/*.py")}
    ours = {".".join(path.parts) for path in folders if path.parts[0] not in NOT_OURS}
    assert ours == set(PACKAGES)


def test_the_modules_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json, importlib, sys; names = sys.argv[1:]; "
        "print(json.dumps({n: importlib.import_module(n).__file__ for n in names}))"
    )
    found = json.loads(
        run(installed, tmp_path, "-c", code, *PACKAGES, "train_mt10", "evaluate", "sweep")
    )
    for name, file in found.items():
        assert Path(file).is_relative_to(installed.parent.parent), name


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_kernel_is_compiled_from_the_installed_source(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # empty
    code = "from dendrites.kernels import load_kernels; print(load_kernels() is not None)"
    assert run(installed, tmp_path, "-c", code) == "True\n"
    assert list((tmp_path / "cache").rglob("kwinners-*.so"))


def test_the_commands_run(installed: Path, tmp_path: Path) -> None:
    """With worker processes that are spawned."""
    said = run(installed, tmp_path, "-m", "train_mt10", "--config", "smoke", "--dry-run")
    assert "dendritic (this run): actor" in said
    spawned = ("--machine.start-method", "spawn", "--total-env-steps", 40)
    run(installed, tmp_path, "-m", "train_mt10", *TINY, *spawned, "--out", "run")
    said = run(installed, tmp_path, "-m", "evaluate", "run", "--goals", 2, "--workers", 1)
    assert "the same successes, goal by goal, as in run/report.json" in said
