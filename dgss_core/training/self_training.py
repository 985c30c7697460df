"""Self-training on frames without labels: stage B of CLOUDS (CVPR 2024, section 3.3).

frame -> teacher (average of the model) -> masks -> refined masks -> pseudo-labels
frame -> distorted colours -> model -> losses against the pseudo-labels, in one batch with the
labelled source
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dgss_core.labels import IGNORE
from dgss_core.networks.compilation import as_written
from dgss_core.networks.systems import SegmentationModel
from dgss_core.training.augmentation.changes import changed, changed_batch
from dgss_core.training.augmentation.photometric import PhotometricDistortion
from dgss_core.training.augmentation.pixels import to_image, to_pixels
from dgss_core.training.average import Average, AverageConfig
from dgss_core.training.chance import seeded
from dgss_core.training.generation.labels import RefinementConfig, Refiner, as_labels
from dgss_core.training.objective import Objective, subsample


@dataclass
class SelfTrainingConfig:
    """How frames of sources without labels get pseudo-labels. The defaults are the published ones.

    Attributes:
        teacher: average of the model that predicts them; CLOUDS updates it every 100 steps
        refinement: refinement of its masks by Segment Anything; null uses the masks unchanged
    """

    teacher: AverageConfig = field(default_factory=lambda: AverageConfig(0.999, 0, 100))
    refinement: RefinementConfig | None = None


class SelfTraining(Objective):
    """The losses on a batch whose unlabelled images get pseudo-labels from the teacher.

    The teacher sees the image unchanged, the model sees it with distorted colours. Pseudo-labels
    have no weight and no confidence threshold; pixels outside all refined masks are 255. The
    labels of a batch must have been subsampled by `label_stride`.
    """

    def __init__(
        self, model: SegmentationModel, config: SelfTrainingConfig, label_stride: int, **given: Any
    ) -> None:
        super().__init__(model, **given)
        self.config, self.stride = config, label_stride
        self._teacher: Average | None = None
        self.refiner = None
        if config.refinement is not None:
            self.refiner = Refiner(config.refinement, len(model.label_set), 'cpu')

    def begin(self) -> Average:
        """Start the teacher as a copy of the current model and return it.

        With FSDP, call it after the weights are sharded.
        """
        self._teacher = Average(self, self.config.teacher)
        return self._teacher

    @property
    def teacher(self) -> Average:
        """The teacher; its first use starts it, if `begin` has not."""
        return self.begin() if self._teacher is None else self._teacher

    def prepare(
        self,
        images: Tensor,
        labels: Tensor,
        seed: int,
        labelled: Tensor | None = None,
        inside: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Pseudo-labels and distorted colours for the images without labels."""
        if labelled is None:
            labelled = (labels != IGNORE).flatten(1).any(1)
        bare = ~labelled
        # Even if every image is labelled: with FSDP all processes must take part in the pass.
        ids = self.ask(images[bare] if bare.any() else images[:1])
        if bare.any():
            images, labels = images.clone(), labels.clone()
            ids = self.refined(images[bare], ids, seed)
            if inside is not None:
                # Nothing is to be learnt from the fill beyond the frame.
                ids = ids.masked_fill(~inside[bare], IGNORE)
            labels[bare] = subsample(ids, self.stride)
            images[bare] = self.distorted(images[bare], seed)
        return images, labels

    @torch.no_grad()
    def ask(self, images: Tensor) -> Tensor:
        """The teacher's labels (B,H,W) long for RGB uint8 (B,3,H,W)."""
        training = self.model.training
        self.model.eval()
        # Without a backward pass CUDA graphs of its blocks would overwrite what they gave.
        with self.teacher.applied(self), as_written(self.model):
            ids = self.model.at_size(images.float()).argmax(1)
        self.model.train(training)
        # Autocast caches the teacher's weights in bf16; the model would then use them.
        torch.clear_autocast_cache()
        return ids

    def refined(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Labels (B,H,W) after the recipe's refinement; 255 outside all refined masks."""
        if self.refiner is None:
            return ids
        self.refiner.sam.model.to(images.device)
        pixels = images.permute(0, 2, 3, 1).cpu().numpy()
        refined = [
            torch.from_numpy(as_labels(self.refiner(image, masks, seed, index)))
            for index, (image, masks) in enumerate(zip(pixels, ids.cpu().numpy(), strict=True))
        ]
        return torch.stack(refined).to(ids)

    def distorted(self, images: Tensor, seed: int) -> Tensor:
        """Images uint8 (B,3,H,W) with colours distorted independently per image."""
        distortion = PhotometricDistortion()
        with seeded(seed):
            looks = [distortion.draw() for _ in images]
        if images.device.type != 'cpu':
            return changed_batch(images, looks)
        # OpenCV is faster than torch on a CPU.
        pixels = [to_pixels(image) for image in images]
        found = [to_image(changed(x, look)) for x, look in zip(pixels, looks, strict=True)]
        return torch.stack([image.as_subclass(Tensor) for image in found])
