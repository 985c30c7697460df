"""From a model to scores for a whole image: sliding windows, scales, flips, refinement.

A model here is any callable from images (B,3,H,W) to scores (B,C,h,w) of any stride. What is
averaged are the scores as the model gives them, which is what the published evaluations do: logits
of per-pixel heads (FAMix: the mean of the logits of both scales), probability-like sums of
Mask2Former. Pass `activate=head.to_probabilities` to average probabilities instead.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dgss_core.errors import DgssError, unknown
from dgss_core.networks.resize import resize

Model = Callable[[Tensor], Tensor]
Size = tuple[int, int]
Weighting = Literal['uniform', 'hann']


def as_is(scores: Tensor) -> Tensor:
    return scores


def softmax(scores: Tensor) -> Tensor:
    return scores.softmax(dim=1)


def whole(model: Model, images: Tensor, multiple: int = 1) -> Tensor:
    """Scores (B,C,H,W) of images (B,3,H,W) seen at once.

    Sides that `multiple` does not divide are continued at the right and the bottom by their last
    pixel; what the model says there is cut off again.
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
    """Where windows start along one side; the last one ends with the image."""
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def window_weight(size: Size, weighting: Weighting, like: Tensor) -> Tensor:
    """(h,w) weight of every pixel of a window: one, or falling towards the border (Hann)."""
    if weighting == 'uniform':
        return torch.ones(size, device=like.device)
    if weighting != 'hann':
        raise unknown('window weighting', weighting, ('uniform', 'hann'))
    # Two longer and cut, so that no weight is zero.
    rows, columns = (torch.hann_window(n + 2, periodic=False)[1:-1] for n in size)
    return (rows[:, None] * columns).to(like.device)


class Overlap:
    """Weighted mean of windows laid over one another."""

    total: Tensor | None = None
    weights: Tensor

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def add(self, scores: Tensor, image: int, top: int, left: int, shape: tuple[int, ...]) -> None:
        """Lay scores (C,h,w) on `image` of the batch; `shape` is that of the images, (B,3,H,W)."""
        if self.total is None:
            self.total = scores.new_zeros(shape[0], len(scores), *shape[-2:])
            self.weights = scores.new_zeros(shape[0], 1, *shape[-2:])
        rows = slice(top, top + scores.shape[-2])
        columns = slice(left, left + scores.shape[-1])
        self.total[image, :, rows, columns] += scores * self.weight
        self.weights[image, :, rows, columns] += self.weight

    def mean(self) -> Tensor:
        if self.total is None:
            raise ValueError('no window was laid down')
        return self.total / self.weights


Place = tuple[int, int, int]


def windows(images: Tensor, window: Size, stride: Size) -> tuple[Size, list[Place]]:
    """Size of the windows, at most the images', and (image, top, left) of each."""
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
    """The windows of `x` at `places`, stacked."""
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

    Every window is sized by itself: its scores are resized to its own height and width. Windows
    larger than the image shrink to it. `batch` windows go through the model together.
    """
    size, places = windows(images, window, stride)
    overlap = Overlap(window_weight(size, weighting, images))
    for group in chunks(places, batch):
        scores = activate(whole(model, cut(images, group, size), multiple))
        for place, score in zip(group, scores, strict=True):
            overlap.add(score, *place, images.shape)
    return overlap.mean()


def augmented(
    predict: Model,
    images: Tensor,
    ratios: tuple[float, ...] = (1.0,),
    flip: bool = False,
    align_corners: bool = False,
    activate: Model = as_is,
) -> Tensor:
    """Mean scores (B,C,H,W) over image scales and, with `flip`, their mirror images.

    `predict` gives scores at the size of the images it is handed: `whole` or `slide` with the
    model filled in. FAMix scales its images with `align_corners=True`.
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
            total, count = total + activate(resize(scores, size)), count + 1
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
    """A coarse look at the whole image, and a close look only where that was unsure (VFMSeg).

    Windows of the full-size image of which at least `share` of the pixels have a probability
    above `certain` keep the coarse scores. The others are seen again by `fine`, which gets the
    window (n,3,h,w) and the coarse scores there (n,C,h,w). All windows are averaged.
    """
    base = resize(whole(coarse, resize(images, coarse_size), multiple), images.shape[-2:])
    size, places = windows(images, window, stride)
    sure = to_probabilities(base).amax(dim=1, keepdim=True) > certain
    overlap = Overlap(window_weight(size, 'uniform', images))
    unsure = []
    for place in places:
        if cut(sure, [place], size).float().mean() < share:
            unsure.append(place)
        else:
            overlap.add(cut(base, [place], size)[0], *place, images.shape)

    def look_again(group: list[Place]) -> Tensor:
        known = cut(base, group, size)
        return whole(lambda x: fine(x, known), cut(images, group, size), multiple)

    for group in chunks(unsure, batch):
        for place, score in zip(group, look_again(group), strict=True):
            overlap.add(score, *place, images.shape)
    return overlap.mean()


@dataclass(frozen=True)
class Inference:
    """How images are looked at, as data.

    Attributes:
        window: height and width of a sliding window; None sees the image whole.
        stride: steps of the window; two thirds of it when None.
        weighting: 'uniform', or 'hann' for windows that fade out towards their border.
        ratios: image scales whose scores are averaged.
        flip: average with the mirror image as well.
        multiple: what the model's input sides must be divisible by.
        batch: windows that go through the model together.
        align_corners: how scaled images are made.
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
