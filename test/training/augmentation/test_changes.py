"""Changes of pixels: torchvision, one image on the CPU, and batches on a device agree."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from dgss_core.corruptions import CORRUPTIONS
from dgss_core.training.augmentation import CorruptionConfig, training_augmentation
from dgss_core.training.augmentation.blur import Blurred
from dgss_core.training.augmentation.changes import Change, changed, changed_batch
from dgss_core.training.augmentation.corruption import Corrupted
from dgss_core.training.augmentation.corruption_batches import BATCHED, pixelate
from dgss_core.training.augmentation.exposure import Exposed, Exposure
from dgss_core.training.augmentation.jitter import (
    CHANNELS,
    Against,
    Blended,
    ColorJitter,
    PhotometricJitter,
    Reordered,
    Turned,
)
from dgss_core.training.augmentation.photometric import Distorted
from dgss_core.training.augmentation.training import Crop, exposure_changes

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)]
CHANGES = {
    'exposed': [Exposed(g, c, 0, 1) for g, c in ((0.6, (1.3, 1.2, 1.4)), (2.2, (0.3, 0.35, 0.3)))],
    'distorted': [
        Distorted(20, 1.4, 0.6, 10, True),
        Distorted(-30, 0.7, 1.5, -18, False),
        Distorted(contrast=1.3, contrast_last=True),
    ],
    'blended': [Blended(kind, factor) for kind in Against for factor in (0.3, 1.7)],
    'turned': [Turned(turn) for turn in (-0.5, -0.02, 0.013, 0.4)],
    'reordered': [Reordered((2, 0, 1)), Reordered((0, 1, 2))],
    'blurred': [Blurred(5, sigma) for sigma in (0.1, 0.7, 1.8)],
}
STILL = ('gaussian_blur', 'defocus_blur', 'motion_blur', 'zoom_blur', 'pixelate')
STILL = (*STILL, 'brightness', 'saturate', 'contrast')
"""Corruptions without noise."""


def pictures(count: int = 3, *, height: int = 72, width: int = 88) -> np.ndarray:
    """Smooth colours with edges and a little noise, uint8 (count, height, width, 3)."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 9, 11, 3), dtype=np.uint8)
    big = [cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in coarse]
    images = np.stack(big).astype(int) + random.integers(-6, 7, (count, height, width, 3))
    images[:, 20:40, 30:50] = (250, 16, 60)
    images[:, 50:, :9] = 0
    return np.clip(images, 0, 255).astype(np.uint8)


def batch(images: np.ndarray, device: str = 'cpu') -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device)


def channels_last(images: Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).cpu().numpy()


