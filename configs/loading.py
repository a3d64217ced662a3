"""YAML <-> `Config`: presets, files, validation with one-line errors."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from configs.errors import UsageError, did_you_mean
from configs.schema import MT10_TASKS, Config

_PRESET_FOLDER = Path(__file__).parent
_MAX_CONFIG_BYTES = 1_000_000
_SCHEMA = TypeAdapter(Config)


def preset_names() -> list[str]:
    """Names that `--config` accepts beside a path."""
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
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise UsageError(f"{path}: larger than {_MAX_CONFIG_BYTES} bytes, not a config")
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read ({error})") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(f"{path}: not valid YAML ({error})") from error


def parse_config(data: Any, source: str) -> Config:
    """Validate plain data against the schema. `source` names the file or flag in errors.

    Raises:
        UsageError: unknown key (with a did-you-mean), wrong type, value out of range.
    """
    try:
        config = _SCHEMA.validate_python({} if data is None else data)
    except ValidationError as error:
        raise UsageError(f"{source}: {_first_problem(error)}") from error
    _check_consistency(config, source)
    return config


def dump_config(config: Config) -> str:
    """The whole config as YAML; `parse_config` of it gives an equal `Config`."""
    plain = _SCHEMA.dump_python(config, mode="json")
    return yaml.safe_dump(plain, sort_keys=False)


def config_as_dict(config: Config) -> dict[str, Any]:
    """Nested plain dict."""
    return asdict(config)


def changed_keys(old: Config, new: Config) -> list[str]:
    """Dotted names of the settings in which two configs differ."""
    return sorted(
        key for key, value in _flatten(asdict(old)) if (key, value) not in _flatten(asdict(new))
    )


def _flatten(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves += _flatten(value, f"{prefix}{key}.")
        else:
            leaves.append((prefix + key, value))
    return leaves


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    # Union members appear in the location as type names; a user knows keys only.
    location = [str(part) for part in problem["loc"] if _is_key(part)]
    key = ".".join(location) or "the file"
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown key '{key}'{did_you_mean(location[-1], _keys_at(location[:-1]))}"
    return f"{key}: {problem['msg'].lower()}, got {problem['input']!r:.80}"


def _is_key(part: str | int) -> bool:
    return isinstance(part, int) or part.isidentifier()


def _keys_at(location: list[str]) -> list[str]:
    cls: Any = Config
    for name in location:
        cls = get_type_hints(cls)[name]
    return [f.name for f in fields(cls)] if is_dataclass(cls) else []


def _check_consistency(config: Config, source: str) -> None:
    """Rules that span several fields."""
    env, network, replay = config.env, config.network, config.replay
    for task in env.tasks:
        if task not in MT10_TASKS:
            hint = did_you_mean(task, list(MT10_TASKS))
            raise UsageError(f"{source}: env.tasks: unknown task '{task}'{hint}")
    if len(set(env.tasks)) != len(env.tasks):
        raise UsageError(f"{source}: env.tasks: a task is named twice")
    for name in ("actor_hidden", "critic_hidden"):
        widths = getattr(network, name)
        if len(network.winners_density) not in (1, len(widths)):
            raise UsageError(
                f"{source}: network.winners_density: give 1 value or {len(widths)}, one for each of "
                f"network.{name}, not {len(network.winners_density)}"
            )
        if any(layer >= len(widths) for layer in network.dendritic_layers):
            raise UsageError(
                f"{source}: network.dendritic_layers: network.{name} has layers 0 to {len(widths) - 1} only"
            )
    if replay.sampling == "balanced" and replay.batch_size % len(env.tasks):
        raise UsageError(
            f"{source}: replay.batch_size: {replay.batch_size} can't be split evenly over "
            f"{len(env.tasks)} tasks; use a multiple, or replay.sampling: uniform"
        )
    if config.agent.log_std_bounds[0] >= config.agent.log_std_bounds[1]:
        raise UsageError(f"{source}: agent.log_std_bounds: give the smaller value first")
    for name in ("goals", "report_goals"):
        if getattr(config.evaluation, name) > env.num_goals:
            raise UsageError(
                f"{source}: evaluation.{name}: there are only env.num_goals = {env.num_goals} goals per task"
            )
