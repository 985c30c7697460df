"""A small real bundle with a known answer, so that a test can match masks to images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dgss_core.labels import LabelSet
from dgss_core.runtime.bundle import CONFIDENCE, INPUT, MASK, Manifest, ReferenceFrame
from dgss_core.runtime.bundle.writing import write_bundle

HEIGHT, WIDTH = 48, 64


def write_probe_bundle(
    folder: Path,
    products: int = 0,
    brightest: int = 255,
    darkest: int = 0,
    frames: Sequence[ReferenceFrame] = (),
) -> Path:
    """Write a bundle with mask = red // 16 and confidence = green.

    `products`: additional matrix products of 1000x1000, to make the network slow. `brightest`: the
    network fails on an image with a larger value, or on each for -1; it takes 4 bytes of memory
    for each. `darkest`: the id of a black pixel; the ids count from it. `frames`: the reference
    frames.
    """
    path = folder.with_suffix('.onnx')
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(_network(products, brightest, darkest), path)
    return write_bundle(folder, path, manifest_of(folder.name), frames=frames).folder


def manifest_of(name: str, height: int = HEIGHT, width: int = WIDTH, **changes: Any) -> Manifest:
    """A manifest with test values for all required fields, and `changes`."""
    required: dict[str, Any] = {
        'mean': (0.0, 0.0, 0.0),
        'std': (1.0, 1.0, 1.0),
        'label_set': LabelSet.load('cityscapes19'),
        'sha256': '',
        'producer': 'test',
        'licence': 'Apache-2.0',
        'training_data': (),
    }
    return Manifest(name=name, height=height, width=width, **required | changes)


def reference_frame(name: str, red: int, wrong_rows: int = 0) -> ReferenceFrame:
    """A frame with full confidence; its mask is wrong in the first `wrong_rows` rows."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = red
    mask = np.full((HEIGHT, WIDTH), red // 16, np.uint8)
    mask[:wrong_rows] = 18
    return ReferenceFrame(name, 'day', image, mask, np.full_like(mask, 255))


def _network(products: int, brightest: int, darkest: int) -> onnx.ModelProto:
    node, constant = helper.make_node, helper.make_tensor
    nodes = [
        node('Gather', [INPUT, 'red'], ['red_pixels'], axis=3),
        node('Div', ['red_pixels', 'sixteen'], ['mask_fast']),
        node('Gather', [INPUT, 'green'], [CONFIDENCE], axis=3),
        # The products are multiplied by zero, to change nothing. They depend on the image, so
        # that the runtime cannot compute them at load.
        node('Cast', [INPUT], ['float_pixels'], to=TensorProto.FLOAT),
        node('ReduceMax', ['float_pixels'], ['peak'], keepdims=0),
        node('Div', ['peak', 'large'], ['small']),
        node('Expand', ['small', 'side'], ['product0']),
        *(
            node('MatMul', [f'product{i}', f'product{i}'], [f'product{i + 1}'])
            for i in range(products)
        ),
        node('ReduceMin', [f'product{products}'], ['least'], keepdims=0),
        node('Cast', ['peak'], ['peak_index'], to=TensorProto.INT64),
        node('Gather', ['zeros', 'peak_index'], ['zero']),
        node('Mul', ['least', 'zero'], ['nothing']),
        node('Cast', ['nothing'], ['nothing_byte'], to=TensorProto.UINT8),
        node('Add', ['mask_fast', 'nothing_byte'], ['mask_sum']),
        node('Add', ['mask_sum', 'darkest'], [MASK]),
    ]
    constants = [
        constant('red', TensorProto.INT64, [], [0]),
        constant('green', TensorProto.INT64, [], [1]),
        constant('sixteen', TensorProto.UINT8, [], [16]),
        constant('darkest', TensorProto.UINT8, [], [darkest]),
        constant('large', TensorProto.FLOAT, [], [1e6]),
        numpy_helper.from_array(np.zeros(brightest + 1, np.float32), 'zeros'),
        constant('side', TensorProto.INT64, [2], [1000, 1000]),
    ]
    images = ['batch', HEIGHT, WIDTH]
    graph = helper.make_graph(
        nodes,
        'probe',
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [*images, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.UINT8, images)
            for name in (MASK, CONFIDENCE)
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9)
