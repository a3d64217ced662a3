"""The keys of TensorBoard and metrics.csv. docs/metrics.md defines each; a test compares the two."""

from __future__ import annotations

from configs.schema import Config

PATTERNS = (
    "train/success_rate",
    "train/success_rate/<task>",
    "train/return",
    "train/return/<task>",
    "train/task_share/<task>",
    "train/episodes",
    "train/lost_episodes",
    "train/worker_restarts",
    "eval/success_rate",
    "eval/success_rate/<task>",
    "eval/final_step_success_rate",
    "eval/final_step_success_rate/<task>",
    "eval/return",
    "eval/return/<task>",
    "losses/critic",
    "losses/actor",
    "losses/temperature",
    "losses/skipped/critic",
    "losses/skipped/actor",
    "losses/skipped/temperature",
    "gradients/critic",
    "gradients/actor",
    "values/q",
    "values/q/<task>",
    "values/reward_scale/<task>",
    "policy/entropy",
    "policy/entropy/<task>",
    "policy/temperature",
    "policy/temperature/<task>",
    "network/<network>/layer_<i>/active_density",
    "network/<network>/layer_<i>/dead_units",
    "network/<network>/layer_<i>/gate_mean",
    "network/<network>/layer_<i>/gate_std",
    "replay/transitions",
    "time/env_steps_per_second",
    "time/gradient_steps_per_second",
    "time/fraction_simulate",
    "time/fraction_sample",
    "time/fraction_learn",
    "time/fraction_evaluate",
    "time/fraction_checkpoint",
    "time/fraction_other",
    "time/simulators_busy",
    "time/elapsed_hours",
)
"""`<task>` is a task name, `<network>` is actor or critic, `<i>` a hidden layer counted from 0."""

COUNTER_COLUMNS = ("env_steps", "vector_steps", "gradient_steps")


def metric_keys(config: Config) -> list[str]:
    """The keys that a run with this config writes, in the column order of metrics.csv."""
    layers = {
        "actor": len(config.network.actor_hidden),
        "critic": len(config.network.critic_hidden),
    }
    gated = config.network.dendritic_layers if config.network.kind == "dendritic" else ()
    keys: list[str] = []
    for pattern in PATTERNS:
        if "<task>" in pattern:
            keys += [pattern.replace("<task>", task) for task in config.env.task_names]
        elif "<network>" in pattern:
            keys += [
                pattern.replace("<network>", network).replace("<i>", str(i))
                for network, depth in layers.items()
                for i in range(depth)
                if i in gated or "/gate_" not in pattern
            ]
        else:
            keys.append(pattern)
    return keys
