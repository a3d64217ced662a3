"""Presets and YAML files: what is read, and what is refused with which words."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from configs import (
    MT50,
    Config,
    UsageError,
    dump_config,
    load_config,
    parse_config,
    parse_recorded_config,
    preset_names,
)
from configs.command_line import parse_train_command
from configs.loading import MULTI_TASK
from configs.network import Gating
from configs.plain_yaml import read_yaml
from dendrites import LAYER_GATINGS


def test_the_presets_are_the_promised_ones() -> None:
    one_by_one = ["mt10_one_by_one", "mt10_one_by_one_mlp"]
    assert preset_names() == ["mlp", "mt10", *one_by_one, "mt50", "paper", "quick", "smoke"]


@pytest.mark.parametrize("name", preset_names())
def test_presets_survive_dump_and_load(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(str(path)) == config


def test_the_paper_preset_is_the_published_protocol() -> None:
    paper = load_config("paper")
    assert paper.total_env_steps == 15_000_000
    assert (paper.env.num_goals, paper.env.horizon, paper.env.copies_per_task) == (1, 500, 1)
    assert paper.replay.batch_size == 2560
    assert paper.replay.sampling == "uniform"
    assert paper.network.actor_hidden == paper.network.critic_hidden == (2800, 2800)
    assert paper.network.dendritic_layers == (1,)
    assert paper.network.num_segments == 10
    assert paper.network.winners_density == (0.25,)
    assert paper.network.weight_density == 0.9
    # 250 updates after every 500 steps of the ten environments
    training = paper.training
    assert training.updates_per_vector_step * training.update_interval_vector_steps == 250
    assert training.update_interval_vector_steps == 500


def test_the_preset_of_fifty_tasks_has_them_all() -> None:
    config = load_config("mt50")
    assert config.env.task_names == MT50
    assert config.replay.batch_size % 50 == 0
    assert config.replay.capacity >= 50 * config.env.copies_per_task * config.env.horizon
    with pytest.raises(UsageError, match="can't be split evenly over 50 tasks"):
        parse_config({"env": {"tasks": "mt50"}, "replay": {"batch_size": 510}}, "it")


@pytest.mark.parametrize("names", [("mlp", "mt10"), ("mt10_one_by_one_mlp", "mt10_one_by_one")])
def test_the_mlp_presets_differ_in_the_network_only(names: tuple[str, str]) -> None:
    mlp, mt10 = map(load_config, names)
    assert replace(mlp, network=mt10.network) == mt10
    assert replace(mlp.network, kind="dendritic", activation="k_winners") == mt10.network


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agent: {actor_rl: 1}", "unknown key 'agent.actor_rl' (did you mean 'actor_lr'?)"),
        ("env: {workers: 3}", "unknown key 'env.workers' (now 'machine.workers')"),
        ("device: cpu", "unknown key 'device' (now 'machine.device')"),
        ("sead: 1", "unknown key 'sead' (did you mean 'seed'?)"),
        ("agent: {actor_lr: fast}", "agent.actor_lr: input should be a valid number"),
        ("agent: {actor_lr: -1}", "agent.actor_lr: input should be greater than 0, got -1"),
        ("agent: {actor_lr: .nan}", "agent.actor_lr"),
        ("agent: {discount: 1.0}", "agent.discount: input should be less than 1"),
        ("machine: {workers: many}", "machine.workers"),
        ("env: {tasks: [reach-v2]}", "unknown task 'reach-v2' (did you mean 'reach-v3'?)"),
        ("env: {tasks: [reach-v3, reach-v3]}", "named twice"),
        ("env: {tasks: [mt10, reach-v3]}", "'mt10' is a set of tasks, not one in a list"),
        (
            "env: {tasks: mt20}",
            "env.tasks: input should be 'mt10', 'mt25' or 'mt50' or a list, got 'mt20'",
        ),
        ("env: {tasks: []}", "env.tasks: tuple should have at least 1 item"),
        ("env: {tasks: [reach-v3, 3]}", "env.tasks.1: input should be a valid string, got 3"),
        ("env: {num_goals: 51}", "env.num_goals: input should be less than or equal to 50"),
        ("env: 3", "env: input should be a dictionary"),
        ("replay: {capacity: 40}", "replay.capacity: 40 can't hold two steps"),
        ("agent: {target_entropy: low}", "agent.target_entropy: input should be a valid number"),
        ("network: {gating: gate_table, context: embedding}", "gate_table needs network.context"),
        ("- 1", "the file: input should be a dictionary"),
        ("replay: {batch_size: 501}", "split evenly over 10 tasks; use 500 or 510 (--replay"),
        ("replay: {batch_size: 7}", "split evenly over 10 tasks; use 10 (--replay.batch-size)"),
        ("env: {tasks: ['reach-v3,push-v3']}", "has a comma; separate tasks by spaces"),
        ("network: {dendritic_layers: [2]}", "has layers 0 to 1 only"),
        (
            "network: {parameter_factor: 4, match_parameters: false}",
            "network.parameter_factor: 4 does nothing without network.match_parameters",
        ),
        ("evaluation: {horizon: 1}", "evaluation.horizon: input should be greater than or equal"),
        (
            "network: {winners_density: [0.1, 0.2, 0.3]}",
            "network.winners_density: give 1 value or 2",
        ),
        ("agent: {log_std_bounds: [2, -5]}", "agent.log_std_bounds"),
        (
            "agent: {value_range: [0, 10]}",
            "agent.value_range: give a negative and a positive value",
        ),
        ("exploration: {hold_rate: 1.0}", "exploration.hold_rate: input should be less than 1"),
        ("exploration: {hold_rat: 1}", "'exploration.hold_rat' (did you mean 'hold_rate'?)"),
        (
            "env: {num_goals: 5}",
            "evaluation.report_goals: 50 is more than env.num_goals, which is 5; use --evaluation.goals 5 ",
        ),
        ("seed: [", "not valid YAML"),
        ("seed: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_mistakes_get_one_line_with_the_mend(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_config(str(path))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'quick'"):
        load_config("quik")


def test_scientific_notation_without_a_dot_is_a_number(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-3 as a string; a user means a number."""
    path = tmp_path / "mine.yaml"
    path.write_text("agent: {actor_lr: 1e-3}")
    assert read_yaml(path) == {"agent": {"actor_lr": "1e-3"}}
    assert load_config(str(path)).agent.actor_lr == 1e-3


