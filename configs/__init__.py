"""Settings of a run: schema, presets, loading."""

from configs.errors import UsageError, exit_on_usage_error
from configs.loading import (
    dump_config,
    load_config,
    parse_config,
    parse_recorded_config,
    preset_names,
)
from configs.schema import MT10_TASKS, Config

__all__ = [
    "MT10_TASKS",
    "Config",
    "UsageError",
    "dump_config",
    "exit_on_usage_error",
    "load_config",
    "parse_config",
    "parse_recorded_config",
    "preset_names",
]
