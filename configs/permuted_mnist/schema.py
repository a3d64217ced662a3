"""Every setting of train_permuted_mnist.py, with its default: the preset `digits`.

Only `data.folder` and what `machine` and `recording` hold may be another in a resumed run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen

from configs.protection import ProtectionConfig
from configs.ranges import STRICT, Fraction, Hundreds, PositiveInt, Rate, Units

Scaling = Literal["all_images", "each_image"]


@dataclass(frozen=True)
class DataConfig:
    """The images, and how many tasks are made of them."""

    __pydantic_config__ = STRICT

    name: Literal["digits", "mnist"] = "digits"
    """digits: 1,797 of 8 x 8 pixels, which come with scikit-learn; mnist: 70,000 of 28 x 28."""
    folder: str = "download"
    """mnist: folder with its four idx files, packed or not; download: fetched once, and kept."""
    num_tasks: Hundreds = 10
    """Tasks, one after the other: each shows the images with its own shuffling of the pixels."""
    scaling: Scaling = "all_images"
    """Pixels get mean 0 and spread 1 over all training images, as published, or within each image: then a
    weight's change for one task is not felt by another task's images just because they are bright or dark."""
    evaluate_on: Literal["test", "validation"] = "test"
    """validation: a sixth of the training images is held back, and results are on it, for choosing
    settings; the test images are then not looked at."""


@dataclass(frozen=True)
class ContextConfig:
    """What the network is told of the task, and where this comes from."""

    __pydantic_config__ = STRICT

    kind: Literal["prototype", "clustering", "one_hot"] = "prototype"
    """prototype: told where a task begins while learning, nothing at test; clustering: told nothing at
    all; one_hot: told the task, always."""
    cluster_pixels: Annotated[int, Ge(1), Le(4_096)] = 256
    """clustering: random pixels that are compared."""
    cluster_exemplars: Annotated[int, Ge(2), Le(65_536)] = 256
    """clustering: images that a cluster keeps, at most."""
    cluster_p_value: Annotated[float, Gt(0), Lt(1)] = 1e-9
    """clustering: a batch that is less likely than this to be of any cluster opens a new one."""


@dataclass(frozen=True)
class NetworkConfig:
    """Hidden layers and a linear head of ten classes, the same for all tasks."""

    __pydantic_config__ = STRICT

    kind: Literal["dendritic", "plain", "xdg"] = "dendritic"
    """dendritic: the context gates the units; plain: no gates; xdg: each task has its own random units,
    the others are off (Masse et al. 2018)."""
    hidden: Annotated[tuple[Units, ...], MinLen(1), MaxLen(16)] = (1024, 1024)
    """Units in each hidden layer."""
    activation: Literal["relu", "k_winners"] = "k_winners"
    """Hidden activation; k_winners keeps the largest units and has no ReLU."""
    winners_density: Fraction = 0.05
    """Fraction of units that k-winners keeps."""
    weight_density: Fraction = 0.5
    """Fraction of non-zero feed-forward weights, per unit; 1 is dense."""
    num_segments: Hundreds = 10
    """dendritic: segments per unit."""
    context_density: Fraction = 0.02
    """dendritic: context density that the segments' initialisation assumes; less is larger weights."""
    gated_off: Annotated[float, Ge(0), Lt(1)] = 0.8
    """xdg: fraction of the units that are off in a task."""


@dataclass(frozen=True)
class LearningConfig:
    """Adam on the cross-entropy of one task after the other."""

    __pydantic_config__ = STRICT

    epochs: Annotated[int, Ge(1), Le(10_000)] = 5
    """Passes over each task's training images."""
    batch_size: Annotated[int, Ge(2), Le(10**6)] = 32
    """Images per gradient step; what is left at the end of a pass is left out."""
    lr: Rate = 1e-3
    """Learning rate."""
    final_lr_fraction: Fraction = 1.0
    """Within each task the learning rate falls linearly to this fraction."""
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of each label that is spread over all classes (Szegedy et al. 2016): 0 for none. Logits that
    need not grow without end change less of what other tasks have learned."""
    epsilon: Rate = 1e-8
    """Adam's, for feed-forward weights: those with gradients much smaller than this move in proportion to
    them, so that one task changes less of what others use."""
    segment_epsilon: Rate = 1e-8
    """Adam's, for the segments."""
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.999
    """Adam's, for feed-forward weights: how long the size of gradients is remembered, about 1 / (1 - beta2)
    gradient steps; beyond a task only without `reset_optimizer`."""
    reset_optimizer: bool = True
    """Forget Adam's moments of the feed-forward weights where a task begins (clustering: where another cluster
    is met). Those of the segments begin anew there in any case."""


@dataclass(frozen=True)
class RecordingConfig:
    """How often a run writes down what it does."""

    __pydantic_config__ = STRICT

    log_interval_gradient_steps: PositiveInt = 100
    """A row of metrics every so many gradient steps."""
    checkpoint_interval_gradient_steps: PositiveInt = 5_000
    """A checkpoint every so many gradient steps."""
    evaluation_interval_tasks: Hundreds = 1
    """All tasks so far are tested after every so many tasks, and after the last one. After each of the
    others, only the newest is, and the next one."""


@dataclass(frozen=True)
class MachineConfig:
    """Where and how a run is computed. Nothing here changes what is learned, apart from rounding."""

    __pydantic_config__ = STRICT

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: Hundreds | Literal["auto"] = "auto"
    """CPU threads; auto is all cores."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the hidden layers' products; auto is bfloat16 where it is fast."""
    compile: Literal["auto", "never"] = "auto"
    """auto: compile the loss and its gradient (half a minute once, then kept) of networks with 2 million
    feed-forward weights or more; uncompiled if that fails."""


@dataclass(frozen=True)
class PermutedConfig:
    """One run of tasks that show the same images with shuffled pixels."""

    __pydantic_config__ = STRICT

    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Seed of everything random: permutations, weights, order of the images."""
    data: DataConfig = field(default_factory=DataConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    learning: LearningConfig = field(default_factory=LearningConfig)
    protection: ProtectionConfig = field(default_factory=ProtectionConfig)
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)
