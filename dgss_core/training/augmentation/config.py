"""How a frame becomes a training crop, as a recipe says it."""

from __future__ import annotations

from dataclasses import dataclass

from dgss_core.training.augmentation import (
    CorruptionConfig,
    TrainingAugmentation,
    training_augmentation,
)
from dgss_core.training.augmentation.training import Color
from dgss_core.training.bounds import LONGEST_SIDE, within


@dataclass
class AugmentationConfig:
    """How a frame becomes a training crop, see `dgss_core.training.augmentation`.

    Attributes:
        crop: height and width of the network input in pixels
        base: size at scale 1: the frame's own size when null, the length of its short edge when
            one number, its height and width when two
        scale: smallest and largest scale
        step: distance between scales; 0 allows any scale
        long_edge: maximum length of the scaled frame's long edge
        shapes: smallest and largest aspect ratio (width / height) of a region that is resized to
            the crop, as torchvision's RandomResizedCrop; `scale` is then a share of the area
        cat_max_ratio: maximum share of one class among the labelled pixels
        fill: RGB colour outside the frame
        flip: probability of a horizontal flip
        color: colour changes
        corruption: weather, blur and noise; null applies none
    """

    crop: tuple[int, int] = (512, 512)
    base: int | tuple[int, int] | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    step: float = 0.0
    long_edge: int | None = None
    shapes: tuple[float, float] | None = None
    cat_max_ratio: float = 1.0
    fill: tuple[int, int, int] = (124, 116, 104)
    flip: float = 0.5
    color: Color = 'photometric'
    corruption: CorruptionConfig | None = None

    def __post_init__(self) -> None:
        within(1, LONGEST_SIDE, crop=self.crop, base=self.base, long_edge=self.long_edge)
        within(1e-3, 1e3, scale=self.scale, shapes=self.shapes)
        within(0, 1e3, step=self.step)
        within(0, 1, cat_max_ratio=self.cat_max_ratio, flip=self.flip)
        within(0, 255, fill=self.fill)

    def build(self) -> TrainingAugmentation:
        return training_augmentation(**vars(self))
