"""The card of an exported policy: README.md with the metadata block that model hubs read."""

from __future__ import annotations

from typing import Any

import yaml

from configs import MT10, Config
from configs.network import gates_in_words
from configs.task_sets import MT25, MT50
from reporting.report import Report, format_report, goals_in_words

_SETS = {MT10: "MT10", MT25: "MT25", MT50: "MT50"}
_PROJECT = "active-dendrites-metaworld"


def model_card(
    name: str, config: Config, report: Report, versions: dict[str, str], *, has_curve: bool
) -> str:
    """README.md of the folder.

    Args:
        name: of the folder.
        config: of the run.
        report: that came with the policy.
        versions: that it was trained with.
        has_curve: whether learning_curve.png is next to it.
    """
    data = f"Meta-World/{_SETS.get(config.env.task_names, 'own tasks')}"
    one_by_one = config.env.schedule == "one_by_one"
    learning = "continual-learning" if one_by_one else "multi-task"
    kind = gates_in_words(config.network)
    of_dendrites = ["active-dendrites"] * (kind == "dendrites")
    tags = ["meta-world", learning, "soft-actor-critic", *of_dendrites]
    block = yaml.safe_dump(_metadata(name, data, report, tags), sort_keys=False)
    low_high = report["mean_success_rate_ci95"]
    kind = {"dendrites": "active dendrites", "FiLM": "FiLM", "MLP": "an MLP"}.get(kind, f"a {kind}")
    activation = config.network.activation.replace("_", "-")
    curve = "![success while training](learning_curve.png)\n\n" if has_curve else ""
    over = "episodes" if report["episodes_per_goal"] > 1 else "goals"
    played = report["goals"]
    goals = f" --goals {played}" if played != config.env.num_goals else ""
    in_turn = ", learned one after the other" if one_by_one else ""
    trained = ", ".join(f"{package} {version}" for package, version in versions.items())
    return f"""---
{block}---

# {name}

One Soft Actor-Critic policy for {len(report["tasks"])} robot tasks ({data}){in_turn}, with {kind} and {activation}. It was
trained for {report["env_steps_trained"]:,} environment steps with seed {config.seed}
(Iyer et al. 2022, arXiv 2201.00042; Meta-World: Yu et al. 2019, arXiv 1910.10897).

Mean success: **{report["mean_success_rate"]:.1%}** ({low_high[0]:.1%} to {low_high[1]:.1%}, 95 %, over {over}; one training run).

{format_report(report)}

{goals_in_words(report)}, goal list of seed {report["seed"]}, {report["horizon"]} steps per episode,
{report["actions"]} actions. An episode succeeds if Meta-World's flag was set at any step.

{curve}## Evaluate it again

With the project `{_PROJECT}`, which is given this folder:

```
python evaluate.py path/to/{name}{goals}
```

It prints this table, and says whether every goal ended as it did here. `--seed 1000` takes goals that the
policy has never seen; `--page --video --analyze` shows what it does and has learned.

## Limits

The policy sees the simulator's state, not pictures, and is told which task it plays. It was trained in
simulation only. Other versions of MuJoCo or Meta-World may give other numbers; it was trained with {trained}.
"""


def _metadata(name: str, data: str, report: Report, tags: list[str]) -> dict[str, Any]:
    metrics = [
        {
            "type": "success_rate",
            "name": "mean success rate",
            "value": round(report["mean_success_rate"], 4),
            "verified": False,
        }
    ]
    result = {
        "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
        "dataset": {"name": data, "type": data},
        "metrics": metrics,
    }
    return {
        "license": "mit",
        "library_name": _PROJECT,
        "pipeline_tag": "reinforcement-learning",
        "tags": [
            *("reinforcement-learning", "deep-reinforcement-learning", "robotics"),
            *tags,
        ],
        "model-index": [{"name": name, "results": [result]}],
    }
