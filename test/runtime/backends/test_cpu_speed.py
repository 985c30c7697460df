"""The embedded bundle on a CPU, compared in one run with the plain export of its model."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from dgss_core.confusion import ConfusionMatrix
from dgss_core.export.graph import write_onnx
from dgss_core.export.network import DeployedNetwork
from dgss_core.networks.systems import build_system
from dgss_core.runtime.backends.onnx_runtime import OnnxRuntimeBackend
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.bundle.writing import write_bundle

pytest.importorskip('openvino', reason='needs pip install openvino')
from dgss_core.runtime.backends.open_vino import OpenVinoBackend, precisions


def test_openvino_is_1_5_times_as_fast_as_the_plain_export(tmp_path: Path) -> None:
    if 'bf16' not in precisions():
        pytest.skip('this processor has no bf16')
    bundle = open_bundle()
    network = DeployedNetwork(build_system('dgss-mobilenetv2'), step=1)
    write_onnx(network, tmp_path / 'model.onnx', height=bundle.height, width=bundle.width)
    plain = write_bundle(tmp_path / 'plain', tmp_path / 'model.onnx', bundle.manifest)
    backends = [OnnxRuntimeBackend(plain, 1), OpenVinoBackend(bundle, 'bf16', 1)]
    image = bundle.frames()[0].image[None]
    times = np.empty((12, 2))
    for row in times:
        for index, backend in enumerate(backends):
            # Time of the processor, in all threads: other programs do not add to it.
            start = time.process_time()
            backend.run(image)
            row[index] = time.process_time() - start
    before, after = times[2:].min(axis=0)
    assert before / after >= 1.5


def test_its_masks_stay_those_of_fp32() -> None:
    bundle = open_bundle()
    matrix = ConfusionMatrix(bundle.labels)
    backend = OpenVinoBackend(bundle, precisions()[0], 1)
    for frame in bundle.frames():
        mask = backend.run(frame.image[None])['mask'][0]
        assert (mask == frame.mask).mean() > 0.98
        matrix.add(mask, frame.mask)
    present = matrix.counts.sum(1) > 100
    assert matrix.iou()[present].mean() > 0.95
