"""The batches of a training: the sources, sampling and augmentation of a recipe combined."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from dgss_core.datasets import Dataset, Sample
from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE, LabelSet, namesakes
from dgss_core.networks.heads.head import PixelHead
from dgss_core.networks.losses.merged import MergedLoss
from dgss_core.networks.systems import SegmentationModel
from dgss_core.training.augmentation import (
    AugmentedFrames,
    Crop,
    Draw,
    Draws,
    Look,
    MixedSampler,
    RareClassSampler,
    Sampler,
    UniformSampler,
    changed_batch,
    class_statistics,
)
from dgss_core.training.chance import seed_of
from dgss_core.training.config import HardwareConfig, SourceConfig, TrainConfig
from dgss_core.training.fabric import Fabric
from dgss_core.training.memory import free_memory
from dgss_core.training.objective import subsample
from dgss_core.training.progress import read_in_threads

PREFETCHED = 4
"""Batches that each process of a loader makes ahead."""


class Batch(NamedTuple):
    """Images uint8 (B,3,H,W), labels uint8 (B,h,w), `labelled` bool (B,), `inside` bool (B,H,W).

    Labels are those of every `label_stride`-th pixel. `labelled` is False for images of a source
    without labels, `inside` for pixels beyond the frame, where the crop is filled. `looks` are
    the changes of pixels that the loader has left for the device.
    """

    images: Tensor
    labels: Tensor
    labelled: Tensor
    inside: Tensor
    looks: list[Look]

    def on(self, fabric: Fabric) -> Batch:
        """The batch on the device of `fabric`, with all changes made."""
        tensors = fabric.to_device((self.images, self.labels, self.labelled, self.inside))
        images, labels, labelled, inside = tensors
        return Batch(changed_batch(images, self.looks), labels, labelled, inside, [])


class InMemory:
    """A dataset whose frames are all read once and kept."""

    def __init__(self, dataset: Dataset, show: bool) -> None:
        self.dataset = dataset
        title = f'Reading {dataset.title}'
        self.samples = read_in_threads(dataset.__getitem__, len(dataset), title, show)
        self.label_set, self.title = dataset.label_set, dataset.title
        self.fingerprint = dataset.fingerprint

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def labels(self, index: int) -> np.ndarray:
        return self.samples[index].labels


class TrainingFrames(torch.utils.data.Dataset):
    """Augmented crops, each with its `labelled` flag; the index is a draw of a sampler.

    With `left` the changes of pixels are left for the device, where a batch can have them.
    """

    def __init__(self, frames: AugmentedFrames, left: bool) -> None:
        self.frames, self.left = frames, left

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, draw: Draw) -> tuple[Crop, bool]:
        crop, labelled = self.frames.read(draw)
        return crop if self.left and crop.batched else crop.finished(), labelled


class Collate:
    """Crops as a batch, with the labels of every `stride`-th pixel."""

    def __init__(self, stride: int) -> None:
        self.stride = stride

    def __call__(self, crops: list[tuple[Crop, bool]]) -> Batch:
        images, labels, inside = default_collate(
            [(crop.image.contiguous(), crop.labels, crop.inside) for crop, _ in crops]
        )
        labelled = torch.tensor([labelled for _, labelled in crops])
        looks = [crop.look for crop, _ in crops]
        return Batch(images, subsample(labels, self.stride), labelled, inside, looks)


def kept_in_memory(
    datasets: list[Dataset], draws: int, in_memory: bool | None, fabric: Fabric
) -> list[Dataset]:
    """Datasets of which `draws` frames will be drawn, with `in_memory` all read now.

    The first process says that they are read. None reads them if they are `worth_keeping`.
    """
    if in_memory is None:
        in_memory = worth_keeping(datasets, draws)
    if not in_memory:
        return datasets
    fabric.print(f'Reads {sum(map(len, datasets))} frames into memory.')
    return [InMemory(dataset, fabric.is_global_zero) for dataset in datasets]


def worth_keeping(datasets: Sequence[Dataset], draws: int) -> bool:
    """Whether decoded frames are drawn again and fit into a quarter of the free memory."""
    frames = sum(map(len, datasets))
    if not all(map(len, datasets)) or draws < 2 * frames:
        return False
    needed = 0
    for dataset in datasets:
        first = dataset[0]
        needed += len(dataset) * (first.image.nbytes + first.labels.nbytes)
    return needed * int(os.environ.get('LOCAL_WORLD_SIZE', 1)) <= free_memory() // 4


def build_sampler(
    sources: Sequence[SourceConfig], datasets: Sequence[Dataset], seed: int
) -> Sampler:
    """The order in which frames are drawn."""
    samplers: list[Sampler] = []
    for index, (source, dataset) in enumerate(zip(sources, datasets, strict=True)):
        if source.rare is None:
            samplers.append(UniformSampler(len(dataset), seed_of(seed, index)))
        else:
            statistics = class_statistics(dataset)
            rare = RareClassSampler(statistics, seed_of(seed, index), **asdict(source.rare))
            samplers.append(rare)
    if len(samplers) == 1:
        return samplers[0]
    shares = [s.repeat * len(d) for s, d in zip(sources, datasets, strict=True)]
    return MixedSampler(samplers, shares, seed)


def label_tables(
    model: SegmentationModel, datasets: Sequence[Dataset]
) -> tuple[list[np.ndarray], MergedLoss | None]:
    """A table uint8 (256,) from the ids of each dataset to training ids, and the loss they need.

    If the head classifies pixels, labels coarser than the model's get ids of their own for
    `MergedLoss`. All other labels become the model class that they merge into, and the loss is
    None. Raises DgssError if a label set defines no merge.
    """
    label_set = model.label_set
    coarse: dict[str, LabelSet] = {}
    head = model.head
    if isinstance(head, PixelHead):
        found = (dataset.label_set for dataset in datasets)
        for labels in (labels for labels in found if len(labels) < len(label_set)):
            if coarse.setdefault(labels.name, labels).names != labels.names:
                raise namesakes(coarse[labels.name], labels)
    merged = None
    if coarse:
        assert isinstance(head, PixelHead)
        merged = MergedLoss(
            label_set, list(coarse.values()), head.align_corners, head.label_smoothing
        )
    tables = []
    for dataset in datasets:
        name = dataset.label_set.name
        if merged is None or name not in coarse:
            tables.append(dataset.label_set.merge_to(label_set))
        else:
            table = np.full(256, IGNORE, np.uint8)
            table[: len(coarse[name])] = np.arange(len(coarse[name])) + merged.offset[name]
            tables.append(table)
    return tables, merged


def build_frames(
    config: TrainConfig, datasets: Sequence[Dataset], tables: Sequence[np.ndarray]
) -> AugmentedFrames:
    """The augmented crops of all sources, with training ids."""
    augmentations = [(s.augmentation or config.augmentation).build() for s in config.sources]
    return AugmentedFrames(datasets, augmentations, tables)


def build_loader(
    frames: AugmentedFrames,
    draws: Draws,
    hardware: HardwareConfig,
    at_once: int,
    stride: int,
) -> DataLoader[Batch]:
    """A loader of endless batches of `at_once` images, with every `stride`-th label."""
    return DataLoader(
        TrainingFrames(frames, hardware.leaves_changes),
        at_once,
        sampler=draws,
        collate_fn=Collate(stride),
        num_workers=hardware.workers,
        pin_memory=hardware.gpu,
        prefetch_factor=PREFETCHED if hardware.workers else None,
        # Forked processes share the frames in memory. It is safe: a loader never uses the GPU.
        multiprocessing_context='fork' if hardware.workers else None,
        worker_init_fn=_begin_worker,
    )


def batches(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """The batches of a loader. A DgssError of its processes keeps its one-sentence message."""
    try:
        yield from loader
    except DgssError as error:
        # A loader process prepends its traceback to the message.
        raise DgssError(str(error).rpartition('DgssError: ')[2].strip()) from error


def _begin_worker(worker: int) -> None:
    os.setpgrp()  # Ctrl-C must not end the loader of a training that finishes its step
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
