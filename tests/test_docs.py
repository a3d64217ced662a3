"""The documents against the code: metric keys, commands, flags, links."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

from reporting.metric_keys import COUNTER_COLUMNS, PATTERNS

README = ROOT / "README.md"
COMMANDS = ("train_mt10.py", "evaluate.py")
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


def script_of(command: list[str]) -> str | None:
    """`train_mt10.py` of `python -u train_mt10.py --seed 1`; `None` for -m, -c and make."""
    if command[0] == "make":
        return None
    for word in command[1:]:
        if word in ("-m", "-c"):
            return None
        if not word.startswith("-"):
            return word
    return None


@cache
def flags_in_help(script: str) -> frozenset[str]:
    """The flags that `--help` lists, in its own spelling."""
    done = subprocess.run(
        [sys.executable, script, "--help"],
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


@pytest.mark.parametrize("script", COMMANDS)
def test_help_is_read_correctly(script: str) -> None:
    """The checks below would pass on anything if this went wrong."""
    known = flags_in_help(script)
    expected = {
        "train_mt10.py": {"--config", "--resume", "--dry-run", "--seed", "--agent.actor-lr"},
        "evaluate.py": {"--help", "--goals", "--seed", "--actions", "--out"},
    }
    assert expected[script] <= known
    good = ["python", script, "--seed", "1", "--out=x"]
    assert unknown_flags(good, known) == []
    assert unknown_flags([*good, "--sede", "1"], known) == ["--sede"]


def test_readme_shows_how_to_run_both_commands() -> None:
    scripts = [script_of(command) for command in command_lines(README)]
    assert set(COMMANDS) <= set(scripts)


@pytest.mark.parametrize("path", markdown_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_name_existing_scripts_targets_and_flags(path: Path) -> None:
    for command in command_lines(path):
        line = " ".join(command)
        script = script_of(command)
        if command[0] == "make":
            targets = [word for word in command[1:] if not re.match(r"-|\w+=", word)]
            assert set(targets) <= make_targets(), line
        elif script is not None:
            assert (ROOT / script).is_file(), line
            if script in COMMANDS:
                assert unknown_flags(command, flags_in_help(script)) == [], line
        elif "-m" in command:
            module = command[command.index("-m") + 1]
            assert find_spec(module.split(".")[0]) is not None, line


def relative_links(path: Path) -> list[str]:
    """Targets of the links and images of a document, without the anchors and what has a scheme."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", path.read_text(encoding="utf-8")))
    inline = re.findall(r"\]\(\s*<?([^)\s>]+)", prose)
    reference = re.findall(r"^\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", prose, re.MULTILINE)
    html = re.findall(r"""(?:src|href)=["']([^"']+)["']""", prose)
    targets = [target.split("#")[0] for target in (*inline, *reference, *html)]
    return [target for target in targets if target and not re.match(r"[a-z][a-z+.-]*:", target)]


@pytest.mark.parametrize("path", markdown_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files(path: Path) -> None:
    missing = [target for target in relative_links(path) if not (path.parent / target).exists()]
    assert missing == []


def test_links_are_found_at_all() -> None:
    assert "report.md" in relative_links(ROOT / "docs/metrics.md")
    assert "fidelity.md" in relative_links(ROOT / "docs/architecture.md")
