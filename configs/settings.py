"""Settings of one kind of run, to and from YAML: presets, files, validation with one-line errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from configs.effect import Effects
from configs.errors import UsageError, did_you_mean
from configs.plain_yaml import read_yaml
from configs.renamed import new_name

ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class Settings(Generic[ConfigT]):
    """One kind of run: what can be set, the presets, and the rules.

    Attributes:
        script: that makes such runs.
        schema: dataclass of dataclasses, each with a default for everything.
        presets: folder of `NAME.yaml`.
        rules: what is wrong with a config whose single values are all right, `key: problem, fix`.
        may_change: dotted names, or beginnings of them, of the settings that a resumed run may change.
        effects: which settings do something only with certain values of others.
        added: dotted names of settings that older runs have not recorded, and what those runs did.
    """

    script: str
    schema: type[ConfigT]
    presets: Path
    rules: Callable[[ConfigT], Iterator[str]]
    may_change: tuple[str, ...]
    effects: Effects
    added: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _adapter(self) -> TypeAdapter[ConfigT]:
        return TypeAdapter(self.schema)

    def preset_names(self) -> list[str]:
        """Names that `--config` accepts apart from a path."""
        return sorted(path.stem for path in self.presets.glob("*.yaml"))

    def load(self, name_or_path: str) -> ConfigT:
        """The validated config of a preset or of a YAML file.

        Raises:
            UsageError: no such preset or file, not YAML, an unknown key, a wrong value.
        """
        path = self.presets / f"{name_or_path}.yaml"
        if name_or_path not in self.preset_names():
            path = Path(name_or_path)
            if not path.is_file():
                hint = did_you_mean(name_or_path, self.preset_names())
                raise UsageError(
                    f"--config {name_or_path}: neither a preset of {self.script} nor a file{hint}"
                )
        return self.parse(read_yaml(path), source=str(path))

    def parse(self, data: Any, source: str) -> ConfigT:
        """Validate plain data against the schema. `source` names the file or flag in errors.

        Raises:
            UsageError: unknown key (with a did-you-mean), wrong type, value out of range.
        """
        try:
            config = self._adapter.validate_python({} if data is None else data)
        except ValidationError as error:
            raise UsageError(f"{source}: {_first_problem(error, self.schema)}") from error
        for problem in self.rules(config):
            raise UsageError(f"{source}: {problem}")
        return config

    def parse_recorded(self, data: Any, source: str) -> ConfigT:
        """The config that a run has written: `parse`, and every setting must be there, or in `added`.

        A setting that a later version added would otherwise take that version's default in silence.

        Raises:
            UsageError: as `parse`, or another version's settings.
        """
        data = _completed(data, self.added)
        for problem in _other_keys(data, _as_dict(self.schema())):
            raise UsageError(
                f"{source}: {problem}; it was not made by {self.script}, or it was by another version of this "
                "project, which can still read it (a setting of your own: see configs/added.py)"
            )
        return self.parse(data, source)

    def dump(self, config: ConfigT) -> str:
        """The whole config as YAML; `parse` of it gives an equal config."""
        plain = self._adapter.dump_python(config, mode="json")
        return yaml.safe_dump(plain, sort_keys=False)

    def idle(self, config: ConfigT) -> dict[str, str]:
        """Settings that do nothing with the others: dotted name -> a line that says so."""
        values = dict(flatten(_as_dict(config)))
        notes: dict[str, str] = {}
        for key, effect in self.effects.items():
            if not effect.acts(config):
                why = " and ".join(f"{one}: {_as_given(values[one])}" for one in effect.decided_by)
                notes[key] = f"{key}: {_as_given(values[key])} does nothing with {why}"
        return notes

    def without_effect(self, config: ConfigT) -> list[str]:
        """Lines that name settings which somebody has changed in vain: idle, and not the schema's own."""
        values = dict(flatten(_as_dict(config)))
        usual = dict(flatten(_as_dict(self.schema())))
        return [note for key, note in self.idle(config).items() if values[key] != usual[key]]

    def fixed_changes(self, old: ConfigT, new: ConfigT) -> list[str]:
        """Dotted names of the settings in which two configs differ, and that a run can't change."""
        mine, theirs = dict(flatten(_as_dict(new))), dict(flatten(_as_dict(old)))
        return sorted(
            key
            for key, value in theirs.items()
            if value != mine[key] and not key.startswith(self.may_change)
        )


def _as_given(value: Any) -> str:
    """A value as on the command line."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _as_dict(config: Any) -> dict[str, Any]:
    return asdict(config)


def _completed(recorded: Any, added: Mapping[str, Any]) -> Any:
    """A recorded config with the settings that are younger than it; other data as they are."""
    for name, value in added.items():
        recorded = _with(recorded, name.split("."), value)
    return recorded


def _with(tree: Any, path: list[str], value: Any) -> Any:
    """Nested dicts with a value at the end of a path where they have none; a stranger's other data as they are."""
    if not isinstance(tree, dict):
        return tree
    key, *rest = path
    return {**tree, key: _with(tree.get(key, {}), rest, value) if rest else tree.get(key, value)}


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


def flatten(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted names of the leaves of nested dicts, with their values, in order."""
    leaves: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves += flatten(value, f"{prefix}{key}.")
        else:
            leaves.append((f"{prefix}{key}", value))
    return leaves


def _first_problem(error: ValidationError, schema: Any) -> str:
    problem, *others = error.errors(include_url=False)
    if problem["type"] == "literal_error" and others and isinstance(problem["input"], list | tuple):
        problem = others[0]  # a list, where a word is accepted as well: what is wrong with the list
    location = _known_keys(problem["loc"], schema, problem["type"] == "unexpected_keyword_argument")
    key = ".".join(location) or "the file"
    if problem["type"] == "unexpected_keyword_argument":
        hint = new_name(key) or did_you_mean(location[-1], _keys_at(schema, location[:-1]))
        return f"unknown key '{key}'{hint}"
    or_list = " or a list" * any(
        other["type"] == "tuple_type" and other["loc"][:-1] == problem["loc"][:-1]
        for other in others
    )
    what = problem["msg"].lower().partition(" or an instance of")[0]
    return f"{key}: {what}{or_list}, got {_short(problem['input'])}"


def _short(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # Python does not print integers of thousands of digits
        return "a number of thousands of digits"


def _known_keys(location: tuple[str | int, ...], schema: Any, keep_last: bool) -> list[str]:
    """The parts of pydantic's location that are keys of ours; it names union members, too."""
    keys: list[str] = []
    for index, part in enumerate(location):
        last = keep_last and index == len(location) - 1
        if last or isinstance(part, int) or part in _keys_at(schema, keys):
            keys.append(str(part))
    return keys


def _keys_at(schema: Any, location: list[str]) -> list[str]:
    cls = schema
    for name in location:
        if not is_dataclass(cls):
            return []
        cls = get_type_hints(cls).get(name)
    return [f.name for f in fields(cls)] if is_dataclass(cls) else []
