"""YAML <-> `Config`: presets, files, validation with one-line errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from configs.consistency import inconsistencies
from configs.errors import UsageError, did_you_mean
from configs.renamed import new_name
from configs.schema import Config

_PRESET_FOLDER = Path(__file__).parent
_MAX_CONFIG_BYTES = 100_000
_MAX_DEPTH = 20
_OF_YAML_TAGS = (
    AttributeError,
    TypeError,
    OverflowError,
)  # what PyYAML raises on `!!int ""` and such
_SCHEMA = TypeAdapter(Config)
_MAY_CHANGE_ON_RESUME = ("total_env_steps", "evaluation.", "recording.", "machine.")


def preset_names() -> list[str]:
    """Names that `--config` accepts apart from a path."""
    return sorted(path.stem for path in _PRESET_FOLDER.glob("*.yaml"))


def load_config(name_or_path: str) -> Config:
    """The validated config of a preset or of a YAML file.

    Raises:
        UsageError: no such preset or file, not YAML, an unknown key, a wrong value.
    """
    path = _PRESET_FOLDER / f"{name_or_path}.yaml"
    if name_or_path not in preset_names():
        path = Path(name_or_path)
        if not path.is_file():
            hint = did_you_mean(name_or_path, preset_names())
            raise UsageError(f"--config {name_or_path}: neither a preset nor a file{hint}")
    return parse_config(read_yaml(path), source=str(path))


def read_yaml(path: Path) -> Any:
    """The plain data in a YAML file; `UsageError` if it can't be read or parsed."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_CONFIG_BYTES:
            raise UsageError(f"{path}: not a file of at most {_MAX_CONFIG_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        _require_plain_yaml(text)
        return yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read ({error})") from error
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, *_OF_YAML_TAGS) as error:
        raise UsageError(f"{path}: not valid YAML ({error})") from error


def _require_plain_yaml(text: str) -> None:
    """Raise `ValueError` for what takes time or memory out of proportion, before it is built."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases (*name) are not read: they can multiply without end")
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested more than {_MAX_DEPTH} deep")


def parse_config(data: Any, source: str) -> Config:
    """Validate plain data against the schema. `source` names the file or flag in errors.

    Raises:
        UsageError: unknown key (with a did-you-mean), wrong type, value out of range.
    """
    try:
        config = _SCHEMA.validate_python({} if data is None else data)
    except ValidationError as error:
        raise UsageError(f"{source}: {_first_problem(error)}") from error
    for problem in inconsistencies(config):
        raise UsageError(f"{source}: {problem}")
    return config


def parse_recorded_config(data: Any, source: str) -> Config:
    """The config that a run has written: `parse_config`, and every setting must be there.

    A setting that a later version added would otherwise take that version's default in silence.

    Raises:
        UsageError: as `parse_config`, or another version's settings.
    """
    for problem in _other_keys(data, asdict(Config())):
        raise UsageError(
            f"{source}: {problem}; it was made by another version of this project, which can still "
            "read it"
        )
    return parse_config(data, source)


def dump_config(config: Config) -> str:
    """The whole config as YAML; `parse_config` of it gives an equal `Config`."""
    plain = _SCHEMA.dump_python(config, mode="json")
    return yaml.safe_dump(plain, sort_keys=False)


def fixed_changes(old: Config, new: Config) -> list[str]:
    """Dotted names of the settings in which two configs differ, and that a run can't change."""
    mine, theirs = dict(_flatten(asdict(new))), dict(_flatten(asdict(old)))
    return sorted(
        key
        for key, value in theirs.items()
        if value != mine[key] and not key.startswith(_MAY_CHANGE_ON_RESUME)
    )


def _other_keys(recorded: Any, known: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The settings that are in one of two nested dicts only, in words."""
    given = recorded if isinstance(recorded, dict) else {}
    for key in known:
        if key not in given:
            yield f"'{prefix}{key}' is missing"
    for key, value in given.items():
        if key not in known:
            yield f"'{prefix}{key!s:.80}' is unknown"
        elif isinstance(known[key], dict):
            yield from _other_keys(value, known[key], f"{prefix}{key}.")


def _flatten(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves += _flatten(value, f"{prefix}{key}.")
        else:
            leaves.append((f"{prefix}{key}", value))
    return leaves


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    location = _known_keys(problem["loc"], problem["type"] == "unexpected_keyword_argument")
    key = ".".join(location) or "the file"
    if problem["type"] == "unexpected_keyword_argument":
        hint = new_name(key) or did_you_mean(location[-1], _keys_at(location[:-1]))
        return f"unknown key '{key}'{hint}"
    return f"{key}: {problem['msg'].lower()}, got {_short(problem['input'])}"


def _short(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # Python does not print integers of thousands of digits
        return "a number of thousands of digits"


def _known_keys(location: tuple[str | int, ...], keep_last: bool) -> list[str]:
    """The parts of pydantic's location that are keys of ours; it names union members, too."""
    keys: list[str] = []
    for index, part in enumerate(location):
        last = keep_last and index == len(location) - 1
        if last or isinstance(part, int) or part in _keys_at(keys):
            keys.append(str(part))
    return keys


def _keys_at(location: list[str]) -> list[str]:
    cls: Any = Config
    for name in location:
        if not is_dataclass(cls):
            return []
        cls = get_type_hints(cls).get(name)
    return [f.name for f in fields(cls)] if is_dataclass(cls) else []
