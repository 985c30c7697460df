"""Scores of a whole image: sliding windows, scales, flips, refinement.

A model here is any callable from images (B,3,H,W) to scores (B,C,h,w) of any stride. As in the
published evaluations, the unchanged scores are averaged: logits of per-pixel heads (FAMix: the
mean over both scales), probability-like sums of Mask2Former. Pass
`activate=head.to_probabilities` to average probabilities instead.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dgss_core.errors import DgssError
from dgss_core.networks.resize import resize

Model = Callable[[Tensor], Tensor]
Size = tuple[int, int]
"""Height and width in pixels."""

Weighting = Literal['uniform', 'hann']


def as_is(scores: Tensor) -> Tensor:
    return scores


def softmax(scores: Tensor) -> Tensor:
    return scores.softmax(dim=1)


def whole(model: Model, images: Tensor, multiple: int = 1) -> Tensor:
    """Scores (B,C,H,W) of images (B,3,H,W) in one pass.

    Pads right and bottom (edge values) to a multiple of `multiple` and crops the scores.
    """
    height, width = images.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if down or right:
        images = F.pad(images, (0, right, 0, down), mode='replicate')
    scores = model(images)
    if scores.shape[-2:] != images.shape[-2:]:
        scores = resize(scores, images.shape[-2:])
    return scores[..., :height, :width]


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Start of each window along one side; the last window ends with the image."""
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def window_weight(size: Size, weighting: Weighting, like: Tensor) -> Tensor:
    """(h,w) weight of each pixel of a window: 1 ('uniform'), or lower at the border ('hann')."""
    if weighting == 'uniform':
        return torch.ones(size, device=like.device)
    if weighting != 'hann':
        raise DgssError(f"unknown window weighting '{weighting}'; choose 'uniform' or 'hann'.")
    # Longer by two and cropped, so that no weight is zero.
    rows, columns = (torch.hann_window(n + 2, periodic=False)[1:-1] for n in size)
    return (rows[:, None] * columns).to(like.device)


Place = tuple[int, int, int]
"""Image in the batch, and top and left of a window."""


def overlap_mean(
    windows: Iterable[tuple[Place, Tensor]], weight: Tensor, images: Tensor
) -> Tensor:
    """Mean (B,C,H,W) over images (B,3,H,W) of window scores (C,h,w), weighted by `weight` (h,w).

    Raises ValueError if there is no window.
    """
    total, weights = None, images.new_zeros(())
    for (image, top, left), scores in windows:
        if total is None:
            total = scores.new_zeros(len(images), len(scores), *images.shape[-2:])
            weights = scores.new_zeros(len(images), 1, *images.shape[-2:])
        rows = slice(top, top + scores.shape[-2])
        columns = slice(left, left + scores.shape[-1])
        total[image, :, rows, columns] += scores * weight
        weights[image, :, rows, columns] += weight
    if total is None:
        raise ValueError('there are no windows to average')
    return total / weights


def windows(images: Tensor, window: Size, stride: Size) -> tuple[Size, list[Place]]:
    """Size of the windows, at most that of the images, and the place of each.

    Raises DgssError if windows of this size and stride cannot cover an image.
    """
    if min(*window, *stride) < 1 or stride[0] > window[0] or stride[1] > window[1]:
        raise DgssError(
            f'windows of {window[0]}x{window[1]} cannot cover an image in steps of '
            f'{stride[0]}x{stride[1]}; choose steps from 1 up to the window.'
        )
    height, width = images.shape[-2:]
    size = (min(window[0], height), min(window[1], width))
    tops = window_starts(height, size[0], stride[0])
    lefts = window_starts(width, size[1], stride[1])
    return size, [(b, top, left) for b in range(len(images)) for top in tops for left in lefts]


def cut(x: Tensor, places: list[Place], size: Size) -> Tensor:
    """Stack the windows of `x` at `places`: (n,C,*size)."""
    return torch.stack([x[b, :, t : t + size[0], c : c + size[1]] for b, t, c in places])


