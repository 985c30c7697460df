"""Self-training on frames without labels: stage B of CLOUDS (CVPR 2024, section 3.3).

frame -> teacher, an average of the model -> masks -> refined -> labels
frame -> other colours -> model -> losses against these labels, beside those of the source
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torchvision.tv_tensors import Image

from dgss_core.labels import IGNORE
from dgss_core.networks.systems import SegmentationModel
from dgss_core.training.augmentation.photometric import PhotometricDistortion
from dgss_core.training.average import Average, AverageConfig
from dgss_core.training.chance import seeded
from dgss_core.training.generation.labels import RefinementConfig, Refiner, as_labels
from dgss_core.training.objective import Objective


@dataclass
class SelfTrainingConfig:
    """Who labels the frames of sources without labels. The defaults are the published ones.

    Attributes:
        teacher: the average of the model that labels them; CLOUDS updates it every 100 steps
        refinement: of its masks by Segment Anything; null believes them as they are
    """

    teacher: AverageConfig = field(default_factory=lambda: AverageConfig(0.999, 0, 100))
    refinement: RefinementConfig | None = None


class SelfTraining(Objective):
    """The losses on a batch in which images without any label are labelled by the teacher.

    The teacher sees an image as it comes, the model with distorted colours. Pseudo-labels are
    neither weighted nor cut off at a confidence; pixels that no refined mask covers have none.
    `label_stride` is that of the labels the batch comes with. `begin` must be called first.
    """

    teacher: Average

    def __init__(
        self, model: SegmentationModel, config: SelfTrainingConfig, label_stride: int, **given: Any
    ) -> None:
        super().__init__(model, **given)
        self.config, self.stride = config, label_stride
        self.refiner = None
        if config.refinement is not None:
            self.refiner = Refiner(config.refinement, len(model.label_set), 'cpu')

    def begin(self) -> Average:
        """The teacher: the model as it is now, when its weights are where they will stay."""
        self.teacher = Average(self, self.config.teacher)
        return self.teacher

    def forward(self, images: Tensor, labels: Tensor, seed: int) -> dict[str, Tensor]:
        bare = (labels == IGNORE).flatten(1).all(1)
        # With none too: where weights are spread out, a pass needs every process.
        ids = self.ask(images[bare] if bare.any() else images[:1])
        if bare.any():
            images, labels = images.clone(), labels.clone()
            found = self.refined(images[bare], ids, seed)
            labels[bare] = found[:, :: self.stride, :: self.stride]
            images[bare] = self.distorted(images[bare], seed)
        return super().forward(images, labels, seed)

    @torch.no_grad()
    def ask(self, images: Tensor) -> Tensor:
        """The teacher's labels (B,H,W) long for RGB uint8 (B,3,H,W)."""
        training = self.model.training
        self.model.eval()
        with self.teacher.applied(self):
            ids = self.model.at_size(images.float()).argmax(1)
        self.model.train(training)
        # Else the model would go on with the teacher's weights that autocast has kept in bf16.
        torch.clear_autocast_cache()
        return ids

    def refined(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Labels refined as the recipe says; 255 where no mask is sure."""
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
        """Images uint8 (B,3,H,W) with other colours, each its own."""
        distort = PhotometricDistortion()
        with seeded(seed):
            changed = [distort(Image(image)) for image in images.cpu()]
        return torch.stack([x.as_subclass(Tensor) for x in changed]).to(images.device)
