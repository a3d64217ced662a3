"""The documents against the code: metric keys, commands, flags, names, links."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
import torch
from conftest import ROOT

from configs import Config
from configs.network import Activation, Gating
from configs.permuted_mnist import PermutedConfig
from training.metrics.keys import COUNTER_COLUMNS, PATTERNS
from training.sessions import SESSIONS, write_session

README = ROOT / "README.md"
SCRIPTS = ("train_mt10.py", "train_permuted_mnist.py", "evaluate.py", "sweep.py")
MODULES = ("benchmarks", "reporting.plots", "reporting.transfer", "tests.stress")
"""Run with `python -m`, and like the scripts with flags of their own."""
_SKIPPED_FOLDERS = {"runs", "node_modules", "build", "dist"}
_FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def markdown_files() -> list[Path]:
    """Every *.md of the repository, without hidden folders, installed packages and runs."""
    found: list[Path] = []
    for folder, subfolders, names in os.walk(ROOT):
        here = Path(folder)
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".")
            and name not in _SKIPPED_FOLDERS
            and not (here / name / "pyvenv.cfg").exists()
        ]
        found += [here / name for name in names if name.endswith(".md")]
    return sorted(found)


def name_of(path: Path) -> str:
    """A file's name in the repository."""
    return str(path.relative_to(ROOT))


