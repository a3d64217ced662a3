"""YAML files of plain data: no aliases, no key twice, no depth, no size out of proportion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from configs.errors import UsageError

_MAX_CONFIG_BYTES = 100_000
_MAX_DEPTH = 20
_OF_YAML_TAGS = (
    AttributeError,
    TypeError,
    OverflowError,
)  # what PyYAML raises on `!!int ""` and such


class _Loader(yaml.SafeLoader):
    """Refuses what SafeLoader drops without a word: the first of two equal keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = node.start_mark.line + 1
                    raise ValueError(f"line {line}: {key.value!r:.80} is there twice")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The plain data in a YAML file; `UsageError` if it can't be read or parsed."""
    try:
        if not path.exists():
            raise UsageError(f"{path}: no such file")
        if not path.is_file() or path.stat().st_size > _MAX_CONFIG_BYTES:
            raise UsageError(f"{path}: not a file of at most {_MAX_CONFIG_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        _require_plain_yaml(text)
        return yaml.load(text, _Loader)
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
