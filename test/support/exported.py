"""Every system at a reduced size, exported once per test run on first use."""

from __future__ import annotations

import hashlib
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from small_systems import loud
from torch import Tensor
from torch.onnx._internal.exporter._registration import ONNXRegistry

from dgss_core.export import bundle, images_by_condition
from dgss_core.export.graph import write_narrow, write_onnx
from dgss_core.export.int8 import quantise
from dgss_core.export.network import DeployedNetwork
from dgss_core.networks.adapters.lora import merge_lora
from dgss_core.networks.systems import SegmentationModel
from dgss_core.synthetic import CONDITIONS, StreetDrive

# Neither is a multiple of a patch or a stride; 2 x 2 ids are under 0.01 % of all frames' ids.
HEIGHT, WIDTH = 93, 130

# PyTorch makes its table of operators for each export, which takes a second.
ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))


class Probed(DeployedNetwork):
    """Also returns the scores of the head."""

    OUTPUTS = (*DeployedNetwork.OUTPUTS, 'scores')

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.model.features(images.float().permute(0, 3, 1, 2))
        scores = self.model.scores(features)
        return (*self.answer(features, scores, *images.shape[1:3]), scores)


@cache
def frames() -> np.ndarray:
    drives = [StreetDrive(3, name, width=WIDTH, height=HEIGHT) for name in CONDITIONS]
    return np.stack([drive.frame(0).image for drive in drives])


@cache
def exported(name: str, root: Path) -> Path:
    """A folder with fp32.onnx, fp16.onnx, int8.onnx and the answers of PyTorch, answers.npz.

    `root` is shared by all test processes. Systems with the same reduced network, such as the
    sizes of DINOv2, share a folder.
    """
    images = torch.from_numpy(frames())
    model = loud(name, images.permute(0, 3, 1, 2).float())
    merge_lora(model)
    network = Probed(model).eval()
    shapes = [(key, tuple(value.shape)) for key, value in model.state_dict().items()]
    norm = (model.encoder.mean, model.encoder.std)
    digest = hashlib.sha256(repr((network, shapes, norm)).encode()).hexdigest()[:16]
    folder = root / digest
    with FileLock(f'{folder}.lock'):
        if not (folder / 'answers.npz').exists():
            folder.mkdir(exist_ok=True)
            _export(network, images, folder)
    return folder


def _export(network: Probed, images: Tensor, folder: Path) -> None:
    write_onnx(network, folder / 'fp32.onnx', height=HEIGHT, width=WIDTH)
    quantise(folder / 'fp32.onnx', folder / 'int8.onnx', list(images.numpy()))
    write_narrow(folder / 'fp32.onnx', folder / 'fp16.onnx', 'fp16')
    with torch.no_grad():
        answers = zip(network.OUTPUTS, network(images), strict=True)
        np.savez(folder / 'answers.npz', **{key: value.numpy() for key, value in answers})


STREET = {'height': 61, 'width': 90}


@cache
def street_frames() -> dict[str, list[np.ndarray]]:
    return images_by_condition(None, **STREET, count=2)


def street_images() -> np.ndarray:
    return np.concatenate([np.stack(images) for images in street_frames().values()])


def street_model() -> SegmentationModel:
    """The network of tests of bundles, whose masks of `street_frames` hold many classes."""
    return loud('dgss-mobilenetv2', torch.from_numpy(street_images()).permute(0, 3, 1, 2).float())


def trace_once(patch: pytest.MonkeyPatch, root: Path) -> None:
    """Let `export_bundle` write the same network at the same size once per test run.

    The trace takes most of an export, and the tests of bundles export few networks many times.
    """
    write = bundle.write_onnx

    def write_once(network: DeployedNetwork, path: Path, **options: int) -> None:
        digest = hashlib.sha256(repr((network, sorted(options.items()))).encode())
        for key, value in network.state_dict().items():
            digest.update(key.encode())
            digest.update(value.contiguous().numpy().tobytes())
        kept = root / f'{digest.hexdigest()[:16]}.onnx'
        with FileLock(f'{kept}.lock'):
            if not kept.exists():
                write(network, kept.with_suffix('.new'), **options)
                kept.with_suffix('.new').rename(kept)
        shutil.copyfile(kept, path)

    patch.setattr(bundle, 'write_onnx', write_once)
