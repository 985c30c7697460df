"""Segment Anything as the point segmenter of `dgss_core.training.pseudo_labels`."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from dgss_core.training.generation.hub import library, load
from dgss_core.training.pseudo_labels import PointSegmenter

CHUNK = 16
"""Masks that are resized at once, to limit memory."""


class Sam:
    """A mask generation model of transformers: SAM, SAM 2, HQ-SAM, EdgeTAM, ...

    `name` is a folder, or a name on the Hugging Face hub. CLOUDS uses MobileSAM, which
    transformers does not have; EdgeTAM is as small. Raises DgssError if it cannot be loaded.
    """

    def __init__(self, name: str, device: torch.device | str = 'cpu') -> None:
        transformers = library('transformers')
        self.processor = load(transformers.AutoProcessor, name)
        kind = transformers.AutoModelForMaskGeneration
        # Unlike in the published code, batch norms of the segmenter stay in eval mode.
        self.model = load(kind, name, use_safetensors=True).to(device).eval()

    def on(self, image: np.ndarray) -> PointSegmenter:
        """The segmenter of one image, RGB uint8 (H,W,3)."""
        return partial(self.masks, image)

    @torch.inference_mode()
    def masks(self, image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Masks (K,M,H,W) bool and their predicted qualities (K,M) for points (K,P,2)."""
        inputs = self.processor(images=image, input_points=[points.tolist()], return_tensors='pt')
        # The processors return double precision coordinates, which no model accepts.
        moved = {
            key: (x.float() if x.is_floating_point() else x).to(self.model.device)
            for key, x in inputs.items()
        }
        output = self.model(**moved, multimask_output=True)
        enlarged = [self._enlarge(part, inputs) for part in output.pred_masks[0].split(CHUNK)]
        return np.concatenate(enlarged), output.iou_scores[0].float().cpu().numpy()

    def _enlarge(self, masks: Tensor, inputs: dict[str, Tensor]) -> np.ndarray:
        sizes = [inputs['original_sizes']]
        if 'reshaped_input_sizes' in inputs:
            sizes.append(inputs['reshaped_input_sizes'])
        (whole,) = self.processor.post_process_masks([masks.float()], *sizes)
        return whole.cpu().numpy()
