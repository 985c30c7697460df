from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dgss_core.bundle import open_bundle
from dgss_core.encoders.mobilenetv2 import MobileNetV2
from dgss_core.errors import DgssError
from dgss_core.export import DeployedNetwork, export_bundle
from dgss_core.heads.light_conv import LightConvHead
from dgss_core.labels import LabelSet
from dgss_core.runtimes import load_backend
from dgss_core.synthetic import StreetDrive
from dgss_core.systems.model import SegmentationModel

ABOUT = {'name': 'test', 'licence': 'Apache-2.0', 'training_data': (), 'metrics': {}}


def street_model() -> SegmentationModel:
    torch.manual_seed(0)
    encoder, labels = MobileNetV2(), LabelSet.load('cityscapes19')
    head = LightConvHead(encoder.channels, encoder.strides, len(labels), width=32)
    model = SegmentationModel(encoder, head, labels)
    # Batch statistics of real frames and a loud classifier, so that masks hold several classes.
    images = torch.stack([torch.from_numpy(image) for image in drive()]).permute(0, 3, 1, 2)
    with torch.no_grad():
        for _ in range(20):
            model(images.float())
        head.classify[-1].weight.mul_(20)
    return model.eval()


def drive() -> list[np.ndarray]:
    return [StreetDrive(3, name, 160, 90).frame(0).image for name in ('day', 'fog', 'snow')]


def test_the_bundle_equals_the_model_for_any_number_of_images(tmp_path: Path) -> None:
    model = street_model()
    bundle = export_bundle(model, tmp_path / 'bundle', height=90, width=160, **ABOUT)
    images = np.stack(drive())
    with torch.no_grad():
        mask, confidence = DeployedNetwork(model, (90, 160))(torch.from_numpy(images))
    backend = load_backend(bundle)
    outputs = backend.run(images)
    masks, confidences = outputs['mask'], outputs['confidence']
    assert (masks == mask.numpy()).mean() >= 0.9999
    assert np.abs(confidences.astype(int) - confidence.numpy()).max() <= 1
    assert len(np.unique(masks)) > 4
    for index, image in enumerate(images):
        assert (backend.run(image[None])['mask'][0] == masks[index]).mean() >= 0.9999


def test_the_manifest_says_what_the_model_is(tmp_path: Path) -> None:
    model = street_model()
    export_bundle(
        model, tmp_path / 'bundle', height=64, width=96, **ABOUT | {'metrics': {'a': 0.5}}
    )
    manifest = open_bundle(tmp_path / 'bundle').manifest
    assert (manifest.height, manifest.width) == (64, 96)
    assert manifest.mean == model.encoder.mean
    assert manifest.metrics == {'a': 0.5}
    assert manifest.label_set == model.label_set
    with pytest.raises(DgssError, match='already exists'):
        export_bundle(model, tmp_path / 'bundle', height=64, width=96, **ABOUT)
