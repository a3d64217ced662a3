"""Sizes that Meta-World fixes for all of its tasks. Importing them does not import Meta-World."""

from __future__ import annotations

OBS_SIZE = 39
"""Hand, gripper, two objects with rotation: now and one step before; and the goal position."""
ACTION_SIZE = 4
"""Hand displacement in x, y, z, and gripper effort, each in [-1, 1]."""
GOALS_PER_TASK = 50
