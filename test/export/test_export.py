"""From a model to a bundle: contents, precisions and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from exported import STREET, street_frames, street_images, street_model, trace_once
from probe import reference_frame, write_probe_bundle
from small_systems import small
from tiny_plugin import add_tiny, tiny_model
from torch import nn

from dgss_core.errors import DgssError
from dgss_core.export import DeployedNetwork, export_bundle, graph, images_by_condition
from dgss_core.export.bundle import _require_equal
from dgss_core.export.frames import predict
from dgss_core.networks.systems import SegmentationModel
from dgss_core.runtime.backends.onnx_runtime import OnnxRuntimeBackend
from dgss_core.runtime.bundle import (
    CONFIDENCE,
    MANIFEST,
    MASK,
    STATISTICS,
    UNCERTAINTY,
    Bundle,
    open_bundle,
)
from dgss_core.runtime.key import processor
from dgss_core.runtime.manifest import PRECISIONS
from dgss_core.runtime.monitoring.domain_shift import describe
from dgss_core.synthetic import CONDITIONS


def about() -> dict[str, Any]:
    """Arguments of `export_bundle` that it requires."""
    return {'name': 'test', 'licence': 'Apache-2.0', 'frames': street_frames(), **STREET}


@pytest.fixture
def smallest(monkeypatch: pytest.MonkeyPatch) -> SegmentationModel:
    """For tests in which any network will do."""
    add_tiny(monkeypatch)
    return tiny_model()


@pytest.fixture(scope='module')
def bundles(tmp_path_factory: pytest.TempPathFactory, export_root: Path) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp('bundles')
    with pytest.MonkeyPatch.context() as patch:
        trace_once(patch, export_root)
        made = {
            precision: export_bundle(
                street_model(),
                folder / precision,
                precision=precision,
                calibration=street_frames(),
                source=street_images(),
                metrics={'mIoU': 0.5},
                **about(),
            )
            for precision in PRECISIONS
        }
    return made


def test_the_bundle_equals_the_model_for_any_number_of_images(bundles: dict) -> None:
    network, images = DeployedNetwork(street_model()).eval(), street_images()
    with torch.no_grad():
        expected = [answer.numpy() for answer in network(torch.from_numpy(images))]
    backend = OnnxRuntimeBackend(bundles['fp32'])
    for start, end in ((0, len(images)), (0, 1), (3, 6)):
        found = backend.run(images[start:end])
        assert list(found) == [MASK, CONFIDENCE, UNCERTAINTY, STATISTICS]
        mask, confidence, uncertainty, statistics = (answer[start:end] for answer in expected)
        assert (found[MASK] == mask).mean() >= 0.9999
        assert np.abs(found[CONFIDENCE].astype(int) - confidence).max() <= 1
        assert np.abs(found[UNCERTAINTY].astype(int) - uncertainty).max() <= 1
        np.testing.assert_allclose(found[STATISTICS], statistics, rtol=1e-3, atol=1e-5)
    assert len(np.unique(expected[0])) > 4


@pytest.mark.parametrize(('name', 'aligned'), [('pidnet-s', True), ('ddrnet-23-slim', False)])
def test_scores_are_resized_as_by_the_head(name: str, aligned: bool) -> None:
    network, maps = DeployedNetwork(small(name)), torch.rand(1, 2, 8, 16)
    found = network.over(maps, (32, 64), (64, 128))
    right = nn.functional.interpolate(maps, (32, 64), mode='bilinear', align_corners=aligned)
    assert torch.equal(found, right)


def test_the_manifest_describes_the_model(bundles: dict) -> None:
    model = street_model()
    for precision, bundle in bundles.items():
        manifest = open_bundle(bundle.folder).manifest
        assert (manifest.height, manifest.width) == (STREET['height'], STREET['width'])
        assert manifest.mean == model.encoder.mean
        assert manifest.label_set == model.label_set
        assert manifest.precision == precision
        assert manifest.metrics['mIoU'] == 0.5


def test_frames_and_source_are_the_answers_of_the_model_in_fp32(bundles: dict) -> None:
    network, images = DeployedNetwork(street_model()).eval(), street_images()
    for bundle in bundles.values():
        frames = bundle.frames()
        assert {frame.condition for frame in frames} == set(CONDITIONS)
        assert len(frames) == 2 * len(CONDITIONS)
        for frame in frames:
            found = predict(network, frame.image)
            assert np.array_equal(frame.mask, found.mask)
            assert np.array_equal(frame.confidence, found.confidence)
        source = bundle.manifest.source
        assert source.frames == len(images)
        described = describe(images[0], predict(network, images[0]), len(bundle.labels))
        assert {name: len(values) for name, values in source.mean.items()} == {
            name: len(values) for name, values in described.items()
        }


# Without VNNI, ONNX Runtime adds int8 products in 16 bits, which saturate.
INT8 = 0.8 if 'vnni' in processor().capability else 0.7


@pytest.mark.parametrize(('precision', 'share'), [('fp16', 0.99), ('int8', INT8)])
def test_less_precise_networks_mostly_agree_and_the_share_is_recorded(
    bundles: dict, precision: str, share: float
) -> None:
    bundle = bundles[precision]
    backend = OnnxRuntimeBackend(bundle)
    equal = [(backend.run(f.image[None])[MASK][0] == f.mask).mean() for f in bundle.frames()]
    assert np.mean(equal) >= share
    recorded = bundle.manifest.metrics['ids as in fp32, reference frames']
    assert recorded == pytest.approx(np.mean(equal), abs=1e-4)


def test_weights_are_stored_in_the_precision(bundles: dict) -> None:
    kinds = {
        'fp32': onnx.TensorProto.FLOAT,
        'fp16': onnx.TensorProto.FLOAT16,
        'bf16': onnx.TensorProto.BFLOAT16,
        'int8': onnx.TensorProto.INT8,
    }
    for precision, bundle in bundles.items():
        graph = onnx.load(bundle.onnx_path).graph
        constants = {tensor.name: tensor.data_type for tensor in graph.initializer}
        # An int8 weight is the input of a DequantizeLinear node.
        behind = {n.output[0]: n.input[0] for n in graph.node if n.op_type == 'DequantizeLinear'}
        weights = [node.input[1] for node in graph.node if node.op_type == 'Conv']
        assert {constants[behind.get(name, name)] for name in weights} == {kinds[precision]}
        assert not any(node.metadata_props for node in graph.node)
        assert any(node.name.startswith('model.encoder.stem.1/Conv') for node in graph.node)


def test_a_bundle_contains_the_higher_precisions(bundles: dict) -> None:
    carried = {'fp32': [], 'bf16': ['fp32'], 'fp16': ['bf16', 'fp32'], 'int8': ['fp32']}
    for precision, names in carried.items():
        folder = bundles[precision].folder
        inside = sorted(path.name for path in folder.iterdir() if (path / MANIFEST).exists())
        assert inside == names
        for name in names:
            assert open_bundle(folder / name).manifest.precision == name
            assert f'{name}/model.onnx' in bundles[precision].manifest.files
    whole, inside = (
        open_bundle(bundles['fp32'].folder),
        open_bundle(bundles['int8'].folder / 'fp32'),
    )
    assert whole.fingerprint == inside.fingerprint


def test_weights_too_large_for_one_file_are_stored_beside_it(
    smallest: SegmentationModel, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(graph, 'LARGEST_FILE', 1e3)
    bundle = export_bundle(smallest, tmp_path / 'bundle', **about())
    data = bundle.folder / 'model.onnx.data'
    assert data.stat().st_size > 1e3
    assert 'model.onnx.data' in bundle.manifest.files
    assert bundle.fingerprint != bundle.manifest.sha256
    backend = OnnxRuntimeBackend(bundle)
    frame = bundle.frames()[0]
    assert (backend.run(frame.image[None])[MASK][0] == frame.mask).mean() >= 0.9999


class Unmapped(nn.Module):
    def forward(self, x):
        return torch.ops.dgss_test.unmapped(x)


@torch.library.custom_op('dgss_test::unmapped', mutates_args=())
def unmapped(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


@unmapped.register_fake
def _(x):
    return torch.empty_like(x)


def test_an_operator_without_counterpart_is_named(
    smallest: SegmentationModel, tmp_path: Path
) -> None:
    smallest.head.classify.append(Unmapped())
    with pytest.raises(
        DgssError, match=r'dgss_test\.unmapped \(node %unmapped\) has no counterpart'
    ):
        export_bundle(smallest, tmp_path / 'bundle', **about())
    assert not (tmp_path / 'bundle').exists()


class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else 2 * x


def test_a_graph_that_depends_on_values_is_refused_with_its_line(
    smallest: SegmentationModel, tmp_path: Path
) -> None:
    smallest.head.classify.append(Branch())
    with pytest.raises(DgssError, match=r'cannot be exported as one graph at .*test_export\.py'):
        export_bundle(smallest, tmp_path / 'bundle', **about())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'height': 0}, 'cannot have 90x0 pixels; give sides of 16 to 8192'),
        ({'width': 100_000}, 'cannot have 100000x61 pixels'),
        ({'precision': 'fp8'}, "no precision 'fp8'; choose one of fp32, fp16, bf16, int8"),
        ({'opset': 17}, 'needs ONNX opset 18 or later, not 17'),
    ],
)
def test_invalid_arguments_are_refused(
    smallest: SegmentationModel, tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(DgssError, match=message):
        export_bundle(smallest, tmp_path / 'bundle', **about() | changes)


def test_a_graph_that_onnx_runtime_cannot_run_is_one_sentence(tmp_path: Path) -> None:
    failing = open_bundle(write_probe_bundle(tmp_path / 'failing', brightest=-1)).onnx_path
    with pytest.raises(DgssError, match=r'cannot run the exported graph \(.*\); export') as error:
        _require_equal(failing, [reference_frame('day_0', 16)])
    assert '\n' not in str(error.value)


def test_an_existing_folder_is_refused_before_the_export(
    smallest: SegmentationModel, tmp_path: Path
) -> None:
    with pytest.raises(DgssError, match='already exists'):
        export_bundle(smallest, tmp_path, **about())


def test_frames_below_the_smallest_of_the_street_are_scaled() -> None:
    (image,) = images_by_condition(None, height=17, width=33, count=1)['day']
    assert image.shape == (17, 33, 3)
    assert image.std() > 10
