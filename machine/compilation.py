"""torch.compile where it works; the same functions, uncompiled, where it does not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Literal

import torch

logger = logging.getLogger(__name__)


class Compiled:
    """A function that is compiled at its first call, or left as it is if that fails.

    The compiler needs a C++ compiler on the CPU and Triton on a GPU. Its results are kept between
    runs by torch itself (`TORCHINDUCTOR_CACHE_DIR`).

    Args:
        function: tensors in, tensors out, of shapes that stay the same.
        mode: `auto` falls back to the plain function, `never` does not try.
        cuda_graphs: on a GPU, replay the kernels as one graph; results are overwritten by the next
            call after `torch.compiler.cudagraph_mark_step_begin()`.
    """

    failed = False
    """Whether a compilation failed in this process; none is tried after that."""

    def __init__(
        self,
        function: Callable[..., Any],
        mode: Literal["auto", "never"],
        cuda_graphs: bool = False,
    ) -> None:
        self._plain = function
        self._function = function
        self._pending = mode == "auto"
        self._options: dict[str, Any] = {
            "triton.cudagraphs": cuda_graphs,
            # Shapes stay the same, and the guards watch over them: asserting each one again in the
            # compiled code, in Python, took 2 % of the update.
            "size_asserts": False,
            "alignment_asserts": False,
        }

    def prepare(self, *arguments: Any) -> None:
        """Compile for such arguments now, if that is still to be done."""
        if self._pending:
            self(*arguments)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function, compiling it first if this is the first call."""
        if not self._pending:
            return self._function(*arguments)
        self._pending = False
        if Compiled.failed:
            return self._plain(*arguments)
        start = time.perf_counter()
        compiled = torch.compile(self._plain, fullgraph=True, dynamic=False, options=self._options)
        try:
            with torch._functorch.config.patch(force_non_lazy_backward_lowering=True):
                result = compiled(*arguments)  # the backward pass too, so that a failure shows here
        except Exception as error:  # the compiler's exceptions have no common base
            Compiled.failed = True
            reason = str(error).strip().splitlines() or [type(error).__name__]
            logger.info("not compiled, so slower (%.100s)", reason[0])
            return self._plain(*arguments)
        self._function = compiled
        logger.info("compiled %s in %.1f s", self._plain.__name__, time.perf_counter() - start)
        return result