DOCUMENTS = sorted([README, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
"""What describes the code as it is; the changelog names what is gone, too."""


def table_cells(path: Path, heading: str) -> list[str]:
    """The backticked first cells of the tables whose first column is called `heading`."""
    cells: list[str] = []
    wanted = False
    previous_was_row = False
    for line in path.read_text(encoding="utf-8").splitlines():
        is_row = line.startswith("|")
        first = line.split("|")[1].strip() if is_row else ""
        if is_row and not previous_was_row:
            wanted = first == heading
        elif is_row and wanted and not set(first) <= {"-", ":"}:
            quoted = re.fullmatch(r"`([^`]+)`", first)
            assert quoted, f"{path.name}: not one backticked name: {line}"
            cells.append(quoted[1])
        previous_was_row = is_row
    return cells


def test_metrics_document_defines_every_key_once() -> None:
    documented = table_cells(ROOT / "docs/metrics.md", "key")
    assert sorted(set(documented)) == sorted(PATTERNS)
    assert len(documented) == len(set(documented)), "a key is defined twice"
    assert table_cells(ROOT / "docs/metrics.md", "column") == list(COUNTER_COLUMNS)


def test_architecture_has_every_gating_and_choice_of_winners() -> None:
    path = ROOT / "docs/architecture.md"
    assert table_cells(path, "`network.gating`") == list(get_args(Gating))
    others = [name for name in get_args(Activation) if name not in ("relu", "k_winners")]
    assert table_cells(path, "`network.activation`") == others


def test_metrics_document_has_the_columns_of_sessions_csv(tmp_path: Path) -> None:
    write_session(tmp_path, None, torch.device("cpu"), torch.float32)
    header = (tmp_path / SESSIONS).read_text().splitlines()[0]
    assert table_cells(ROOT / "docs/metrics.md", "of a start") == header.split(",")


def command_lines(path: Path) -> list[list[str]]:
    """`python` and `make` commands in a document's code blocks, as words.

    Prompts, comments, leading variables (`X=1 python ...`) and paths (`.venv/bin/python`) are
    understood; `a && b` is two commands, a line that ends in a backslash goes on in the next.
    """
    commands: list[list[str]] = []
    for block in _FENCE.findall(path.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;|\|", line.strip().removeprefix("$ ")):
                words = _words(part)
                while words and re.fullmatch(r"\w+=.*", words[0]):
                    words = words[1:]
                if words and re.fullmatch(r"python[\d.]*|make", Path(words[0]).name):
                    commands.append([Path(words[0]).name, *words[1:]])
    return commands


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # prose or program output with a lone quotation mark
        return []


def program_of(command: list[str]) -> tuple[str, ...]:
    """What follows `python` up to the program's name: `(train_mt10.py,)`, `(-m, benchmarks)`, or nothing.

    Nothing is for `python -c` and `make`.
    """
    words = command[1:] if command[0] != "make" else []
    for index, word in enumerate(words):
        if word == "-c":
            return ()
        if word == "-m":
            return tuple(words[index : index + 2])
        if not word.startswith("-"):
            return (word,)
    return ()


@cache
def flags_in_help(program: tuple[str, ...]) -> frozenset[str]:
    """The flags that `--help` lists, in its own spelling."""
    done = subprocess.run(
        [sys.executable, *program, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"},
    )
    assert done.returncode == 0, done.stderr
    flags: set[str] = set()
    for line in done.stdout.splitlines():
        text = line.strip("│╭╮╰╯─ ")
        # A flag opens its line, after its short form if it has one; flags inside sentences don't count.
        while opening := re.match(r"(--?[A-Za-z][\w.-]*)(?:,\s*|\s|$)", text):
            flags.add(opening[1])
            text = text[opening.end() :]
    return frozenset(flag for flag in flags if flag.startswith("--"))


def all_flags() -> frozenset[str]:
    """The flags of all command lines."""
    programs = [(script,) for script in SCRIPTS] + [("-m", module) for module in MODULES]
    return frozenset().union(*map(flags_in_help, programs))


def make_targets() -> set[str]:
    """Targets of the Makefile."""
    rules = re.findall(
        r"^([\w./ -]+?)\s*:(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    return {target for rule in rules for target in rule.split()}


def unknown_flags(command: list[str], known: frozenset[str]) -> list[str]:
    """Flags of a command that are not known; `_` and `-` are the same, as for the parser."""
    given = [word.split("=")[0] for word in command if word.startswith("--")]
    return [flag for flag in given if "--" + flag[2:].replace("_", "-") not in known]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (("train_mt10.py",), {"--config", "--resume", "--dry-run", "--seed", "--agent.actor-lr"}),
        (("train_permuted_mnist.py",), {"--config", "--data.folder", "--learning.lr"}),
        (("evaluate.py",), {"--help", "--goals", "--seed", "--actions", "--out"}),
        (("-m", "benchmarks"), {"--quick", "--json", "--precision"}),
        (("-m", "reporting.plots"), {"--out"}),
        (("-m", "tests.stress"), {"--seed", "--json"}),
    ],
)
def test_help_is_read_correctly(program: tuple[str, ...], expected: set[str]) -> None:
    """The checks below would pass on anything if this went wrong."""
    known = flags_in_help(program)
    assert expected <= known
    flag = next(iter(expected - {"--dry-run"}))
    assert unknown_flags(["python", *program, f"{flag}=x"], known) == []
    assert unknown_flags(["python", *program, "--sede", "1"], known) == ["--sede"]


def test_readme_shows_how_to_run_all_commands() -> None:
    programs = [program_of(command) for command in command_lines(README)]
    assert {(script,) for script in SCRIPTS} <= set(programs)


@pytest.mark.parametrize("path", markdown_files(), ids=name_of)
def test_commands_name_existing_scripts_targets_and_flags(path: Path) -> None:
    for command in command_lines(path):
        line = " ".join(command)
        program = program_of(command)
        if command[0] == "make":
            targets = [word for word in command[1:] if not re.match(r"-|\w+=", word)]
            assert set(targets) <= make_targets(), line
        elif program[:1] == ("-m",):
            assert runs_as_module(program[1]), line
            if program[1] in MODULES:
                assert unknown_flags(command, flags_in_help(program)) == [], line
        elif program:
            assert (ROOT / program[0]).is_file(), line
            if program[0] in SCRIPTS:
                assert unknown_flags(command, flags_in_help(program)) == [], line


def runs_as_module(name: str) -> bool:
    """Whether `python -m name` finds something to run."""
    try:
        spec = find_spec(name)
        package = spec is not None and spec.submodule_search_locations is not None
        return find_spec(f"{name}.__main__") is not None if package else spec is not None
    except ModuleNotFoundError:
        return False


# Names in backticks. Prose may use any word there; what is checked looks like one of ours.

_ROOMS = ("agent", "benchmarks", "configs", "dendrites", "docs", "envs", "machine", "reporting")
_ROOMS += ("tests", "training", "continual", "permuted_mnist")
_ROOMS += ("analysis", "demonstrations", "pages", "sweeps", "videos")
_OTHERS = ("gymnasium", "metaworld", "mujoco", "numpy", "torch")
"""Libraries whose names, where they stand dotted in a document, should be right as well."""
_DATA = {".csv", ".html", ".json", ".npz", ".safetensors", ".png", ".lock", ".txt"}
_CODE = {".c", ".cfg", ".md", ".py", ".toml", ".yaml"}
_ELSEWHERE = {"config.yaml", "report.md", "utils.py"}
"""Files of a run, and the one that we do not have on purpose."""
_DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\(.*\)|: .*| = .*)?")
_PATH = re.compile(r"[\w*.-]+(?:/[\w*.-]+)*/?")


def inline_code(path: Path) -> list[str]:
    """What stands in single backticks, outside the code blocks."""
    prose = _FENCE.sub("", path.read_text(encoding="utf-8"))
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def wrong_path(code: str, folder: Path) -> bool:
    """Whether this is the path of a file or folder of ours that is not there."""
    if not _PATH.fullmatch(code) or code in _ELSEWHERE or Path(code).parts[:1] == ("runs",):
        return False
    if Path(code).suffix not in _CODE and (code.split("/")[0] not in _ROOMS or "/" not in code):
        return False
    if "/" not in code:
        return code not in files_of_project()
    pattern = re.sub(r"\b[A-Z]{2,}\b", "*", code.rstrip("/"))  # configs/NAME.yaml
    return not any(next(here.glob(pattern), None) for here in (ROOT, folder))


@cache
def files_of_project() -> frozenset[str]:
    """Names of the files at the top and in the rooms, without their folders."""
    rooms = [file for room in _ROOMS for file in (ROOT / room).rglob("*")]
    return frozenset(file.name for file in (*ROOT.iterdir(), *rooms))


@cache
def project_modules() -> dict[str, list[str]]:
    """Full names of the project's modules and packages, by the last part."""
    found: dict[str, list[str]] = {script[:-3]: [script[:-3]] for script in SCRIPTS}
    for file in (file for room in _ROOMS for file in (ROOT / room).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found.setdefault(parts[-1], []).append(".".join(parts))
    return found


@cache
def project_classes() -> dict[str, list[type]]:
    """The project's classes by name; those of the tests are left out."""
    found: dict[str, list[type]] = {}
    names = [name for names in project_modules().values() for name in names]
    for name in names:
        if name.split(".")[0] != "tests" and not name.endswith("__main__"):
            for value in vars(import_module(name)).values():
                if inspect.isclass(value) and value.__module__ == name:
                    found.setdefault(value.__name__, []).append(value)
    return found


def has_member(holder: object, names: list[str]) -> bool:
    """Whether `holder.a.b` is there; of a class also what its constructor sets, or declares."""
    if not names:
        return True
    if hasattr(holder, names[0]):
        return has_member(getattr(holder, names[0]), names[1:])
    if not inspect.isclass(holder) or len(names) > 1:
        return False
    fields = {key for kind in holder.__mro__ for key in inspect.get_annotations(kind)}
    set_on_self = rf"self\.{names[0]}\b.*="
    return names[0] in fields or bool(re.search(set_on_self, inspect.getsource(holder)))


def is_setting(names: list[str]) -> bool:
    """Whether this is a key of a config: `replay.batch_size`."""
    return any(_is_field(config, names) for config in (Config(), PermutedConfig()))


def _is_field(holder: object, names: list[str]) -> bool:
    for name in names:
        if not dataclasses.is_dataclass(holder) or not hasattr(holder, name):
            return False
        holder = getattr(holder, name)
    return True


def resolves(names: list[str]) -> bool:
    """Whether a dotted name means something: a setting, a member of a class or of a module."""
    first, *rest = names
    if first[0].isupper():
        return any(has_member(kind, rest) for kind in project_classes().get(first, []))
    candidates = project_modules().get(first, []) + [room for room in _ROOMS if room == first]
    candidates += [library for library in _OTHERS if library == first]
    return is_setting(names) or any(_in_module(name, rest) for name in candidates)


def _in_module(name: str, rest: list[str]) -> bool:
    """Whether a module, or a class in it, has these members; the first may be modules themselves.

    The class is for `policy.act`: an object called as the module that defines its class.
    """
    module = import_module(name)
    if rest and hasattr(module, "__path__") and find_spec(f"{name}.{rest[0]}"):
        return _in_module(f"{name}.{rest[0]}", rest[1:])
    classes = [kind for kinds in project_classes().values() for kind in kinds]
    own = [kind for kind in classes if kind.__module__ == name]
    return any(has_member(holder, rest) for holder in (module, *own))


def wrong_name(code: str) -> bool:
    """Whether this is `Class.member`, `module.member` or `section.setting` and there is no such thing."""
    dotted = _DOTTED.fullmatch(code)
    if dotted is None or Path(dotted[1]).suffix.lower() in _DATA | _CODE:
        return False
    names = dotted[1].split(".")
    sections = [
        field.name for kind in (Config, PermutedConfig) for field in dataclasses.fields(kind)
    ]
    known = (*_ROOMS, *_OTHERS, *project_modules(), *sections)
    return (names[0][0].isupper() or names[0] in known) and not resolves(names)


def wrong_flags(code: str) -> list[str]:
    """The flags in `--flag value` or `python program --flag` that no command line has."""
    words = code.split()
    if not words[0].startswith("--") and words[0] not in ("python", *SCRIPTS):
        return []
    return unknown_flags([word.rstrip(",;:") for word in words], all_flags())


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_names_paths_and_flags_in_backticks_are_there(path: Path) -> None:
    wrong = [
        code
        for code in inline_code(path)
        if wrong_path(code, path.parent) or wrong_name(code) or wrong_flags(code)
    ]
    assert wrong == []


def test_wrong_names_are_found() -> None:
    """The check above would pass on anything if this went wrong."""
    right = ("agent/sac.py", "configs/*.yaml", "docs/build/", "sac.py", "runs/RUN/config.yaml")
    right += (
        "report.json",
        "eval/success_rate",
        "paper.yaml",
        "configs/NAME.yaml",
        "docs/results.md",
    )
    assert not any(wrong_path(code, ROOT / "docs") for code in right)
    wrong = ("agent/layers.py", "reliability/soak.py", "gone.py", "docs/gone/", "configs/*.toml")
    assert all(wrong_path(code, ROOT / "docs") for code in wrong)
    names = ("SAC.update", "SAC.update(batch, noise)", "Batch.task", "Plan.precision", "Step.done")
    names += ("replay.sampling: uniform", "machine.precision", "agent.sac.SAC.update", "sac.SAC")
    names += ("torch.compile", "DendriticLayer.linear", "metrics.csv", "x.y", "envs.vector")
    names += ("policy.act", "agent.policy.act")
    assert not any(wrong_name(code) for code in names)
    names = ("SAC.sample_action", "Batch.rows", "HiddenLayer.gate", "replay.samplings: uniform")
    names += (
        "agent.layers",
        "agent.sac.SACS",
        "torch.compile_all",
        "sac.Sac",
        "training.precision",
    )
    assert all(wrong_name(code) for code in names)
    assert wrong_flags("--machine.device cuda --quick") == []
    assert wrong_flags("pip install --upgrade pip") == []
    assert wrong_flags("--precision float32 --devise") == ["--devise"]


def relative_links(path: Path) -> list[str]:
    """Targets of the links and images of a document, without the anchors and what has a scheme."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", path.read_text(encoding="utf-8")))
    inline = re.findall(r"\]\(\s*<?([^)\s>]+)", prose)
    reference = re.findall(r"^\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", prose, re.MULTILINE)
    html = re.findall(r"""(?:src|href)=["']([^"']+)["']""", prose)
    targets = [target.split("#")[0] for target in (*inline, *reference, *html)]
    return [target for target in targets if target and not re.match(r"[a-z][a-z+.-]*:", target)]


@pytest.mark.parametrize("path", markdown_files(), ids=name_of)
def test_relative_links_lead_to_files(path: Path) -> None:
    missing = [target for target in relative_links(path) if not (path.parent / target).exists()]
    assert missing == []


def test_links_are_found_at_all() -> None:
    assert "report.md" in relative_links(ROOT / "docs/metrics.md")
    assert "fidelity.md" in relative_links(ROOT / "docs/architecture.md")
