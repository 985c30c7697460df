"""Small real bundles that TensorRT builds quickly, intact or damaged in a known way."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from probe import HEIGHT, WIDTH, manifest_of

from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import (
    CONFIDENCE,
    INPUT,
    MASK,
    STATISTICS,
    Bundle,
    ReferenceFrame,
)
from dgss_core.runtime.bundle.contents import sha256_of
from dgss_core.runtime.bundle.writing import update_manifest, write_bundle
from dgss_core.synthetic import StreetDrive

CLASSES = 19


def write_classifier(
    folder: Path,
    *,
    noise: float = 0.0,
    nan: bool = False,
    custom: bool = False,
    precision: str = 'fp32',
    frames: bool = True,
    channels: int = 8,
) -> Bundle:
    """Write a bundle of two convolutions and a soft-max, with frames of the intact network.

    `noise`: standard deviation of the noise on its weights. `nan`: one weight is NaN. `custom`:
    add an operator that no runtime knows. `precision`: in the manifest only; the network is always
    in fp32. `channels`: of the hidden layer.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_suffix('.onnx')
    onnx.save(_network(noise, nan, custom, channels), path)
    manifest = manifest_of(folder.name, precision=precision)
    answered = reference_frames(channels) if frames else []
    return write_bundle(folder, path, manifest, frames=answered)


def add_higher(bundle: Bundle, precision: str, **options: Any) -> Bundle:
    """Put the network in a higher precision into `bundle`; options as in `write_classifier`."""
    inside = write_classifier(
        bundle.folder.with_name(precision), precision=precision, frames=False, **options
    )
    inside.folder.rename(bundle.folder / precision)
    paths = (bundle.folder / precision).iterdir()
    listed = {f'{precision}/{path.name}': sha256_of(path) for path in paths}
    return update_manifest(bundle, files=bundle.manifest.files | listed)


@cache
def reference_frames(channels: int) -> list[ReferenceFrame]:
    """One frame each of two conditions, with the answers of the intact network."""
    with TemporaryDirectory() as scratch:
        intact = write_classifier(Path(scratch) / 'intact', frames=False, channels=channels)
        backend, frames = load_backend(intact, 'onnxruntime'), []
    for condition in ('day', 'night'):
        image = StreetDrive(5, condition, width=WIDTH, height=HEIGHT).frame(0).image
        outputs = backend.run(image[None])
        mask, confidence = outputs[MASK][0], outputs[CONFIDENCE][0]
        frames.append(ReferenceFrame(f'{condition}_0', condition, image, mask, confidence))
    return frames


def _network(noise: float, nan: bool, custom: bool, channels: int) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    shapes = {'first': (channels, 3, 3, 3), 'second': (CLASSES, channels, 1, 1)}
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    damage = np.random.default_rng(1)
    for values in weights.values():
        values += noise * damage.standard_normal(values.shape)
    if nan:
        weights['second'][0] = np.nan
    node = helper.make_node
    nodes = [
        node('Cast', [INPUT], ['pixels'], to=TensorProto.FLOAT),
        node('Div', ['pixels', 'white'], ['scaled']),
        node('Transpose', ['scaled'], ['planes'], perm=[0, 3, 1, 2]),
        node('Conv', ['planes', 'first'], ['edges'], pads=[1, 1, 1, 1]),
        node('Sharpen', ['edges'], ['map'], domain='acme', name='sharpener')
        if custom
        else node('Relu', ['edges'], ['map']),
        node('Conv', ['map', 'second'], ['scores']),
        node('Softmax', ['scores'], ['probabilities'], axis=1),
        node('TopK', ['probabilities', 'one'], ['best', 'index'], axis=1),
        # TensorRT returns uint8 only from a final cast from float.
        node('Squeeze', ['index', 'one'], ['flat_index']),
        node('Cast', ['flat_index'], ['ids'], to=TensorProto.FLOAT),
        node('Cast', ['ids'], [MASK], to=TensorProto.UINT8),
        node('Squeeze', ['best', 'one'], ['flat_best']),
        node('Mul', ['flat_best', 'white'], ['levels']),
        node('Cast', ['levels'], [CONFIDENCE], to=TensorProto.UINT8),
        node('ReduceMean', ['map', 'places'], [STATISTICS], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(np.float32(255), 'white'),
        numpy_helper.from_array(np.array([1]), 'one'),
        numpy_helper.from_array(np.array([2, 3]), 'places'),
        *(numpy_helper.from_array(v.astype(np.float32), name) for name, v in weights.items()),
    ]
    images = ['batch', HEIGHT, WIDTH]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        'classifier',
        [info(INPUT, TensorProto.UINT8, [*images, 3])],
        [
            *(info(name, TensorProto.UINT8, images) for name in (MASK, CONFIDENCE)),
            info(STATISTICS, TensorProto.FLOAT, ['batch', channels]),
        ],
        constants,
    )
    opsets = [helper.make_opsetid('', 18), helper.make_opsetid('acme', 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)
