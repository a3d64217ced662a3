"""What Meta-World asks of numpy and scipy, answered for a few numbers: the same bits in less time.

Meta-World's rewards take norms of three numbers, and thresholds of one, with functions made for large arrays.
Each function here repeats the arithmetic of the one that it stands for, operation by operation, where
its arguments are what rewards usually pass, and hands everything else to the original. Norms stay
numpy's own dot product, because BLAS may fuse its multiply-adds and a sum written in Python does not. Results
have numpy's type too: with numpy's promotion rules a `float` instead of a `float64` could give a `float32`.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
from metaworld.utils import reward_utils
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

_FLOAT64 = np.dtype(np.float64)
_FLOATS = frozenset((float, np.float64))
_NUMBERS = frozenset((int, float, np.float64))
_LONG_TAIL_SCALE = float(np.sqrt(1 / 0.1 - 1))
_GAUSSIAN_SCALE = float(np.sqrt(-2 * np.log(0.1)))


def norm(x: Any, ord: Any = None, **kwargs: Any) -> Any:
    """`np.linalg.norm`; the length of one vector or number is what is made faster."""
    if (ord is None or ord == 2) and not kwargs:
        kind = type(x)
        if kind is np.ndarray and x.ndim == 1 and x.dtype is _FLOAT64 and x.flags.c_contiguous:
            return np.float64(math.sqrt(x.dot(x)))
        if kind is np.float64 and ord is None:
            x = float(x)
            return np.float64(math.sqrt(x * x))
    return np.linalg.norm(x, ord, **kwargs)


def clip(a: Any, a_min: Any = None, a_max: Any = None, **kwargs: Any) -> Any:
    """`np.clip`; one number of numpy's between two of Python's is what is made faster."""
    if (
        isinstance(a, np.float32 | np.float64)
        and type(a_min) in (int, float)
        and type(a_max) in (int, float)
        and a_min < a < a_max
        and not kwargs
    ):
        return a
    return np.clip(a, a_min, a_max, **kwargs)


def tolerance(
    x: Any,
    bounds: tuple[Any, Any] = (0.0, 0.0),
    margin: Any = 0.0,
    sigmoid: Any = "gaussian",
    value_at_margin: Any = 0.1,
) -> Any:
    """`reward_utils.tolerance`; one number with one of the two sigmoids that tasks use is made faster.

    Raises:
        ValueError: as the original does.
    """
    lower, upper = bounds
    if not (
        type(x) in _FLOATS
        and type(margin) in _FLOATS
        and type(lower) in _NUMBERS
        and type(upper) in _NUMBERS
        and sigmoid in ("long_tail", "gaussian")
        and value_at_margin == 0.1
        and lower <= upper  # the others are errors, or not numbers
        and margin >= 0
    ):
        return reward_utils.tolerance(x, bounds, margin, sigmoid, value_at_margin)
    if lower <= x <= upper:
        return 1.0
    if margin == 0:
        return 0.0
    distance = float(lower - x if x < lower else x - upper) / float(margin)
    # A square is a power, as in the original: `pow` does not round as a product does.
    try:
        if sigmoid == "long_tail":
            return 1 / ((distance * _LONG_TAIL_SCALE) ** 2 + 1)
        return float(np.exp(-0.5 * (distance * _GAUSSIAN_SCALE) ** 2))
    except OverflowError:  # where numpy's power is infinite
        return 0.0


class FastRotation:
    """scipy's `Rotation`, of which tasks use `Rotation.from_matrix(matrix).as_quat()` alone.

    The conversion follows `scipy.spatial.transform` in its operations and their order. It does not ask
    whether the matrix is a rotation, for MuJoCo's are.
    """

    def __init__(self, matrix: NDArray[np.float64]) -> None:
        self._matrix = matrix

    @staticmethod
    def from_matrix(matrix: NDArray[np.float64]) -> FastRotation:
        """The rotation that `matrix [3, 3]` describes."""
        return FastRotation(matrix)

    def as_quat(self) -> NDArray[np.float64]:
        """The unit quaternion `[4]`, x, y, z, w."""
        (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = self._matrix.tolist()
        trace = xx + yy + zz
        if not math.isfinite(trace):  # a broken simulation
            return Rotation.from_matrix(self._matrix).as_quat()
        largest = max(xx, yy, zz, trace)
        if xx == largest:  # the first of equals
            x, y, z, w = 1 - trace + 2 * xx, yx + xy, zx + xz, zy - yz
        elif yy == largest:
            x, y, z, w = xy + yx, 1 - trace + 2 * yy, zy + yz, xz - zx
        elif zz == largest:
            x, y, z, w = xz + zx, yz + zy, 1 - trace + 2 * zz, yx - xy
        else:
            x, y, z, w = zy - yz, xz - zx, yx - xy, 1 + trace
        length = math.sqrt(x * x + y * y + z * z + w * w)
        return np.array([x / length, y / length, z / length, w / length])


def copy_array(a: Any, *args: Any, **kwargs: Any) -> Any:
    """`np.copy`, without its detour for arrays."""
    return (
        a.copy() if type(a) is np.ndarray and not (args or kwargs) else np.copy(a, *args, **kwargs)
    )


def _changed(module: ModuleType, **members: Any) -> ModuleType:
    """A copy of a module with other members; the module itself stays as it is."""
    copied = ModuleType(module.__name__)
    vars(copied).update(vars(module), **members)
    return copied


REPLACEMENTS = {
    id(np): _changed(np, clip=clip, copy=copy_array, linalg=_changed(np.linalg, norm=norm)),
    id(reward_utils): _changed(reward_utils, tolerance=tolerance),
    id(reward_utils.tolerance): tolerance,
    id(Rotation): FastRotation,
}
"""What stands for what, by the identity of the original."""
