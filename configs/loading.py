"""The settings of train_mt10.py, to and from YAML."""

from __future__ import annotations

from pathlib import Path

from configs.added import ADDED_TO_MULTI_TASK
from configs.consistency import inconsistencies
from configs.effect import MULTI_TASK_EFFECTS
from configs.schema import Config
from configs.settings import Settings

MULTI_TASK = Settings(
    script="train_mt10.py",
    schema=Config,
    presets=Path(__file__).parent,
    rules=inconsistencies,
    may_change=("total_env_steps", "evaluation.", "recording.", "machine."),
    effects=MULTI_TASK_EFFECTS,
    added=ADDED_TO_MULTI_TASK,
)
"""`Settings` of a run of Soft Actor-Critic on Meta-World."""

load_config = MULTI_TASK.load
parse_config = MULTI_TASK.parse
parse_recorded_config = MULTI_TASK.parse_recorded
dump_config = MULTI_TASK.dump
fixed_changes = MULTI_TASK.fixed_changes
preset_names = MULTI_TASK.preset_names
