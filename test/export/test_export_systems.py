"""Every system at a reduced size gives the same answers in ONNX Runtime and PyTorch."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exported import exported, frames
from small_systems import EXPORTED

from dgss_core.runtime.bundle import CONFIDENCE, INPUT, MASK, STATISTICS, UNCERTAINTY

FP32_OPERATORS = {'LayerNormalization', 'InstanceNormalization', 'Softmax', 'GridSample', 'TopK'}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=EXPORTED)
def folder(request: pytest.FixtureRequest, export_root: Path) -> Path:
    return exported(request.param, export_root)


def run(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {INPUT: images}), strict=True))


@pytest.mark.parametrize('cuts', [(0, 6), (0, 1, 3, 6)], ids=['one batch', 'batches of 1, 2, 3'])
def test_the_graph_equals_the_model(folder: Path, cuts: tuple[int, ...]) -> None:
    images, right = frames(), dict(np.load(folder / 'answers.npz'))
    parts = [run(folder / 'fp32.onnx', images[a:b]) for a, b in pairwise(cuts)]
    found = {name: np.concatenate([part[name] for part in parts]) for name in right}
    assert np.abs(found['scores'] - right['scores']).max() < 1e-3
    assert (found[MASK] == right[MASK]).mean() >= 0.9999
    for name in (CONFIDENCE, UNCERTAINTY):
        assert np.abs(found[name].astype(int) - right[name]).max() <= 1
    np.testing.assert_allclose(found[STATISTICS], right[STATISTICS], rtol=1e-3, atol=1e-4)
    assert len(np.unique(right[MASK])) > 2


def test_fp16_has_islands_and_nearly_the_same_scores(folder: Path) -> None:
    images, expected = frames(), dict(np.load(folder / 'answers.npz'))
    found = run(folder / 'fp16.onnx', images)
    assert np.abs(found['scores'] - expected['scores']).mean() < 0.05 * expected['scores'].std()
    graph = onnx.shape_inference.infer_shapes(onnx.load(folder / 'fp16.onnx'), strict_mode=True)
    types = {value.name: value.type.tensor_type.elem_type for value in graph.graph.value_info}
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for node in graph.graph.node:
        if node.op_type in FP32_OPERATORS:
            assert types[node.output[0]] == single, node.name
        if node.op_type in ('Conv', 'Gemm'):
            assert types.get(node.output[0], half) == half, node.name
    products = {n.output[0]: n for n in graph.graph.node if n.op_type == 'MatMul'}
    scores = [
        products[n.input[0]]
        for n in graph.graph.node
        if n.op_type == 'Softmax' and n.input[0] in products
    ]
    assert all(types[node.output[0]] == single for node in scores)


def test_int8_quantises_every_layer_with_weights(folder: Path) -> None:
    graph = onnx.load(folder / 'int8.onnx').graph
    producers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    layers = [node for node in graph.node if node.op_type in ('Conv', 'ConvTranspose', 'Gemm')]
    assert layers
    for node in layers:
        for name in node.input[:2]:
            assert producers[name].op_type == 'DequantizeLinear', node.name
        # TensorRT allows only zero as the zero point.
        assert not onnx.numpy_helper.to_array(constants[producers[node.input[0]].input[2]]).any()
        assert constants[producers[node.input[1]].input[0]].data_type == onnx.TensorProto.INT8
    answers = run(folder / 'int8.onnx', frames())
    assert all(np.isfinite(answer).all() for answer in answers.values())
