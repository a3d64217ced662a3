"""Settings of a run: schema, presets, loading."""

from configs.errors import RunError, UsageError, exit_on_error
from configs.loading import (
    dump_config,
    load_config,
    parse_config,
    parse_recorded_config,
    preset_names,
)
from configs.schema import Config
from configs.task_sets import MT10, MT25, MT50, TASK_SETS

__all__ = [
    "MT10",
    "MT25",
    "MT50",
    "TASK_SETS",
    "Config",
    "RunError",
    "UsageError",
    "dump_config",
    "exit_on_error",
    "load_config",
    "parse_config",
    "parse_recorded_config",
    "preset_names",
]
