"""Everything a run of permuted images is made of, to and from a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from numpy.random import SeedSequence
from pydantic import ConfigDict, TypeAdapter
from torch import Tensor

from configs.errors import RunError, UsageError
from configs.permuted_mnist import PERMUTED, PermutedConfig
from continual.clustering import ClusteredContexts
from continual.contexts import Contexts, OneHotContexts, PrototypeContexts
from machine.device import resolve_device, resolve_precision
from machine.fingerprint import fingerprint, log_differences
from permuted_mnist.learner import Learner
from permuted_mnist.network import PermutedNetwork
from permuted_mnist.tasks import PermutedTasks, load_images
from training.checkpoints.folder import (
    NEWEST,
    load_part,
    load_state,
    require_alike,
    save_checkpoint,
)
from training.metrics.accumulator import MeanAccumulator
from training.progress import Count, parse_counters
from training.streams import seed_streams, torch_generator


@dataclass
class Progress:
    """How far a run has come."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    gradient_steps: Count = 0
    tasks_done: Count = 0
    """Tasks that have been learned, and after which what was due has been tested."""
    context: Annotated[int, Ge(-1), Le(2**31)] = -1
    """Row of the contexts' table that is being learned; -1 before the first batch."""
    last_log_gradient_steps: Count = 0
    last_row_gradient_steps: Annotated[int, Ge(-1), Le(2**53)] = -1
    """Of any row, an evaluation's included; -1 before the first."""
    last_checkpoint_gradient_steps: Count = 0
    elapsed_hours: Annotated[float, Ge(0), Le(10**6)] = 0.0
    """Wall-clock until the last row of metrics, evaluations included, pauses not."""
    metrics_bytes: Count = 0
    """Length of metrics.csv, so that rows written after a checkpoint are dropped on resume."""

    def is_due(self, what: str, interval: int) -> bool:
        """Whether another multiple of `interval` gradient steps has passed since the last `what`."""
        last: int = getattr(self, f"last_{what}_gradient_steps")
        return self.gradient_steps // interval > last // interval


_PROGRESS = TypeAdapter(Progress)
_MACHINE = TypeAdapter(dict[str, str])


