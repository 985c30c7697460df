"""The configuration of a training: a recipe, the same on every machine, and the hardware."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from dgss_core.datasets import Dataset, build_dataset
from dgss_core.datasets.protocols import load_protocol
from dgss_core.datasets.registry import takes_protocol_map
from dgss_core.errors import DgssError
from dgss_core.networks.inference import Inference
from dgss_core.runtime.key import computes_bf16, processor
from dgss_core.training.augmentation.config import AugmentationConfig
from dgss_core.training.average import AverageConfig
from dgss_core.training.bounds import within
from dgss_core.training.distill import DistillationConfig
from dgss_core.training.evaluation import ScoredSplit
from dgss_core.training.mixing import MixingConfig
from dgss_core.training.optimiser import OptimiserConfig
from dgss_core.training.self_training import SelfTrainingConfig

IN_TITLES = {'condition', 'mapping', 'frames'}
"""Options that the title of a dataset shows."""
MAX_LABEL_STRIDE = 16
"""The coarsest stride of a head of ours; above it a score would have several labels to match."""


@dataclass
class SplitConfig:
    """One split of a dataset.

    Attributes:
        dataset: name of the dataset, or a YAML file of your own
        split: name of the split; the dataset's first split when null
        folder: path below the data folder; the name of the dataset when null
        options: options of the dataset (condition, mapping, listing, frames, seeds, ...)
    """

    dataset: str
    split: str | None = None
    folder: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def open(self, data: Path) -> Dataset:
        """Open the split below the folder `data`. Raises DgssError if it is missing."""
        root = data / (self.folder or Path(self.dataset).stem)
        return build_dataset(self.dataset, root, self.split, **self.options)

    def named(self, title: str) -> str:
        """`title` of the opened split, and the folder and the options that it does not show."""
        words = [title] if self.folder is None else [title, f'folder {self.folder}']
        for key, value in self.options.items():
            if key not in IN_TITLES:
                words.append(f'{key} {Path(value).name if key == "listing" else value}')
        return ', '.join(words)


@dataclass
class RareClasses:
    """Rare-class sampling.

    Attributes:
        temperature: a smaller value draws rare classes more often
        min_pixels: pixels of the drawn class that a frame must have
    """

    temperature: float = 0.01
    min_pixels: int = 3000


@dataclass
class SourceConfig(SplitConfig):
    """Frames to train on.

    Attributes:
        repeat: weight of each frame relative to the frames of other sources
        rare: draw frames by the classes in them; null draws all frames equally often
        augmentation: augmentation of this source; the recipe's augmentation when null
    """

    repeat: float = 1.0
    rare: RareClasses | None = None
    augmentation: AugmentationConfig | None = None

    def __post_init__(self) -> None:
        within(1e-6, 1e6, repeat=self.repeat)


@dataclass
class EvaluationConfig:
    """What is scored during a training, and how the model is applied.

    Attributes:
        splits: splits to score; the first one decides which checkpoint is the best
        every: steps between evaluations
        protocol: image sizes, windows and the label map of Mapillary, listed in docs/datasets.md
        look: scales, flips, and windows that replace those of the protocol
        pictures: frames of the first split to draw into the log
    """

    splits: list[SplitConfig] = field(default_factory=list)
    every: int = 10_000
    protocol: str = 'native'
    look: Inference = field(default_factory=Inference)
    pictures: int = 2

    def open(self, data: Path) -> list[ScoredSplit]:
        """Open the splits below the folder `data`, each with a title of its own.

        Raises DgssError if one is missing.
        """
        protocol = load_protocol(self.protocol)
        opened = []
        titles: Counter[str] = Counter()
        for split in self.splits:
            chosen = {'mapping': protocol.map} if takes_protocol_map(split.dataset) else {}
            dataset = replace(split, options={**chosen, **split.options}).open(data)
            title = f'{split.named(dataset.title)}, {protocol.title}'
            titles[title] += 1
            if titles[title] > 1:
                title = f'{title}, number {titles[title]}'
            opened.append(ScoredSplit(dataset, protocol.view(split.dataset), title))
        return opened


@dataclass
class TrainConfig:
    """A recipe.

    Attributes:
        system: one of `dgss models`
        weights: encoder weights: `pretrained` for those `dgss models` downloads, or a file; null
            is a random initialisation
        start: dgss checkpoint to start from
        label_set: the classes
        encoder_options: options of the encoder (image_size, pad, ...)
        options: options of the system (rank, train, width, ...)
        frozen: patterns of parameter names that keep their weights (`encoder.*`)
        sources: frames to train on
        augmentation: augmentation of the sources
        label_stride: the loss uses the middle of every n rows and columns of the labels
        mixing: style mixing; null disables it
        self_training: pseudo-labels for sources without labels; null leaves them unlabelled
        distillation: train against a teacher's answers; null uses no teacher
        steps: optimiser steps
        batch: images per step, over all processes
        optimiser: learning rates, decays, schedule
        average: average of the weights, which is scored and saved; null uses the last weights
        evaluation: what is scored
        save_every: steps between saved states
        seed: seed of all random numbers
    """

    system: str
    sources: list[SourceConfig]
    weights: str | None = 'pretrained'
    start: Path | None = None
    label_set: str = 'cityscapes19'
    encoder_options: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    frozen: list[str] = field(default_factory=list)
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
        counts = self.label_stride, self.steps, self.batch, self.evaluation.every, self.save_every
        if min(counts) < 1 or self.seed < 0:
            raise DgssError(
                'label_stride, steps, batch, evaluation.every and save_every are at least 1 and '
                f'seed at least 0, not {counts} and {self.seed}.'
            )
        within(1, 10**9, steps=self.steps, batch=self.batch)
        within(0, 2**63 - 1, seed=self.seed)
        if self.label_stride > MAX_LABEL_STRIDE:
            raise DgssError(
                f'label_stride is 1 to {MAX_LABEL_STRIDE}, not {self.label_stride}; more than the '
                'stride of the head leaves labels out.'
            )
        if not self.sources:
            raise DgssError('A training needs sources; name at least one dataset.')
        if self.self_training is not None and self.distillation is not None:
            raise DgssError('Frames are labelled by self_training or distillation; drop one.')


@dataclass
class HardwareConfig:
    """How a recipe runs on this machine; docs/training.md says what it can change in the result.

    Attributes:
        accelerator: cpu, cuda, or auto for the best available
        precision: precision of the forward pass; weights stay float32; auto is bf16 on a
            GPU and on a CPU with instructions for it, float32 on other CPUs, which compute bf16
            several times slower
        at_once: images per pass and process; all images of the process when null
        workers: loader processes per process
        changes: where colours, noise, blur and corruptions are computed: in the loader, or in
            batches on the device; auto is the loader for a CPU and the device for a GPU. The
            colours of self-training are made by the training process: one image at a time on a
            CPU, in batches on a GPU
        strategy: ddp copies all weights to every process, fsdp shards them
        checkpointing: recompute the encoder's blocks in the backward pass to save memory
        compile: compile the blocks of the encoder; graphs records those with trained weights as
            CUDA graphs; null compiles an encoder with batch norms on a GPU from 10,000 steps on
        channels_last: use the channels-last memory layout for convolutions, but not with fsdp;
            null does so on a GPU for an encoder that has batch norms
        in_memory: read all frames into memory before the first step; null does so if they are
            drawn twice or more and fit into a quarter of the free memory
    """

    accelerator: Literal['auto', 'cpu', 'cuda'] = 'auto'
    precision: Literal['auto', '32-true', 'bf16-mixed'] = 'auto'
    at_once: int | None = None
    workers: int = 2
    changes: Literal['auto', 'loader', 'device'] = 'auto'
    strategy: Literal['ddp', 'fsdp'] = 'ddp'
    checkpointing: bool = False
    compile: bool | Literal['graphs'] | None = None
    channels_last: bool | None = None
    in_memory: bool | None = None

    def __post_init__(self) -> None:
        within(0, 1 << 10, workers=self.workers)
        within(1, 1 << 20, at_once=self.at_once)
        if self.channels_last and self.strategy == 'fsdp':
            raise DgssError(
                'FSDP shards only weights in the usual layout; leave hardware.channels_last out, '
                'or set hardware.strategy to ddp.'
            )

    @property
    def gpu(self) -> bool:
        """Whether it trains on a GPU of NVIDIA."""
        return self.accelerator != 'cpu' and torch.cuda.is_available()

    @property
    def computes_in(self) -> Literal['32-true', 'bf16-mixed']:
        """The precision, chosen."""
        if self.precision != 'auto':
            return self.precision
        return 'bf16-mixed' if self.gpu or computes_bf16(processor()) else '32-true'

    @property
    def leaves_changes(self) -> bool:
        """Whether the loader leaves the changes of pixels for the device."""
        # OpenCV in the loader is faster than torch on a CPU.
        return self.gpu if self.changes == 'auto' else self.changes == 'device'

    def accumulation(self, batch: int, processes: int) -> int:
        """Passes per step of each process when `processes` share `batch` images.

        Raises DgssError if they cannot be divided evenly, and for `compile: graphs` with several
        passes.
        """
        share, rest = divmod(batch, processes)
        at_once = self.at_once or share
        if rest or not share or share % at_once:
            raise DgssError(
                f'A batch of {batch} cannot be shared by {processes} processes with {at_once} '
                'images at once; let processes times hardware.at_once divide it.'
            )
        if self.compile == 'graphs' and share > at_once:
            raise DgssError(
                'CUDA graphs overwrite the gradients that several passes would add up; leave '
                'hardware.at_once out, or set hardware.compile to true.'
            )
        return share // at_once


DEFAULT_HARDWARE = HardwareConfig()
