"""Train the embedded bundle: MobileNetV2 and a light conv head on CamVid, KITTI and the drive.

    python training/train_street.py --data DATASETS --weights mobilenetv2.safetensors

DATASETS holds camvid/ and kitti/. Only day frames of the real drives are used; the synthetic
drive adds the other conditions. Writes a checkpoint, the bundle and its figures to --output.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from jsonargparse import auto_cli
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, WeightedRandomSampler
from torchvision.transforms import v2

from dgss_core import datasets
from dgss_core.augmentation import TrainingAugmentation, exposure_changes
from dgss_core.evaluate import evaluate
from dgss_core.export import export_bundle
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.losses.merged import MergedLoss
from dgss_core.segmenter import Segmenter
from dgss_core.systems import SegmentationModel, build_system

CAMVID, KITTI, DRIVE = 'CamVid day_train', 'KITTI semantics 2015', 'synthetic street drive'
LICENCE = (
    'Weights for non-commercial use only: trained on CamVid (CC BY-NC 4.0) and KITTI '
    '(CC BY-NC-SA 3.0); encoder initialised from ImageNet weights (Apache-2.0).'
)


@dataclass
class Args:
    """Train the embedded bundle.

    Attributes:
        data: folder with camvid/ and kitti/
        weights: ImageNet weights of the encoder, safetensors
        output: where checkpoint, bundle and figures go
        steps: optimiser steps
        batch: images per step
        crop: height and width of a training crop in pixels
        size: height and width of the bundle's network in pixels
        rate: peak learning rate of the head; the encoder's is a third of it
        drives: seeds of the synthetic drive to train on
        frames: frames per synthetic drive
        test_frames: frames of each of ten unseen synthetic drives to score on
        seed: seed of everything random
        workers: loader processes
    """

    data: Path
    weights: Path
    output: Path = Path('runs/street')
    steps: int = 2200
    batch: int = 8
    crop: tuple[int, int] = (384, 512)
    size: tuple[int, int] = (448, 640)
    rate: float = 2e-3
    drives: int = 48
    frames: int = 12
    test_frames: int = 12
    seed: int = 1
    workers: int = 1


class Crops(Dataset):
    """A dataset held in memory, as augmented crops with labels in the loss's shared id space."""

    def __init__(self, source: datasets.Dataset, title: str, offset: int, crop: tuple) -> None:
        self.samples = [source[i] for i in track(range(len(source)), f'Reading {title}')]
        self.offset = offset
        self.augment = TrainingAugmentation(
            v2.RandomResizedCrop(crop, scale=(0.2, 1.0), ratio=(1.1, 1.75)),
            v2.RandomHorizontalFlip(),
            *exposure_changes(),
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.samples[index]
        seed = int(torch.randint(2**62, ()))
        image, labels = self.augment(sample.image, sample.labels, seed)
        labels = labels.long()
        labels[labels != IGNORE] += self.offset
        return image, labels


def setup(args: Args) -> None:
    fabric = L.Fabric(accelerator='auto', devices=1, precision='bf16-mixed')
    fabric.seed_everything(args.seed)
    fabric.launch(main, args)


def main(fabric: L.Fabric, args: Args) -> None:
    label_set = LabelSet.load('cityscapes19')
    model = build_system('dgss-mobilenetv2', label_set, args.weights)
    criterion = fabric.to_device(MergedLoss(label_set, [LabelSet.load('camvid11')]))
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.995), use_buffers=True)
    groups = [
        {'params': model.encoder.parameters(), 'lr': args.rate / 3},
        {'params': model.head.parameters(), 'lr': args.rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: rate_at(i, args.steps))
    model = model.to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(model, optimizer)
    loader = fabric.setup_dataloaders(training_loader(args, criterion.offset))

    model.train()
    for step, (images, labels) in enumerate(loader, 1):
        images = images.float().contiguous(memory_format=torch.channels_last)
        # Half the resolution is what stride 4 can answer for, at a quarter of the cost.
        loss = criterion(model(images), labels[:, ::2, ::2])
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=5.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        averaged.update_parameters(model.module)
        if step % 20 == 0:
            fabric.print(f'step {step}/{args.steps} loss {loss.item():.3f}', flush=True)
        if step % 400 == 0:
            save(averaged.module, args.output)
    finish(averaged.module.to('cpu', memory_format=torch.contiguous_format), args)


def rate_at(step: int, steps: int) -> float:
    """Linear warm-up over the first 5 %, then a half cosine to zero."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 + 0.5 * math.cos(math.pi * min(1, (step - warmup) / (steps - warmup)))


def training_loader(args: Args, offset: dict[str, int]) -> DataLoader:
    shares = {
        CAMVID: (0.45, datasets.build_dataset('camvid', args.data / 'camvid', 'day_train')),
        KITTI: (0.2, datasets.build_dataset('kitti', args.data / 'kitti')),
        DRIVE: (0.35, datasets.Synthetic(range(1000, 1000 + args.drives), args.frames)),
    }
    parts = [
        Crops(source, title, offset[source.label_set.name], args.crop)
        for title, (_, source) in shares.items()
    ]
    weights = [
        share / len(part)
        for part, (share, _) in zip(parts, shares.values(), strict=True)
        for _ in range(len(part))
    ]
    sampler = WeightedRandomSampler(weights, args.steps * args.batch)
    return DataLoader(
        ConcatDataset(parts),
        args.batch,
        sampler=sampler,
        num_workers=args.workers,
        drop_last=True,
        multiprocessing_context='fork' if args.workers else None,
    )


def save(model: SegmentationModel, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, output / 'model.safetensors')


def finish(model: SegmentationModel, args: Args) -> None:
    """Export the bundle twice: once to measure it, once with the figures in its manifest."""
    save(model, args.output)
    folder, metrics = args.output / 'bundle', {}
    splits = {
        'CamVid day_test': datasets.build_dataset('camvid', args.data / 'camvid', 'day_test'),
        'CamVid dusk': datasets.build_dataset('camvid', args.data / 'camvid', 'dusk'),
        'synthetic drive, unseen seeds': datasets.Synthetic(range(10), args.test_frames),
    }
    for _ in range(2):
        bundle = export_bundle(
            model.eval(),
            folder,
            name='street-mobilenetv2',
            height=args.size[0],
            width=args.size[1],
            licence=LICENCE,
            training_data=(CAMVID, KITTI, DRIVE),
            metrics=metrics,
            overwrite=True,
        )
        if not metrics:
            segmenter = Segmenter(bundle)
            for name, split in splits.items():
                metrics[f'mIoU {name}'] = round(evaluate(segmenter, split, name).miou, 4)
    print(json.dumps(metrics, indent=2))


if __name__ == '__main__':
    setup(auto_cli(Args, as_positional=False))
