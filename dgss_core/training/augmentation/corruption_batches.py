"""Corruptions of batches on their device, by the formulas of `dgss_core.corruptions`.

A function takes images float32 (B, 3, H, W) in 0 to 1, what `dgss_core.corruptions` draws for each
of them (a seed and a stream of numbers), and the constants of one severity. Those that draw
shapes or encode a JPEG have no batched form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dgss_core.corruptions.blur import (
    disk_kernel,
    disk_reach,
    kernel_side,
    motion_direction,
    smear_kernel,
)
from dgss_core.training.augmentation.blur import filtered, gaussians
from dgss_core.training.augmentation.changes import noise_plane, on
from dgss_core.training.augmentation.hues import from_hues, hues


@dataclass(frozen=True)
class Chance:
    """The random numbers of one image: `stream` as `corrupt` has it, `seed` for noise."""

    seed: int
    stream: np.random.Generator


Chances = Sequence[Chance]


def normal(images: Tensor, chances: Chances) -> Tensor:
    """Standard normal noise in the shape of the images."""
    return torch.stack([noise_plane(c.seed, images.shape[1:], images.device) for c in chances])


def gaussian_noise(images: Tensor, chances: Chances, sigma: float) -> Tensor:
    return images + sigma * normal(images, chances)


def speckle_noise(images: Tensor, chances: Chances, sigma: float) -> Tensor:
    return images * (1 + sigma * normal(images, chances))


def shot_noise(images: Tensor, chances: Chances, photons: float) -> Tensor:
    counts = [
        torch.poisson(image, torch.Generator(images.device).manual_seed(chance.seed))
        for image, chance in zip(images * photons, chances, strict=True)
    ]
    return torch.stack(counts) / photons


def impulse_noise(images: Tensor, chances: Chances, share: float) -> Tensor:
    size, device = images.shape[1:], images.device
    drawn = torch.stack(
        [
            torch.rand(size, generator=torch.Generator(device).manual_seed(c.seed), device=device)
            for c in chances
        ]
    )
    noisy = torch.where(drawn < share / 2, 0, images)
    return torch.where(drawn > 1 - share / 2, 1, noisy)


def gaussian_blur(images: Tensor, chances: Chances, sigma: float) -> Tensor:
    half = kernel_side(sigma) // 2
    return filtered(images, gaussians(images, [sigma] * len(images), [half] * len(images)))


def defocus_blur(images: Tensor, chances: Chances, radius: int, soften: float) -> Tensor:
    return convolved(images, [disk_kernel(radius, soften)] * len(images), 'reflect')


def motion_blur(images: Tensor, chances: Chances, radius: int, sigma: float) -> Tensor:
    kernels = [smear_kernel(radius, sigma, motion_direction(c.stream)) for c in chances]
    return convolved(images, kernels, 'replicate')


def convolved(images: Tensor, kernels: Sequence[np.ndarray], border: str) -> Tensor:
    """Each image correlated with its kernel (h, w), both sides odd, through Fourier space."""
    height, width = images.shape[-2:]
    down, right = (side // 2 for side in kernels[0].shape)
    x = F.pad(images, (right, right, down, down), mode=border)
    size = x.shape[-2:]
    kernel = on(images, np.stack(kernels), torch.float32).unsqueeze(1)
    product = torch.fft.rfft2(x) * torch.fft.rfft2(kernel, s=size).conj()
    return torch.fft.irfft2(product, s=size)[..., :height, :width]


def zoom_blur(images: Tensor, chances: Chances, last: float, step: float) -> Tensor:
    factors = np.arange(1, last, step)
    total = images.clone()
    for factor in factors:
        theta = images.new_tensor([[[1 / factor, 0, 0], [0, 1 / factor, 0]]])
        grid = F.affine_grid(
            theta.expand(len(images), -1, -1), list(images.shape), align_corners=True
        )
        total += F.grid_sample(images, grid, align_corners=True)
    return total / (len(factors) + 1)


def brightness(images: Tensor, chances: Chances, more: float) -> Tensor:
    hue, saturation, value = hues(images)
    return from_hues(hue, saturation, (value + more).clamp_(0, 1))


def saturate(images: Tensor, chances: Chances, factor: float, more: float) -> Tensor:
    hue, saturation, value = hues(images)
    return from_hues(hue, (saturation * factor + more).clamp_(0, 1), value)


def contrast(images: Tensor, chances: Chances, factor: float) -> Tensor:
    mean = images.mean((2, 3), keepdim=True)
    return (images - mean) * factor + mean


def pixelate(images: Tensor, chances: Chances, factor: float) -> Tensor:
    height, width = images.shape[-2:]
    rows, columns = (
        area_weights(side, max(1, int(side * factor)), images) for side in (height, width)
    )
    coarse = rows @ images @ columns.T
    down, across = (
        nearest_cells(len(weights), side).to(images.device)
        for weights, side in ((rows, height), (columns, width))
    )
    return coarse.index_select(-2, down).index_select(-1, across)


def nearest_cells(cells: int, side: int) -> Tensor:
    """The cell nearest to every pixel, int64 (side,), with ties as OpenCV decides them."""
    table = np.arange(cells, dtype=np.float32)[None]
    found = cv2.resize(table, (side, 1), interpolation=cv2.INTER_NEAREST_EXACT)
    return torch.from_numpy(found[0].astype(np.int64))


def area_weights(side: int, cells: int, like: Tensor) -> Tensor:
    """(cells, side): the share of every pixel in the mean of every cell."""
    edges = torch.arange(cells + 1, device=like.device, dtype=torch.float64) * (side / cells)
    pixels = torch.arange(side, device=like.device, dtype=torch.float64)
    start = torch.maximum(edges[:-1, None], pixels)
    end = torch.minimum(edges[1:, None], pixels + 1)
    return ((end - start).clamp_(min=0) * (cells / side)).to(like)


BATCHED: dict[str, Callable[..., Tensor]] = {
    function.__name__: function
    for function in (
        gaussian_noise,
        speckle_noise,
        shot_noise,
        impulse_noise,
        gaussian_blur,
        defocus_blur,
        motion_blur,
        zoom_blur,
        brightness,
        saturate,
        contrast,
        pixelate,
    )
}
"""By the names of `dgss_core.corruptions`."""
MIRRORED: dict[str, Callable[..., int]] = {
    'gaussian_blur': lambda sigma: kernel_side(sigma) // 2,
    'defocus_blur': lambda radius, soften: disk_reach(radius),
}
"""The reach in pixels of the kernels that mirror the border, by the constants of one severity."""
