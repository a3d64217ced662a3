"""What numbers the settings may be, and how strict their sections are."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Of every section: an unknown key is an error, and so are NaN and infinity."""

# The upper ends are far from useful values; they stop a config that asks for the impossible.
PositiveInt = Annotated[int, Ge(1), Le(10**12)]
Count = Annotated[int, Ge(0), Le(10**12)]
Hundreds = Annotated[int, Ge(1), Le(1_000)]
Units = Annotated[int, Ge(1), Le(65_536)]
Number = Annotated[float, Ge(-1e6), Le(1e6)]
Rate = Annotated[float, Gt(0), Le(1e6)]
Fraction = Annotated[float, Gt(0), Le(1)]
