"""A sweep's file: which command, which preset, which arms, which seeds.

command: train_mt10.py
config: quick
settings: {total_env_steps: 400000}       # of all arms
arms:
  dendrites: {}
  relu: {network: {activation: relu}}
seeds: [1, 2, 3]
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError

from configs.errors import UsageError, did_you_mean
from configs.loading import MULTI_TASK
from configs.permuted_mnist import PERMUTED
from configs.plain_yaml import read_yaml
from configs.settings import Settings, flatten

Command = Literal["train_mt10.py", "train_permuted_mnist.py"]
ArmName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,40}$")]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
EVALUATED = "recording.evaluation_interval_tasks"
"""The one setting of recording that the figures of a run depend on."""
MEASURED = (
    *("total_env_steps", "env.tasks", "env.num_goals", "env.schedule", "env.steps_per_task"),
    *("data.name", "data.num_tasks", "data.evaluate_on", EVALUATED),
)
"""Besides those of evaluation: how long the runs are, and on what they are measured."""

SETTINGS: dict[str, Settings[Any]] = {
    "train_mt10.py": MULTI_TASK,
    "train_permuted_mnist.py": PERMUTED,
}
_PRESETS = {"train_mt10.py": "mt10", "train_permuted_mnist.py": "digits"}
"""What runs begin with where `config` names a file: that may change before the last of them begins."""
_OF_EACH_RUN = ("seed", "machine.threads", "machine.workers")
"""Settings that sweep.py gives."""


@dataclass(frozen=True)
class Sweep:
    """What is compared.

    Attributes:
        arms: name -> the settings in which it differs from the preset. The first is the one that the
            others are compared with.
        seeds: each arm is run with each.
        command: the script of every run.
        config: the preset of every run.
        settings: of all arms; the arm's own come on top of them.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    arms: Annotated[dict[ArmName, dict[str, Any] | None], Len(1, 50)]
    seeds: Annotated[list[Seed], Len(1, 1000)]
    command: Command = "train_mt10.py"
    config: str = "mt10"
    settings: dict[str, Any] | None = None

    def changes(self, arm: str) -> dict[str, Any]:
        """What an arm changes in the preset, section by section."""
        return _merged(self.settings or {}, self.arms[arm] or {})


_SCHEMA = TypeAdapter(Sweep)
_KEYS = ["arms", "seeds", "command", "config", "settings"]
_FORMS = {
    "the file": "; it needs arms and seeds (docs/sweeps.md has an example)",
    "arms": "; such as {dendrites: {}, relu: {network: {activation: relu}}}",
    "seeds": "; such as [1, 2, 3]",
    "settings": "; such as {total_env_steps: 400000}",
}


def read_sweep(path: Path) -> Sweep:
    """The sweep in a file, with every arm's settings checked.

    Raises:
        UsageError: not YAML, an unknown key, a wrong value, a seed given twice, an arm whose settings no
            run would take.
    """
    try:
        sweep = _SCHEMA.validate_python(read_yaml(path))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        hint = did_you_mean(where, _KEYS) if "unexpected" in problem["type"] else ""
        if problem["type"] == "string_pattern_mismatch":
            hint = " (names of arms: small letters, digits, _ and -, at most 40)"
        elif problem["type"].endswith("_type"):
            hint = _FORMS.get(where, "")
        what = problem["msg"].lower().partition(" or an instance of")[0]
        raise UsageError(f"{path}: {where:.80}: {what:.200}{hint}") from error
    if len(set(sweep.seeds)) < len(sweep.seeds):
        raise UsageError(f"{path}: seeds: one is given twice")
    evaluated = {arm: _evaluated(sweep, arm, path) for arm in sweep.arms}
    first = next(iter(sweep.arms))
    for arm, settings in evaluated.items():
        for key, value in settings.items():
            if value != evaluated[first][key]:
                raise UsageError(
                    f"{path}: arms.{arm}: {key}: {value!r} here, {evaluated[first][key]!r} in {first}; "
                    "arms that are compared are measured alike"
                )
    return sweep