def off(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.abs(found.astype(int) - wanted.astype(int))


def on_both(changes: list[Change], device: str) -> tuple[np.ndarray, np.ndarray]:
    """The pictures after a change each: one by one, and as a batch."""
    images = pictures(len(changes))
    single = np.stack([c.on_image(i) for c, i in zip(changes, images, strict=True)])
    together = changed_batch(batch(images, device), [(change,) for change in changes])
    assert together.dtype == torch.uint8
    return single, channels_last(together)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', CHANGES)
def test_a_batch_changes_as_one_image_does(name: str, device: str) -> None:
    single, together = on_both(CHANGES[name], device)
    assert off(single, pictures(len(single))).max() > 9
    difference = off(single, together)
    # The way back from hues may be off by one level, which contrast magnifies.
    assert difference.max() <= (2 if name == 'distorted' else 1)
    assert difference.mean() < 0.1


def reference(change: Change, image: Tensor) -> Tensor:
    """The image (3, H, W) after a change by torchvision."""
    if isinstance(change, Blended):
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
        return adjust[change.against](image, change.factor)
    if isinstance(change, Turned):
        return F.adjust_hue(image, change.turn)
    if isinstance(change, Reordered):
        return F.permute_channels(image, list(change.order))
    assert isinstance(change, Blurred)
    return F.gaussian_blur(image, [change.side] * 2, [change.sigma] * 2)


@pytest.mark.parametrize('name', ['blended', 'turned', 'reordered', 'blurred'])
def test_an_image_changes_as_in_torchvision(name: str) -> None:
    for change in CHANGES[name]:
        for image in pictures(2):
            wanted = reference(change, batch(image[None])[0])
            difference = off(change.on_image(image), channels_last(wanted[None])[0])
            assert difference.max() <= 1, change
            assert difference.mean() < 0.25, change


@pytest.mark.parametrize(
    ('ours', 'theirs'),
    [
        (ColorJitter(0.8, 0.8, 0.8), v2.ColorJitter(0.8, 0.8, 0.8)),
        (PhotometricJitter(0.02, 0.3), v2.RandomPhotometricDistort(hue=(-0.02, 0.02), p=0.3)),
    ],
)
def test_the_same_seed_draws_what_torchvision_draws(ours, theirs) -> None:
    image = pictures(1)[0]
    changes = 0
    for seed in range(40):
        torch.manual_seed(seed)
        look = ours.draw()
        assert len(look) == ours.places
        changes += any(look)
        after = torch.get_rng_state()
        torch.manual_seed(seed)
        params = theirs.make_params([CHANNELS])
        assert torch.equal(torch.get_rng_state(), after)
        wanted = theirs.transform(batch(image[None])[0], params)
        # Each of up to four steps may round the other way, and contrast magnifies that.
        assert off(changed(image, look), channels_last(wanted[None])[0]).mean() < 1
    assert changes > 25


def test_noise_is_normal_grey_and_grows_with_its_parameter() -> None:
    grey = np.full((1, 200, 300, 3), 128, np.uint8)
    for sigma in (0.01, 0.04):
        change = Exposed(1.0, (1.0, 1.0, 1.0), sigma, 5)
        single, together = (
            change.on_image(grey[0]),
            channels_last(changed_batch(batch(grey), [(change,)]))[0],
        )
        assert off(single, together).max() <= 1
        noise = single.astype(float) - 127.5
        assert abs(noise.mean()) < 0.2
        assert noise.std() == pytest.approx(255 * sigma, rel=0.02)
        assert np.array_equal(single[..., 0], single[..., 2])
        assert not np.array_equal(single, replace(change, seed=6).on_image(grey[0]))


def test_exposure_draws_from_its_ranges() -> None:
    torch.manual_seed(0)
    drawn = [Exposure().draw()[0] for _ in range(600)]
    gain = np.array([np.mean(change.gain) for change in drawn])
    assert 0.25 < gain.min() < 0.4
    assert 1.2 < gain.max() < 1.5
    assert np.median([change.gamma for change in drawn]) == pytest.approx(1.4, abs=0.12)
    noise = np.array([change.noise for change in drawn])
    assert noise.max() < 0.04 / 0.3
    assert noise[gain < 0.5].mean() > 2 * noise[gain > 1].mean()
    torch.manual_seed(0)
    looks = [[change for one in exposure_changes() for change in one.draw()] for _ in range(900)]
    shares = [np.mean([look[place] is not None for look in looks]) for place in range(8)]
    # Noise in 60 %, each colour in 30 %, contrast at one of two places, blur in 20 %.
    expected = [0.6, 0.3, 0.15, 0.3, 0.3, 0.15, 0.3, 0.2]
    assert np.abs(np.array(shares) - expected).max() < 0.05


@pytest.mark.parametrize('factor', CORRUPTIONS['pixelate'].constants)
@pytest.mark.parametrize('size', [(768, 768), (384, 512), (321, 240), (97, 131)])
def test_pixels_between_two_cells_take_the_one_that_opencv_takes(
    size: tuple[int, int], factor: float
) -> None:
    image = np.random.default_rng(0).random((*size, 3), np.float32)
    together = pixelate(torch.from_numpy(image).permute(2, 0, 1)[None], None, factor)
    single = CORRUPTIONS['pixelate'].function(image, None, factor)
    np.testing.assert_allclose(together[0].permute(1, 2, 0).numpy(), single, atol=1e-4)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', STILL)
def test_a_batch_is_corrupted_as_one_image_is(name: str, device: str) -> None:
    single, together = on_both([Corrupted(name, s, 3 * s) for s in (1, 3, 3, 5)], device)
    difference = off(single, together)
    assert off(single, pictures(4)).mean() > 2
    # OpenCV interpolates at multiples of 1/32 pixel, which a zoom shows at edges.
    assert difference.max() <= (8 if name == 'zoom_blur' else 1)
    assert difference.mean() < 0.25


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', sorted({*BATCHED} - {*STILL}))
def test_noise_of_a_batch_has_the_distribution_of_one_image(name: str, device: str) -> None:
    levels = np.repeat(np.array([10, 90, 160, 240], np.uint8), 4000).reshape(1, 80, 200, 1)
    images = np.broadcast_to(levels, (4, 80, 200, 3)).copy()
    changes = [Corrupted(name, 2, seed) for seed in range(4)]
    single = np.stack([c.on_image(i) for c, i in zip(changes, images, strict=True)])
    together = channels_last(changed_batch(batch(images, device), [(c,) for c in changes]))
    for level in np.unique(levels):
        one, many = (np.sort(x[images == level]) for x in (single, together))
        # Kolmogorov-Smirnov: 48,000 values each, so 0.0125 has a probability below 0.001.
        grid = np.arange(256)
        shares = (np.searchsorted(x, grid, side='right') / len(x) for x in (one, many))
        assert np.abs(np.subtract(*shares)).max() < 0.0125
    assert len({x.tobytes() for x in together}) == 4


def test_every_batched_corruption_is_one_of_the_corruptions() -> None:
    assert set(BATCHED) <= set(CORRUPTIONS)
    assert Corrupted('pixelate', 1, 0).batched(height=8, width=8)
    assert not Corrupted('frost', 1, 0).batched(height=800, width=800)


SIZED = [Blurred(15, 3.0), *(Corrupted(n, s, 0) for n in BATCHED for s in (1, 5))]


@pytest.mark.parametrize('change', SIZED, ids=str)
def test_a_change_knows_the_smallest_crop_of_its_batched_form(change: Change) -> None:
    sides = range(1, 33)
    fits = [change.batched(height=side, width=40) for side in sides]
    assert fits == sorted(fits)
    assert fits[-1]
    for side in (1 + fits.index(True), 32):
        images = batch(pictures(1, height=side, width=40))
        assert changed_batch(images, [(change,)]).shape == images.shape
    if not fits[0]:
        small = batch(pictures(1, height=fits.index(True), width=40))
        with pytest.raises(RuntimeError, match='Padding size'):
            changed_batch(small, [(change,)])
        one = Crop(small[0], torch.zeros(small.shape[2:]), torch.ones(small.shape[2:]), (change,))
        assert not one.batched
        assert one.finished().image.shape == small.shape[1:]


@pytest.mark.parametrize('color', ['photometric', 'jitter', 'exposure'])
def test_the_same_seed_gives_the_same_crop_on_the_device(color: str) -> None:
    config = CorruptionConfig(('pixelate', 'zoom_blur'), 0.4)
    augment = training_augmentation((48, 64), color=color, corruption=config)
    image, labels = pictures(1)[0], np.zeros((72, 88), np.uint8)
    crops = [augment.cut(image, labels, seed) for seed in range(16)]
    images = torch.stack([crop.image for crop in crops])
    together = changed_batch(images, [crop.look for crop in crops])
    single = torch.stack([crop.finished().image for crop in crops])
    assert off(channels_last(together), channels_last(single)).mean() < 0.3
    assert (single != images).flatten(1).any(1).sum() > 8
    # An image does not depend on the others of its batch, so processes may share a step.
    alone = changed_batch(images[5:6], [crops[5].look])
    assert torch.equal(alone[0], together[5])
