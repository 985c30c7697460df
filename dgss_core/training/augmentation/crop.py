"""Random scale and crop in one pass: only the pixels of the crop are resized."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torchvision.tv_tensors import Image, Mask

from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE
from dgss_core.training.augmentation.pixels import to_image, to_pixels, uniform

TRIES = 10


class ScaleCrop(torch.nn.Module):
    """A crop of `size` (height, width) from the image at a random scale.

    `base` is the size at scale 1: the image's own size if None, the length of the short edge if
    one number, else (height, width) for any aspect ratio. The scale is drawn from `scale` (low,
    high), in steps of `step` unless that is 0, and limited so that the long edge has at most
    `long_edge` pixels. If the scaled image is smaller than the crop, `fill` (RGB) and the label
    255 pad it at the right and the bottom.

    A crop is accepted if each class covers less than `cat_max_ratio` of the labelled pixels
    (mmsegmentation's rule), and if it shows at least `min_wanted` pixels of the wanted class, if
    there is one (Hoyer et al., DAFormer, CVPR 2022). After ten tries the last crop is used.
    Raises DgssError for sizes, scales or ratios out of range.
    """

    def __init__(
        self,
        size: tuple[int, int],
        base: int | tuple[int, int] | None = None,
        scale: tuple[float, float] = (1, 1),
        step: float = 0,
        long_edge: int | None = None,
        cat_max_ratio: float = 1,
        min_wanted: int = 1500,
        fill: tuple[int, int, int] = (124, 116, 104),
    ) -> None:
        super().__init__()
        if min(size) < 1 or not 0 < scale[0] <= scale[1] or not 0 < cat_max_ratio <= 1:
            raise DgssError(
                f'A crop of {size} at scale {scale} with cat_max_ratio {cat_max_ratio} cannot be '
                'cut; sizes and scales are above 0 and the ratio is up to 1.'
            )
        self.size, self.base, self.scale, self.step = size, base, scale, step
        self.long_edge, self.cat_max_ratio = long_edge, cat_max_ratio
        self.min_wanted, self.fill = min_wanted, fill

    def forward(
        self, image: Image, mask: Mask, wanted: int | None = None, *planes: Mask
    ) -> tuple[Any, ...]:
        """Crops of an image uint8 (3, H, W) and its mask uint8 (H, W); `wanted` unchanged.

        Further `planes` (H, W) are cropped too; they are 0 beyond the image.
        """
        labels = mask.numpy()
        height, width = self._scaled(height=labels.shape[0], width=labels.shape[1])
        for _ in range(TRIES):
            top, left = (
                _draw(max(0, long - short))
                for long, short in zip((height, width), self.size, strict=True)
            )
            window = _Window(labels.shape, (height, width), (top, left), self.size)
            crop = window.cut(labels, cv2.INTER_NEAREST, IGNORE)
            if self._shows_enough(crop, wanted):
                break
        pixels = window.cut(to_pixels(image), cv2.INTER_LINEAR, self.fill)
        crops = (window.cut(plane.numpy(), cv2.INTER_NEAREST, 0) for plane in planes)
        masks = [Mask(torch.from_numpy(plane)) for plane in (crop, *crops)]
        return to_image(pixels), masks[0], wanted, *masks[1:]

    def _scaled(self, *, height: int, width: int) -> tuple[int, int]:
        """Height and width of the whole image at a random scale."""
        if isinstance(self.base, int):
            factor = self.base / min(height, width)
            height, width = round(height * factor), round(width * factor)
        elif self.base is not None:
            height, width = self.base
        low, high = self.scale
        scale = uniform(low, high)
        if self.step:
            scale = low + self.step * _draw(round((high - low) / self.step))
        if self.long_edge is not None:
            scale = min(scale, self.long_edge / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _shows_enough(self, labels: np.ndarray, wanted: int | None) -> bool:
        counts = np.bincount(labels.ravel(), minlength=256)[:IGNORE]
        if wanted is not None and counts[wanted] < self.min_wanted:
            return False
        return self.cat_max_ratio == 1 or counts.max() < self.cat_max_ratio * counts.sum()


class _Window:
    """A crop of `size` at `corner` (top, left) of an image of `shape` resized to `scaled`."""

    def __init__(
        self,
        shape: tuple[int, ...],
        scaled: tuple[int, int],
        corner: tuple[int, int],
        size: tuple[int, int],
    ) -> None:
        self.size = size
        self.filled = tuple(min(a, b) for a, b in zip(scaled, size, strict=True))
        y, x = (own / new for own, new in zip(shape, scaled, strict=True))
        # Half-pixel centres: pixel i of either grid has its centre at i + 1/2.
        self.matrix = np.array(
            [[x, 0, (corner[1] + 0.5) * x - 0.5], [0, y, (corner[0] + 0.5) * y - 0.5]]
        )

    def cut(self, pixels: np.ndarray, interpolation: int, fill: Any) -> np.ndarray:
        height, width = self.filled
        crop = cv2.warpAffine(
            pixels,
            self.matrix,
            (width, height),
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if self.filled == self.size:
            return crop
        whole = np.empty((*self.size, *pixels.shape[2:]), np.uint8)
        whole[:] = fill
        whole[:height, :width] = crop
        return whole


def _draw(last: int) -> int:
    """A random integer, 0 to `last` inclusive."""
    return int(torch.randint(last + 1, ()))