class RunState:
    """The live objects of a run.

    Args:
        config: its settings.

    Raises:
        UsageError: the data is missing or damaged, or there is no such device.
    """

    def __init__(self, config: PermutedConfig) -> None:
        streams = seed_streams(config.seed)
        self.config = config
        self.device = resolve_device(config.machine.device)
        precision = resolve_precision(config.machine.precision, self.device)
        self.precision = precision
        self.machine = fingerprint(self.device, precision)
        """Where the run was trained last: packages, processor, precision, threads."""
        data = config.data
        generator = torch_generator(streams["permutations"])
        images = load_images(data)
        self.tasks = PermutedTasks(images, data.num_tasks, generator, streams["order"])
        self.contexts = make_contexts(config, self.tasks.pixels, streams["contexts"])
        network = PermutedNetwork(
            config.network,
            pixels=self.tasks.pixels,
            context_size=self.contexts.table.shape[1],
            product_dtype=None if precision == torch.float32 else precision,
            generator=torch_generator(streams["weights"]),
        )
        self.learner = Learner(network.to(self.device), config)
        self.metrics, self.progress = MeanAccumulator(), Progress()
        nothing = torch.full((data.num_tasks,), torch.nan, dtype=torch.float64)
        self.matrix = nothing.repeat(data.num_tasks, 1)  # R [T, T], NaN where nothing was measured
        self.untrained = nothing  # [T]

    @property
    def steps_per_task(self) -> int:
        """Gradient steps that each task is learned for."""
        learning = self.config.learning
        return learning.epochs * self.tasks.steps_per_epoch(learning.batch_size)

    def follow_context(self, images: Tensor) -> None:
        """Let the learner know which context a batch `[b, pixels]` has."""
        row = self.contexts.of_batch(images)
        context = self.contexts.table[row].to(self.device, copy=True)  # the table may be renewed
        if row != self.progress.context:
            self.learner.enter(context)
            self.progress.context = row
        elif not self.learner.is_in(context):
            self.learner.move(context)

    def save(self, folder: Path) -> Path:
        """Write a checkpoint into the run's `checkpoints/` and return its path.

        Raises:
            OSError: disk full, folder gone or read-only; the older checkpoint is still there.
            RunError: a weight is not finite; the older checkpoint is still there.
        """
        self.require_finite()
        parts = {"network": self.learner.network.state_dict(), **self.learner.state_dict()}
        parts["contexts"] = self.contexts.state_dict()
        parts["results"] = {"matrix": self.matrix, "untrained": self.untrained}
        state = {
            "config": asdict(self.config),
            "progress": asdict(self.progress),
            "metrics": self.metrics.state_dict(),
            "machine": self.machine,
        }
        return save_checkpoint(folder, NEWEST, self.progress.gradient_steps, parts, state)

    def require_finite(self) -> None:
        """Raise `RunError` if a weight is not finite: nothing that follows would be of any use."""
        for parameter in self.learner.network.feed_forward():
            if not parameter.isfinite().all():
                raise RunError(
                    f"the weights are no longer finite at gradient step {self.progress.gradient_steps}; begin "
                    "a new run with a lower --learning.lr"
                )

    def restore(self, checkpoint: Path) -> None:
        """Load a checkpoint.

        Raises:
            UsageError: it is damaged, of another run, or can't be resumed.
        """
        state, source = load_state(checkpoint), f"{checkpoint}/state.json"
        recorded = PERMUTED.parse_recorded(state["config"], source=f"{source}: config")
        for key in PERMUTED.fixed_changes(recorded, self.config):
            raise UsageError(f"{source}: '{key}' is another one than in config.yaml; another run?")
        self.progress = parse_counters(_PROGRESS, state["progress"], source)
        network = load_part(checkpoint, "network")
        own = self.learner.network.state_dict()
        require_alike(own, network, f"{checkpoint}/network.safetensors")
        try:
            with torch.no_grad():
                for name, tensor in own.items():
                    tensor.copy_(network[name])
            self.contexts.load_state_dict(load_part(checkpoint, "contexts"))
            row = self.progress.context
            context = None if row < 0 else self.contexts.table[row].to(self.device, copy=True)
            names = ("optimizer", "winning", "protection")
            self.learner.load_state_dict(
                {name: load_part(checkpoint, name) for name in names}, context
            )
            results = load_part(checkpoint, "results")
            self.matrix.copy_(results["matrix"])
            self.untrained.copy_(results["untrained"])
            self.metrics.load_state_dict(state["metrics"])
            if self.progress.tasks_done > self.config.data.num_tasks:
                raise ValueError("more tasks than there are")
            self._restore_machine(state)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise UsageError(f"{checkpoint}: can't be resumed ({error!r:.200})") from error

    def _restore_machine(self, state: dict[str, Any]) -> None:
        """A finished run stays where it was trained; another goes on here, and says so."""
        if "machine" not in state:  # a checkpoint of before
            return
        then = _MACHINE.validate_python(state["machine"])
        if self.progress.tasks_done == self.config.data.num_tasks:
            self.machine = {**self.machine, **then}  # a stranger may have left some out
        else:
            log_differences(then, self.machine)


def make_contexts(config: PermutedConfig, pixels: int, stream: SeedSequence) -> Contexts:
    """The source of contexts that the settings name."""
    settings = config.context
    if settings.kind == "one_hot":
        return OneHotContexts(config.data.num_tasks)
    if settings.kind == "prototype":
        return PrototypeContexts(pixels)
    return ClusteredContexts(
        pixels,
        settings.cluster_pixels,
        settings.cluster_exemplars,
        settings.cluster_p_value,
        torch_generator(stream),
    )
