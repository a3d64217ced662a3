"""Settings that are younger than runs that should stay readable, and what those runs did.

A run records every setting, and a recorded config that lacks one is refused: the default of today need not be
what the run did. Who adds a setting says here what the runs before it did, by the setting's dotted name, such as
`"agent.mean_penalty": 0.0`. Then the shipped policy, the committed results and all older runs can be evaluated,
resumed and compared as before.
"""

from __future__ import annotations

from typing import Any

ADDED_TO_MULTI_TASK: dict[str, Any] = {}
"""Of train_mt10.py."""

ADDED_TO_PERMUTED: dict[str, Any] = {}
"""Of train_permuted_mnist.py."""
