"""Protection of what was learned before: Synaptic Intelligence (continual/synaptic_intelligence.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from configs.ranges import STRICT


@dataclass(frozen=True)
class ProtectionConfig:
    """Synaptic Intelligence, which holds weights that mattered for earlier tasks (arXiv 1703.04200)."""

    __pydantic_config__ = STRICT

    strength: Annotated[float, Ge(0), Le(1e6)] = 0.0
    """Of the hold on earlier tasks' weights; 0 switches it off."""
    damping: Annotated[float, Gt(0), Le(1e6)] = 0.1
    """Keeps the importance of weights that hardly moved finite."""
