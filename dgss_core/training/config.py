"""What a training is: a recipe, the same on every machine, and the hardware it runs on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dgss_core.datasets import Dataset, build_dataset
from dgss_core.datasets.protocols import load_protocol
from dgss_core.datasets.registry import takes_protocol_map
from dgss_core.errors import DgssError
from dgss_core.networks.inference import Inference
from dgss_core.training.augmentation import (
    CorruptionConfig,
    TrainingAugmentation,
    training_augmentation,
)
from dgss_core.training.augmentation.training import Color
from dgss_core.training.average import AverageConfig
from dgss_core.training.distill import DistillationConfig
from dgss_core.training.evaluation import ScoredSplit
from dgss_core.training.mixing import MixingConfig
from dgss_core.training.optimiser import OptimiserConfig
from dgss_core.training.self_training import SelfTrainingConfig


@dataclass
class SplitConfig:
    """One split of a dataset.

    Attributes:
        dataset: its name, or a YAML file of your own
        split: its name; the dataset's first when null
        folder: where it lies, in the data folder; the dataset's name when null
        options: of the dataset (condition, mapping, listing, frames, seeds, ...)
    """

    dataset: str
    split: str | None = None
    folder: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def open(self, data: Path) -> Dataset:
        """The frames, below the folder `data`. Raises DgssError where they are not there."""
        root = data / (self.folder or Path(self.dataset).stem)
        return build_dataset(self.dataset, root, self.split, **self.options)


@dataclass
class RareClasses:
    """Rare-class sampling.

    Attributes:
        temperature: the smaller, the more often rare classes are drawn
        min_pixels: of the class in a frame that is drawn for it
    """

    temperature: float = 0.01
    min_pixels: int = 3000


@dataclass
class SourceConfig(SplitConfig):
    """Frames to learn from.

    Attributes:
        repeat: how often each is seen where another source's frame is seen once
        rare: draw frames by the classes they show; null draws all alike
        augmentation: its own; that of the recipe when null
    """

    repeat: float = 1.0
    rare: RareClasses | None = None
    augmentation: AugmentationConfig | None = None


@dataclass
class AugmentationConfig:
    """What is shown of a frame, see `dgss_core.training.augmentation`.

    Attributes:
        crop: height and width of what the network sees
        base: what `scale` is relative to: the frame's own size when null, else its short edge, or
            its height and width
        scale: least and greatest
        step: between scales; 0 takes any
        long_edge: greatest length of the scaled frame
        shapes: least and greatest width per height of what is cut out and resized to the crop, as
            torchvision's RandomResizedCrop; `scale` is then the part of the frame's area
        cat_max_ratio: part of the labelled pixels that one class may have
        fill: RGB beyond the frame
        flip: probability
        color: changes of colour
        corruption: weather, blur and noise; null corrupts nothing
    """

    crop: tuple[int, int] = (512, 512)
    base: int | tuple[int, int] | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    step: float = 0.0
    long_edge: int | None = None
    shapes: tuple[float, float] | None = None
    cat_max_ratio: float = 1.0
    fill: tuple[int, int, int] = (124, 116, 104)
    flip: float = 0.5
    color: Color = 'photometric'
    corruption: CorruptionConfig | None = None

    def build(self) -> TrainingAugmentation:
        return training_augmentation(**vars(self))


@dataclass
class EvaluationConfig:
    """What is scored during a training, and how images are looked at.

    Attributes:
        splits: what is scored; the first decides which checkpoint is the best
        every: steps from one evaluation to the next
        protocol: sizes, windows and label map of Mapillary, as docs/datasets.md lists them
        look: scales, flips, and windows other than those of the protocol
        pictures: frames of the first split to draw into the log
    """

    splits: list[SplitConfig] = field(default_factory=list)
    every: int = 10_000
    protocol: str = 'native'
    look: Inference = field(default_factory=Inference)
    pictures: int = 2

    def open(self, data: Path) -> list[ScoredSplit]:
        """What is scored, below the folder `data`. Raises DgssError where it is not there."""
        protocol = load_protocol(self.protocol)
        opened = []
        for split in self.splits:
            chosen = {'mapping': protocol.map} if takes_protocol_map(split.dataset) else {}
            dataset = replace(split, options={**chosen, **split.options}).open(data)
            title = f'{dataset.title}, {protocol.title}'
            opened.append(ScoredSplit(dataset, protocol.view(split.dataset), title))
        return opened


@dataclass
class TrainConfig:
    """A recipe.

    Attributes:
        system: one of `dgss models`
        weights: of the encoder, as `dgss models` downloads them, or a file; null is random
        start: checkpoint of ours to start from
        label_set: the classes
        encoder_options: of the encoder (image_size, pad, ...)
        options: of the system (rank, train, width, ...)
        sources: what is learnt from
        augmentation: of what is learnt from
        label_stride: labels are compared at every so-many-th pixel
        mixing: style mixing; null mixes nothing
        self_training: labels for sources without labels; null leaves them without
        distillation: a teacher's answers as labels; null has no teacher
        steps: optimiser steps
        batch: images per step, of all processes together
        optimiser: rates, decays, schedule
        average: average of the weights, which is then scored and kept; null keeps the last weights
        evaluation: what is scored
        save_every: steps from one saved state to the next
        seed: of everything random
    """

    system: str
    sources: list[SourceConfig]
    weights: str | None = 'pretrained'
    start: Path | None = None
    label_set: str = 'cityscapes19'
    encoder_options: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    label_stride: int = 1
    mixing: MixingConfig | None = None
    self_training: SelfTrainingConfig | None = None
    distillation: DistillationConfig | None = None
    steps: int = 40_000
    batch: int = 4
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    average: AverageConfig | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    save_every: int = 1000
    seed: int = 1

    def __post_init__(self) -> None:
        counts = (
            self.label_stride,
            self.steps,
            self.batch,
            self.evaluation.every,
            self.save_every,
        )
        if min(counts) < 1 or self.seed < 0:
            raise DgssError(
                'label_stride, steps, batch, evaluation.every and save_every are at least 1 and '
                f'seed at least 0, not {counts} and {self.seed}.'
            )
        if not self.sources:
            raise DgssError('A training needs sources; name at least one dataset.')
        if self.self_training is not None and self.distillation is not None:
            raise DgssError('Frames are labelled by self_training or distillation; drop one.')


@dataclass
class HardwareConfig:
    """How a recipe is run here; apart from rounding it changes no result.

    Attributes:
        accelerator: cpu, cuda, or the best there is
        precision: of the forward pass; weights stay float32
        at_once: images per process that go through the network together; as many as fit when null
        workers: loader processes per process
        strategy: ddp holds all weights in every process, fsdp spreads them
        checkpointing: recompute the encoder's blocks in the backward pass instead of keeping them
        compile: compile the blocks of the encoder
        channels_last: memory layout of convolutions
        in_memory: read all frames before the first step and keep them
    """

    accelerator: Literal['auto', 'cpu', 'cuda'] = 'auto'
    precision: Literal['32-true', 'bf16-mixed'] = 'bf16-mixed'
    at_once: int | None = None
    workers: int = 2
    strategy: Literal['ddp', 'fsdp'] = 'ddp'
    checkpointing: bool = False
    compile: bool = False
    channels_last: bool = False
    in_memory: bool = False

    def accumulation(self, batch: int, processes: int) -> int:
        """Passes per step of each process, so that `processes` see `batch` images together."""
        share, rest = divmod(batch, processes)
        at_once = self.at_once or share
        if rest or not share or share % at_once:
            raise DgssError(
                f'A batch of {batch} cannot be shared by {processes} processes with {at_once} '
                'images at once; let processes times hardware.at_once divide it.'
            )
        return share // at_once
