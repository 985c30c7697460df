"""int8 by Q/DQ nodes after training, for TensorRT, OpenVINO and ONNX Runtime.

TensorRT and its fusions require this scheme: symmetric int8, a scale per output channel for
weights and one per tensor for activations, only at the inputs of layers with weights (Wu et al.,
"Integer Quantization for Deep Learning Inference", 2020, sections 3 and 5). The ranges come from
calibration images of every condition, because night frames have other ranges than day frames.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from dgss_core.export.precision import WEIGHTED
from dgss_core.runtime.bundle import INPUT


class Batches(CalibrationDataReader):
    """Calibration batches of one image."""

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        self.images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {INPUT: image[None]}


def quantise(source: Path, target: Path, images: Sequence[np.ndarray]) -> Path:
    """Write the fp32 network `source` to `target`, with all layers with weights in int8.

    `images`: for calibration, RGB uint8 (H, W, 3) at network size. Returns `target`.
    """
    graph = onnx.load(source, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    layers = [
        node.name for node in graph.node if node.op_type in WEIGHTED and node.input[1] in constants
    ]
    with _without_advice():
        quantize_static(
            source,
            target,
            Batches(images),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=layers,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            use_external_data_format=source.with_name(f'{source.name}.data').exists(),
            extra_options={
                'ActivationSymmetric': True,
                'WeightSymmetric': True,
                # TensorRT needs biases that are not quantised.
                'QuantizeBias': False,
                'OpTypesToExcludeOutputQuantization': sorted(WEIGHTED),
            },
        )
    return target


@contextmanager
def _without_advice() -> Iterator[None]:
    """ONNX Runtime advises a step that our networks do not need, on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
