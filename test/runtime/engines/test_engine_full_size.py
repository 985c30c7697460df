"""Published sizes: ONNX Runtime equals PyTorch, and TensorRT-RTX builds them ahead of time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

pytest.importorskip('tensorrt_rtx', reason='needs pip install tensorrt-rtx cuda-python')
from probe import manifest_of

from dgss_core.export.graph import write_narrow, write_onnx
from dgss_core.export.network import DeployedNetwork
from dgss_core.networks.systems import build_system
from dgss_core.runtime.bundle import CONFIDENCE, INPUT, MASK, Bundle
from dgss_core.runtime.bundle.contents import sha256_of
from dgss_core.runtime.engines.build import build_engine, import_flavour
from dgss_core.synthetic import StreetDrive


def check(name: str, height: int, width: int, folder: Path) -> int:
    """Export with random weights, compare, build in fp16; returns the bytes of the engine."""
    torch.manual_seed(0)
    options = {'pad': False} | ({'image_size': height} if name.startswith('eomt') else {})
    network = DeployedNetwork(build_system(name, encoder_options=options)).eval()
    write_onnx(network, folder / 'fp32.onnx', height=height, width=width)
    images = StreetDrive(3, 'day', width=width, height=height).frame(0).image[None]
    with torch.no_grad():
        right = network(torch.from_numpy(images))
    session = onnxruntime.InferenceSession(
        folder / 'fp32.onnx', providers=['CPUExecutionProvider']
    )
    mask, confidence = session.run([MASK, CONFIDENCE], {INPUT: images})
    assert (mask == right.mask.numpy()).mean() >= 0.999
    assert np.abs(confidence.astype(int) - right.confidence.numpy()).max() <= 1
    write_narrow(folder / 'fp32.onnx', folder / 'fp16.onnx', 'fp16')
    manifest = manifest_of(
        name,
        height,
        width,
        sha256=sha256_of(folder / 'fp16.onnx'),
        precision='fp16',
        network='fp16.onnx',
    )
    return len(build_engine(import_flavour('tensorrt_rtx'), Bundle(folder, manifest), ['8.9']))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ('name', 'height', 'width', 'parameters'),
    [
        ('segformer-b0', 512, 1024, 3.7e6),
        ('segformer-b5', 512, 1024, 84.6e6),
        ('eomt-dinov2-s', 512, 512, 23.7e6),
        ('eomt-dinov2-b', 512, 512, 93.1e6),
        ('eomt-dinov2-l', 512, 512, 315.9e6),
    ],
)
def test_it_builds(name: str, height: int, width: int, parameters: float, tmp_path: Path) -> None:
    assert check(name, height, width, tmp_path) > parameters