def chunks(items: list[Place], size: int) -> Iterator[list[Place]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def slide(
    model: Model,
    images: Tensor,
    window: Size,
    stride: Size,
    weighting: Weighting = 'uniform',
    batch: int = 4,
    multiple: int = 1,
    activate: Model = as_is,
) -> Tensor:
    """Mean scores (B,C,H,W) of overlapping windows of images (B,3,H,W).

    The scores of each window are resized to the size of the window. A window larger than the image
    shrinks to it. The model processes `batch` windows at a time. `multiple` is as in `whole`.
    """
    size, places = windows(images, window, stride)

    def scored() -> Iterator[tuple[Place, Tensor]]:
        for group in chunks(places, batch):
            scores = activate(whole(model, cut(images, group, size), multiple))
            yield from zip(group, scores, strict=True)

    return overlap_mean(scored(), window_weight(size, weighting, images), images)


def augmented(
    predict: Model,
    images: Tensor,
    ratios: tuple[float, ...] = (1.0,),
    flip: bool = False,
    align_corners: bool = False,
    activate: Model = as_is,
) -> Tensor:
    """Mean scores (B,C,H,W) over image scales and, with `flip`, their mirror images.

    `predict` maps images to scores of the same size, for example `whole` or `slide` of a model.
    FAMix scales images, and scores back, with `align_corners=True`. Raises DgssError unless all
    ratios are above 0.
    """
    if not ratios or min(ratios) <= 0:
        raise DgssError(f'image scales must be above zero, not {ratios}; for example 0.5 1.0.')
    size = tuple(images.shape[-2:])
    total, count = images.new_zeros(()), 0
    for ratio in ratios:
        scaled = images
        if ratio != 1:
            to = [max(1, int(side * ratio + 0.5)) for side in size]
            scaled = F.interpolate(images, to, mode='bilinear', align_corners=align_corners)
        for mirrored in (False, True) if flip else (False,):
            scores = predict(scaled.flip(-1) if mirrored else scaled)
            scores = scores.flip(-1) if mirrored else scores
            total, count = total + activate(resize(scores, size, align_corners)), count + 1
    return total / count


def refine_unsure(
    coarse: Model,
    fine: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    coarse_size: Size,
    window: Size,
    stride: Size,
    certain: float = 0.968,
    share: float = 0.8,
    batch: int = 4,
    multiple: int = 1,
    to_probabilities: Model = softmax,
) -> Tensor:
    """Mean scores (B,C,H,W): coarse ones, refined only in windows that are unsure (VFMSeg).

    `coarse` predicts the images resized to `coarse_size`. A full-size window keeps the coarse
    scores if at least `share` of its pixels have a probability above `certain`. Otherwise `fine`
    predicts it from the window (n,3,h,w) and its coarse scores (n,C,h,w). Overlapping windows are
    averaged.
    """
    base = resize(whole(coarse, resize(images, coarse_size), multiple), images.shape[-2:])
    size, places = windows(images, window, stride)
    sure = to_probabilities(base).amax(dim=1, keepdim=True) > certain

    def refine(group: list[Place]) -> Tensor:
        known = cut(base, group, size)
        return whole(lambda x: fine(x, known), cut(images, group, size), multiple)

    def scored() -> Iterator[tuple[Place, Tensor]]:
        unsure = []
        for place in places:
            if cut(sure, [place], size).float().mean() < share:
                unsure.append(place)
            else:
                yield place, cut(base, [place], size)[0]
        for group in chunks(unsure, batch):
            yield from zip(group, refine(group), strict=True)

    return overlap_mean(scored(), window_weight(size, 'uniform', images), images)


@dataclass(frozen=True)
class Inference:
    """How images are predicted, as data.

    Attributes:
        window: height and width of a sliding window; None predicts the image in one pass.
        stride: steps of the window, (down, right); None is two thirds of the window.
        weighting: 'uniform', or 'hann' for weights that fall towards the border of a window.
        ratios: image scales whose scores are averaged.
        flip: also average with the mirror image.
        multiple: the model's input sides must be multiples of it.
        batch: windows per call of the model.
        align_corners: option of the resizes that scale images, and their scores back.
    """

    window: Size | None = None
    stride: Size | None = None
    weighting: Weighting = 'uniform'
    ratios: tuple[float, ...] = (1.0,)
    flip: bool = False
    multiple: int = 1
    batch: int = 4
    align_corners: bool = False

    @torch.inference_mode()
    def __call__(self, model: Model, images: Tensor, activate: Model = as_is) -> Tensor:
        """Scores (B,C,H,W) of images (B,3,H,W)."""

        def predict(x: Tensor) -> Tensor:
            if self.window is None:
                return activate(whole(model, x, self.multiple))
            height, width = self.window
            stride = self.stride or (max(1, height * 2 // 3), max(1, width * 2 // 3))
            return slide(
                model,
                x,
                self.window,
                stride,
                self.weighting,
                self.batch,
                self.multiple,
                activate,
            )

        return augmented(predict, images, self.ratios, self.flip, self.align_corners)
