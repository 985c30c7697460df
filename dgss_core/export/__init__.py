"""From a trained model to a bundle: one graph from the bytes of the camera to ids."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from dgss_core import __version__
from dgss_core.bundle import CONFIDENCE, INPUT, MASK, Bundle, Manifest, write_bundle
from dgss_core.resize import resize
from dgss_core.systems.model import SegmentationModel


class DeployedNetwork(nn.Module):
    """The graph a bundle holds: uint8 RGB (N, H, W, 3) to uint8 mask and confidence (N, H, W).

    The probabilities are resized to `size` before the arg-max, so that edges stay smooth.
    """

    def __init__(self, model: SegmentationModel, size: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.size = model, size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # The cast comes first: TensorRT takes uint8 at its inputs only to cast it.
        scores = self.model(images.float().permute(0, 3, 1, 2))
        probabilities = resize(self.model.head.to_probabilities(scores), self.size)
        confidence, mask = probabilities.max(1)
        return mask.to(torch.uint8), (confidence * 255).round().to(torch.uint8)


def export_bundle(
    model: SegmentationModel,
    folder: Path,
    *,
    name: str,
    height: int,
    width: int,
    licence: str,
    training_data: tuple[str, ...],
    metrics: dict[str, float],
    overwrite: bool = False,
) -> Bundle:
    """Write `model` as a bundle for images of `height` x `width` pixels, any number at a time.

    The arguments become the manifest. Raises DgssError when `folder` exists without `overwrite`.
    """
    network = DeployedNetwork(model, (height, width)).eval()
    # Two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        path = Path(scratch) / 'model.onnx'
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=[INPUT],
            output_names=[MASK, CONFIDENCE],
            dynamic_shapes=({0: torch.export.Dim('batch', min=1)},),
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        manifest = Manifest(
            name=name,
            height=height,
            width=width,
            mean=model.encoder.mean,
            std=model.encoder.std,
            label_set=model.label_set,
            sha256='',
            producer=f'dgss_core {__version__}, torch {torch.__version__}',
            licence=licence,
            training_data=training_data,
            metrics=metrics,
        )
        return write_bundle(folder, path, manifest, overwrite)
