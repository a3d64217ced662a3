"""Who may import whom: data flows one way, and so do imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT: dict[str, set[str]] = {
    "dendrites": set(),
    "configs": set(),
    "machine": {"configs", "dendrites"},
    "envs": {"configs", "machine"},
    "agent": {"configs", "machine", "envs", "dendrites", "continual"},
    "analysis": {"envs", "dendrites", "agent", "reporting"},
    "reporting": {"configs", "machine", "envs", "continual"},
    "training": {
        *("configs", "machine", "envs", "dendrites", "continual", "agent", "analysis"),
        "reporting",
    },
    "train_mt10": {"configs", "machine", "envs", "agent", "training", "reporting"},
    "demonstrations": {"configs", "envs"},
    "videos": {"configs", "machine", "envs"},
    "pages": {"configs", "continual", "analysis", "reporting"},
    "evaluate": {
        *("configs", "machine", "envs", "agent", "analysis", "training", "reporting"),
        *("demonstrations", "videos", "pages"),
    },
    "continual": {"configs", "dendrites"},
    "permuted_mnist": {"configs", "machine", "dendrites", "continual", "training"},
    "train_permuted_mnist": {"configs", "machine", "continual", "training", "permuted_mnist"},
    "sweeps": {
        *("configs", "machine", "envs", "agent", "training", "reporting", "pages"),
        "permuted_mnist",
    },
    "sweep": {"configs", "machine", "training", "sweeps"},
    "examples": {"dendrites"},
}
"""Room or script -> the rooms of ours that it may import; none may import a script."""

LIGHT = ("configs", "envs", "machine.container", "machine.cores", "machine.console")
"""What a simulator process or a command's first second imports: no torch."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def files_of(room: str) -> list[Path]:
    if (ROOT / f"{room}.py").is_file():
        return [ROOT / f"{room}.py"]
    return sorted((ROOT / room).rglob("*.py"))


MODULES = {module_name(path): path for room in MAY_IMPORT for path in files_of(room)}
IMPORTS = {name: imported(path) for name, path in MODULES.items()}


def test_every_room_at_the_top_is_in_the_table() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    scripts = {path.stem for path in ROOT.glob("*.py")}
    assert rooms | scripts == set(MAY_IMPORT) - {"examples"} | {"benchmarks"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room: str) -> None:
    ours = {*MAY_IMPORT, "benchmarks", "tests", "docs"}
    for name, names in IMPORTS.items():
        if name.partition(".")[0] == room:
            others = {other.partition(".")[0] for other in names} & ours - {room}
            assert others <= MAY_IMPORT[room], name


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {
        name: {other for other in names if other in MODULES and other != name}
        for name, names in IMPORTS.items()
    }
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_the_layer_needs_torch_and_numpy_alone() -> None:
    for name, names in IMPORTS.items():
        if name.partition(".")[0] == "dendrites":
            roots = {other.partition(".")[0] for other in names}
            foreign = roots - set(sys.stdlib_module_names) - {"dendrites", "torch", "numpy"}
            assert not foreign, name


def test_only_who_compiles_loads_torchs_compiler() -> None:
    """It takes as long as loading torch."""
    code = (
        "import sys, torch, agent.sac, dendrites, training.recorder\n"
        "dendrites.k_winners(torch.ones(2, 4), 1)\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert ran.stdout == "False\n"


def test_simulator_processes_do_not_import_torch() -> None:
    pending = [name for name in MODULES if name.startswith(LIGHT)]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        roots = {other.partition(".")[0] for other in IMPORTS[name]}
        assert "torch" not in roots, name
        pending += [other for other in IMPORTS[name] if other in MODULES]