def _evaluated(sweep: Sweep, arm: str, path: Path) -> dict[str, Any]:
    """Dotted name -> value, of the settings by which an arm is measured; checks all of its settings."""
    config = config_of(sweep, arm, str(path))
    for where, changed in (("settings", sweep.settings), (f"arms.{arm}", sweep.arms[arm])):
        given = dict(flatten(changed or {})).keys() & set(_OF_EACH_RUN)
        if "seed" in given:
            raise UsageError(f"{path}: {where}: seed: the runs' seeds are those under 'seeds'")
        for key in sorted(given):
            raise UsageError(
                f"{path}: {where}: {key}: sweep.py sets it; use its --cores and --jobs"
            )
    leaves = flatten(asdict(config))
    return {key: value for key, value in leaves if key.startswith("evaluation.") or key in MEASURED}


def config_of(sweep: Sweep, arm: str, source: str) -> Any:
    """The config of an arm's runs, apart from the seed.

    Args:
        sweep: that the arm is of.
        arm: its name.
        source: names the file in errors.

    Raises:
        UsageError: no such preset, an unknown key, a wrong value.
    """
    known = SETTINGS[sweep.command]
    try:
        plain = asdict(known.load(sweep.config))
    except UsageError as error:
        raise UsageError(f"{source}: {str(error).removeprefix('--')}") from error
    try:
        return known.parse(_merged(plain, sweep.changes(arm)), source=f"{source}: arms.{arm}")
    except UsageError:
        known.parse(_merged(plain, sweep.settings or {}), source=f"{source}: settings")
        raise  # the mistake is the arm's own


def settings_without_effect(sweep: Sweep, source: str) -> list[str]:
    """Lines that name settings of the file which do nothing: an arm's own, and those of all arms that serve none.

    Arguments and errors are those of `config_of`.
    """
    known = SETTINGS[sweep.command]
    idle = {arm: known.idle(config_of(sweep, arm, source)) for arm in sweep.arms}
    own = {arm: dict(flatten(changed or {})) for arm, changed in sweep.arms.items()}
    notes = [
        f"note: {source}: arms.{arm}: {said}"
        for arm, found in idle.items()
        for key, said in found.items()
        if key in own[arm]
    ]
    for key in dict(flatten(sweep.settings or {})):
        inherit = [arm for arm in sweep.arms if key not in own[arm]]
        if inherit and all(key in found for found in idle.values()):
            notes.append(f"note: {source}: settings: {idle[inherit[0]][key]}")
    return notes


def refuse_simulators_on_ray(sweep: Sweep, source: str) -> None:
    """Raise `UsageError` where runs that hold cores of a Ray cluster would wait for more of them, for ever."""
    for arm in sweep.arms:
        machine = config_of(sweep, arm, source).machine
        if sweep.command == "train_mt10.py" and machine.workers_backend == "ray":
            raise UsageError(
                f"{source}: arms.{arm}: machine.workers_backend: ray, in runs that are on a Ray cluster themselves; "
                "use processes, or --backend local"
            )


def preset_and_flags(sweep: Sweep, arm: str, source: str) -> tuple[str, list[str]]:
    """A preset, and the flags of the command line with which it gives the config of an arm.

    They name every setting that differs, so nothing depends on a file that `config` may name. Arguments and
    errors are those of `config_of`.
    """
    known = SETTINGS[sweep.command]
    preset = sweep.config if sweep.config in known.preset_names() else _PRESETS[sweep.command]
    begin = dict(flatten(asdict(known.load(preset))))
    flags = []
    for key, value in flatten(asdict(config_of(sweep, arm, source))):
        if value != begin[key] and key not in _OF_EACH_RUN:
            values = value if isinstance(value, list | tuple) else [value]
            flags += [f"--{key.replace('_', '-')}", *map(str, values)]
    return preset, flags


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, section by section."""
    found = dict(base)
    for key, value in changes.items():
        inner = found.get(key)
        found[key] = (
            _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
        )
    return found