def test_a_recorded_config_must_name_every_setting(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    whole = dump_config(load_config("smoke"))
    path.write_text("".join(f"{line}\n" for line in whole.splitlines() if "n_step" not in line))
    with pytest.raises(UsageError, match=r"config.yaml: 'agent.n_step' is missing"):
        parse_train_command(["--resume", str(tmp_path)])
    assert parse_recorded_config(yaml.safe_load(whole), "it") == load_config("smoke")
    older = yaml.safe_load(whole)
    older["agent"]["value_bound"] = 10.0
    with pytest.raises(UsageError, match=r"'agent.value_bound' is unknown; .*another version"):
        parse_recorded_config(older, "it")
    for nothing in (None, {}, [], "text", 3):
        with pytest.raises(UsageError, match="is missing"):
            parse_recorded_config(nothing, "it")


def test_a_setting_that_is_younger_than_a_run_is_what_the_run_did() -> None:
    recorded = yaml.safe_load(dump_config(load_config("smoke")))
    del recorded["agent"]["n_step"], recorded["seed"]
    before = deepcopy(recorded)
    younger = replace(MULTI_TASK, added={"agent.n_step": 7, "seed": 3, "agent.discount": 0.5})
    config = younger.parse_recorded(recorded, "it")
    assert (config.agent.n_step, config.seed) == (7, 3)
    assert config.agent.discount == load_config("smoke").agent.discount  # it is recorded
    assert recorded == before
    with pytest.raises(UsageError, match=r"'seed' is missing; .* configs/added.py"):
        replace(younger, added={"agent.n_step": 7}).parse_recorded(recorded, "it")
    deep: dict[str, object] = {}
    for _ in range(900):  # a stranger's
        deep = {"agent": deep}
    for nothing in (None, {}, [], "text", 3, {"agent": 3}, {"agent": None}, deep):
        with pytest.raises(UsageError, match="is missing"):
            younger.parse_recorded(nothing, "it")


def test_the_settings_of_committed_runs_can_be_read() -> None:
    """If this fails, a setting is new: configs/added.py says what the runs before it did."""
    root = Path(__file__).parents[1]
    paths = [root / "pretrained/mt10/config.yaml", *root.glob("docs/results/**/config.yaml")]
    assert len(paths) > 1
    for path in paths:
        assert parse_recorded_config(read_yaml(path), str(path)).env.tasks == "mt10"


def test_every_gating_of_a_layer_is_a_setting() -> None:
    assert get_args(Gating) == LAYER_GATINGS


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["seed", "env", "agent", "network", "tasks", "actor_lr", "workers"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_arbitrary_data_is_a_config_or_a_usage_error(data: object) -> None:
    with pytest.raises(UsageError):
        parse_recorded_config(data, source="data")
    try:
        config = parse_config(data, source="data")
    except UsageError:
        return
    assert isinstance(config, Config)


def _floats(tree: dict | list, path: tuple = ()) -> Iterator[tuple]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list):
            yield from _floats(value, (*path, key))
        elif isinstance(value, float):
            yield (*path, key)


@pytest.mark.parametrize("path", list(_floats(yaml.safe_load(dump_config(load_config("mt10"))))))
def test_no_setting_can_be_beyond_what_float32_holds(path: tuple, tmp_path: Path) -> None:
    document = yaml.safe_load(dump_config(load_config("mt10")))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = 1e300
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(UsageError, match=r"input should be less than"):
        load_config(str(file))
