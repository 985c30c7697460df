from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import save
from torchvision.tv_tensors import Image, Mask

from dgss_core.datasets import Sample
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.training.augmentation import (
    AugmentedFrames,
    ClassStatistics,
    CorruptionConfig,
    Draw,
    Draws,
    Exposure,
    MixedSampler,
    PhotometricDistortion,
    RandomCorruption,
    RareClassSampler,
    ScaleCrop,
    TrainingAugmentation,
    UniformSampler,
    class_mix,
    class_statistics,
    training_augmentation,
)
from dgss_core.training.augmentation.photometric import Distorted


def gradient(*, height: int = 60, width: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """An image with the column in red and the row in green, and labels by column."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width) * 3
    image[..., 1] = np.arange(height)[:, None] * 4
    return image, np.tile((np.arange(width) // 8).astype(np.uint8), (height, 1))


def as_pair(image: np.ndarray, labels: np.ndarray) -> tuple[Image, Mask]:
    return Image(torch.from_numpy(image).permute(2, 0, 1)), Mask(torch.from_numpy(labels))


@pytest.mark.parametrize('options', [
    {'scale': (0.5, 2.0)},
    {'base': (120, 160), 'scale': (0.5, 2.0)},
    {'base': 48, 'scale': (1.0, 2.0), 'step': 0.1, 'long_edge': 100},
])  # fmt: skip
def test_image_and_labels_are_cropped_alike(options: dict) -> None:
    torch.manual_seed(0)
    image, labels = gradient()
    for _ in range(20):
        x, y = ScaleCrop((32, 40), **options)(*as_pair(image, labels))[:2]
        assert x.shape == (3, 32, 40)
        assert y.shape == (32, 40)
        shown = y != 255
        columns = x[0][shown].float() / 3
        assert (columns / 8 - y[shown] - 0.5).abs().max() < 0.75
        assert len(x[:, ~shown].unique(dim=1).T) <= 1


def test_a_crop_is_what_resizing_the_whole_image_would_show() -> None:
    image, labels = gradient()
    x, y, _ = ScaleCrop((120, 160), base=(120, 160))(*as_pair(image, labels))
    assert np.array_equal(
        y.numpy(), cv2.resize(labels, (160, 120), interpolation=cv2.INTER_NEAREST)
    )
    whole = cv2.resize(image, (160, 120), interpolation=cv2.INTER_LINEAR)
    assert np.abs(x.permute(1, 2, 0).numpy().astype(int) - whole).max() <= 1


def test_pixels_outside_the_image_are_filled_and_unlabelled() -> None:
    image, labels = gradient(height=30, width=40)
    x, y, _ = ScaleCrop((48, 64), scale=(1, 1), fill=(9, 8, 7))(*as_pair(image, labels))
    assert np.array_equal(x[:, :30, :40].permute(1, 2, 0), image)
    assert x[:, 40, 10].tolist() == x[:, 10, 50].tolist() == [9, 8, 7]
    assert (y[30:] == 255).all()
    assert (y[:, 40:] == 255).all()


def test_no_class_covers_the_crop_and_the_wanted_one_is_in_it() -> None:
    labels = np.zeros((64, 256), np.uint8)
    labels[:, :24] = 1
    image = np.zeros((64, 256, 3), np.uint8)
    torch.manual_seed(1)
    pair = as_pair(image, labels)

    def shares(**options: float) -> np.ndarray:
        crop = ScaleCrop((32, 32), **options)
        return np.array([(crop(*pair, *wanted)[1] == 1).float().mean() for _ in range(60)])

    wanted: tuple = ()
    free, balanced = shares(), shares(cat_max_ratio=0.75)
    assert (free > 0.25).mean() < (balanced > 0.25).mean()
    wanted = (1,)
    assert (shares(min_wanted=100) > 0).mean() > (free > 0).mean() + 0.2


def test_photometric_distortion_follows_its_formula() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)

    def changed(**params: float) -> np.ndarray:
        return Distorted(**params).on_image(pixels)

    assert np.array_equal(changed(), pixels)
    assert np.array_equal(changed(brightness=20), np.clip(pixels.astype(int) + 20, 0, 255))
    assert np.array_equal(changed(contrast=1.5), np.clip(pixels * 1.5, 0, 255).astype(np.uint8))
    grey = changed(saturation=0)
    assert np.ptp(grey, axis=2).max() <= 1
    hues = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[..., 0].astype(int)
    turned = cv2.cvtColor(changed(hue=10), cv2.COLOR_RGB2HSV)
    off = np.abs((turned[..., 0] - hues - 10 + 90) % 180 - 90)[turned[..., 1] > 128]
    assert off.max() <= 2
    torch.manual_seed(0)
    draws = [asdict(PhotometricDistortion().draw()[0]) for _ in range(400)]
    for key, neutral, low, high in (
        ('brightness', 0, -32, 32), ('contrast', 1, 0.5, 1.5), ('hue', 0, -18, 18)
    ):  # fmt: skip
        values = np.array([draw[key] for draw in draws])
        assert 0.4 < (values != neutral).mean() < 0.6
        assert low <= values.min() < low * 0.8 + high * 0.2
        assert high >= values.max() > high * 0.8 + low * 0.2


def test_exposure_darkens_and_keeps_labels() -> None:
    dark = Exposure(gamma=(2.0, 2.0), gain=(0.5, 0.5), tint=0, noise=0)
    image = Image(torch.full((3, 4, 4), 128, dtype=torch.uint8))
    expected = int((128 / 255) ** 2 * 0.5 * 255)
    assert dark(image).unique().tolist() == [expected]
    mask = Mask(torch.arange(16, dtype=torch.uint8).view(4, 4))
    assert torch.equal(dark(image, mask)[1], mask)


@pytest.mark.parametrize('color', ['photometric', 'jitter', 'exposure', 'none'])
def test_the_same_seed_gives_the_same_crop(color: str) -> None:
    augmentation = training_augmentation((32, 40), scale=(0.5, 2), cat_max_ratio=0.75, color=color)
    image, labels = gradient()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (augmentation(image, labels, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].dtype == first[1].dtype == torch.uint8
    assert first[0].is_contiguous()
    assert np.array_equal(image, gradient()[0])


def test_evaluated_corruptions_are_refused_in_training() -> None:
    with pytest.raises(DgssError, match='fog is scored in evaluation'):
        RandomCorruption(CorruptionConfig(('pixelate', 'fog')))
    with pytest.raises(DgssError, match='severities'):
        RandomCorruption(CorruptionConfig(('pixelate',), severities=(3, 9)))
    image, labels = gradient()
    plain = training_augmentation((60, 80), flip=0, color='none')(image, labels, 0)
    config = CorruptionConfig(('fog', 'pixelate'), 0.5, (1, 5), allow_evaluated=True)
    augmentation = training_augmentation((60, 80), flip=0, color='none', corruption=config)
    results = [augmentation(image, labels, seed) for seed in range(40)]
    assert all(torch.equal(y, plain[1]) for _, y in results)
    changed = [x for x, _ in results if not torch.equal(x, plain[0])]
    assert 10 < len(changed) < 30
    assert len({x.numpy().tobytes() for x in changed}) > 10
    assert torch.equal(augmentation(image, labels, 7)[0], results[7][0])


class Few:
    """Frames with known labels: frame i has class i, one row of class 5 and one of 255."""

    label_set = LabelSet.load('cityscapes19')
    title, fingerprint = 'few', 'f' * 64
    reads = 0

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def labels(self, index: int) -> np.ndarray:
        Few.reads += 1
        ids = np.full((40, 50), index, np.uint8)
        ids[0] = 5
        ids[1] = 255
        return ids

    def __getitem__(self, index: int) -> Sample:
        image = np.full((40, 50, 3), index, np.uint8)
        return Sample(str(index), image, self.labels(index), 'day')


def test_statistics_are_counted_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Few.reads = 0
    counted = class_statistics(Few(3), tmp_path)
    assert Few.reads == 3
    assert counted.counts[1].tolist() == [0, 1900, 0, 0, 0, 50] + [0] * 13
    assert counted.frequencies.sum() == pytest.approx(1)
    assert counted.frequencies[5] == pytest.approx(150 / 5850)
    again = class_statistics(Few(3), tmp_path)
    assert Few.reads == 3
    assert np.array_equal(again.counts, counted.counts)
    next(tmp_path.glob('*.safetensors')).write_bytes(b'cut off')
    assert np.array_equal(class_statistics(Few(3), tmp_path).counts, counted.counts)
    (tmp_path / 'file').touch()
    assert np.array_equal(class_statistics(Few(3), tmp_path / 'file').counts, counted.counts)
    assert 'set XDG_CACHE_HOME' in caplog.text
    kept = next(tmp_path.glob('*.safetensors'))
    kept.write_bytes(save({'counts': counted.counts[:2]}))
    assert np.array_equal(class_statistics(Few(3), tmp_path).counts, counted.counts)


def test_rare_classes_are_as_frequent_as_in_daformer() -> None:
    counts = np.array([[9000, 0, 0], [9000, 4000, 0], [9000, 10, 0], [3000, 1000, 500]])
    sampler = RareClassSampler(ClassStatistics(counts), seed=1, temperature=0.1)
    share = counts.sum(0) / counts.sum()
    expected = np.exp((1 - share) / 0.1)
    expected /= expected.sum()
    draws = [sampler.draw(n) for n in range(3000)]
    drawn = Counter(draw.wanted for draw in draws)
    assert np.abs([drawn[c] / 3000 - expected[c] for c in range(3)]).max() < 0.03
    frames = {c: {draw.index for draw in draws if draw.wanted == c} for c in range(3)}
    # Only frame 1 has 3000 pixels of class 1. No frame has 3000 of class 2, so any pixel counts.
    assert frames[1] == {1}
    assert frames[2] == {3}
    with pytest.raises(DgssError, match='No frame has labels'):
        RareClassSampler(ClassStatistics(np.zeros((2, 3), int)), seed=0)


def test_temperature_does_not_overflow() -> None:
    counts = np.array([[10**9, 3000, 3000]])
    probabilities = RareClassSampler(ClassStatistics(counts), seed=0, temperature=0.001)
    assert probabilities.probabilities == pytest.approx([0, 0.5, 0.5])


def test_a_pass_shows_every_frame_once_and_passes_differ() -> None:
    sampler = UniformSampler(7, seed=3)
    order = [sampler.draw(n).index for n in range(21)]
    passes = [order[:7], order[7:14], order[14:]]
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3
    assert len({sampler.draw(n).seed for n in range(21)}) == 21


def test_processes_and_resumed_runs_draw_what_one_run_draws() -> None:
    sampler = MixedSampler([UniformSampler(5, 1), UniformSampler(9, 1)], [1, 3], seed=2)
    whole = list(islice(Draws(sampler), 40))
    assert list(islice(Draws(sampler, start=16), 24)) == whole[16:]
    parts = [list(islice(Draws(sampler, rank=rank, world=2), 20)) for rank in range(2)]
    assert [draw for pair in zip(*parts, strict=True) for draw in pair] == whole
    assert 20 < sum(draw.index >= 5 for draw in whole) < 38
    assert len(sampler) == 14
    with pytest.raises(DgssError, match='as many shares'):
        MixedSampler([UniformSampler(5, 1)], [0], seed=2)


def test_frames_of_several_datasets_are_numbered_consecutively() -> None:
    same = np.arange(256, dtype=np.uint8)
    moved = np.where(same < 19, same + 19, 255).astype(np.uint8)
    frames = AugmentedFrames(
        [Few(2), Few(3)], TrainingAugmentation(ScaleCrop((40, 50))), [same, moved]
    )
    assert len(frames) == 5
    image, labels = frames[Draw(3, seed=0)]
    assert image.unique().tolist() == [1]
    assert labels.unique().tolist() == [20, 24, 255]
    loader = torch.utils.data.DataLoader(frames, 2, sampler=Draws(UniformSampler(5, 0)))
    images, labels = next(iter(loader))
    assert images.shape == (2, 3, 40, 50)
    assert labels.dtype == torch.uint8
    assert len(pickle.loads(pickle.dumps(frames))) == 5


def test_class_mix_pastes_half_of_the_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(5).repeat(2, 4, 1)
    labels[:, :, 4] = 255
    images = torch.ones(2, 3, 4, 5)
    x, y = class_mix(images, labels, -images, torch.full_like(labels, 9), generator)
    for one, mask in zip(x, y, strict=True):
        assert torch.equal(one[0] > 0, mask != 9)
        assert len(set(mask.unique().tolist()) - {9}) == 2
        assert (mask[:, 4] == 9).all()
    assert not torch.equal(y[0], y[1])
