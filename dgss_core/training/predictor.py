"""A checkpoint as a predictor of an evaluation."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from dgss_core.datasets.protocols import Protocol
from dgss_core.errors import DgssError
from dgss_core.evaluation.frames import FrameKey, FrameSet
from dgss_core.evaluation.store import Predicted
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.device import best_device, is_out_of_memory
from dgss_core.networks.inference import Inference
from dgss_core.runtime.bundle.contents import sha256_of
from dgss_core.training.evaluation import ModelSegmenter, protocol_inference


class CheckpointPredictor:
    """A checkpoint at the sizes and windows of a protocol, on the GPU where there is one.

    Raises DgssError for a file that is no checkpoint.
    """

    lanes = 1

    def __init__(self, checkpoint: Path, protocol: Protocol, threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        model = load_checkpoint(checkpoint).eval()
        model.to(best_device())
        self._segmenter = ModelSegmenter(model, protocol_inference(protocol, Inference()))
        self.labels = model.label_set
        self.identity = f'{checkpoint.name} {sha256_of(checkpoint)[:16]}'

    def begin(self, frames: FrameSet) -> None:
        """Nothing to do: every frame is predicted by itself."""

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return image

    def predict(self, key: FrameKey, prepared: np.ndarray) -> Predicted:
        started = time.perf_counter()
        size = prepared.shape[0], prepared.shape[1]
        try:
            with torch.inference_mode():
                answer = self._segmenter(prepared)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise DgssError(
                f'The memory does not hold {self.identity} on a frame of {size[1]}x{size[0]}; '
                'choose a --protocol with windows or smaller images, or evaluate a bundle.'
            ) from error
        seconds = time.perf_counter() - started
        return Predicted(answer.mask, answer.confidence, size, seconds)
