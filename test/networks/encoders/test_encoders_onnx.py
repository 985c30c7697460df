"""Encoders in ONNX Runtime, at a size that the patch does not divide."""

from __future__ import annotations

import onnxruntime
import pytest
import torch
from formula_weights import VIT, fill, image

from dgss_core.networks.adapters.lora import add_lora, merge_lora
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.encoders.vits import dinov2, eva02, sam


@pytest.mark.parametrize(
    'build',
    [
        lambda: dinov2(**VIT),
        lambda: eva02(**VIT, patch=14, inner_norm=True, pyramid='learned'),
        # Of each two blocks, the first works in windows.
        lambda: sam(**VIT | {'depth': 8}, taps=(0, 1), pyramid='none', window=3),
        lambda: ClipResNet((2, 1, 3, 2), width=8, output_stride=16),
    ],
    ids=['dinov2', 'eva02', 'sam', 'clip_resnet'],
)
def test_onnx_gives_the_same_maps(build, tmp_path):
    encoder = build()
    fill(encoder)
    encoder.eval()
    if encoder.channels[0] == VIT['width']:
        add_lora(encoder.blocks, rank=4)
        torch.manual_seed(0)
        for block in encoder.blocks:
            torch.nn.init.normal_(block.attention.q.lora_b, std=0.1)
        assert merge_lora(encoder) == 3 * len(encoder.blocks)
    x, path = image(1, 61, 90), tmp_path / 'encoder.onnx'
    torch.onnx.export(encoder, (x,), path, dynamo=True, opset_version=18, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    outputs = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        for ours, exported in zip(encoder(x), outputs, strict=True):
            torch.testing.assert_close(ours, torch.from_numpy(exported), atol=1e-4, rtol=1e-4)
