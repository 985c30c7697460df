from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from dgss_core.corruptions import CORRUPTIONS, EVALUATED, SEVERITIES, corrupt, training_corruptions
from dgss_core.corruptions.blur import defocus_blur, smear
from dgss_core.corruptions.street import plane_depth
from dgss_core.corruptions.weather import plasma
from dgss_core.errors import DgssError
from dgss_core.images.frames import read_image
from dgss_core.synthetic import StreetDrive

NOT_BY_SEVERITY = {'saturate', 'snow'}
"""The change does not grow with the severity, by their published constants."""

GOLDEN = {
    # mean, standard deviation and mean change in grey levels, at severity 3
    'gaussian_noise': (120.1, 65.7, 35.4),
    'shot_noise': (118.2, 66.6, 37.5),
    'impulse_noise': (120.8, 61.6, 11.4),
    'speckle_noise': (118.3, 62.6, 31.4),
    'gaussian_blur': (120.3, 46.2, 9.5),
    'defocus_blur': (120.3, 46.1, 10.3),
    'glass_blur': (120.8, 47.3, 10.0),
    'motion_blur': (122.2, 46.8, 11.7),
    'zoom_blur': (121.2, 47.2, 11.0),
    'snow': (186.6, 51.2, 66.3),
    'frost': (183.7, 52.5, 64.4),
    'fog': (136.8, 38.3, 32.9),
    'spatter': (127.3, 53.5, 7.1),
    'brightness': (183.7, 44.2, 63.5),
    'contrast': (120.2, 10.3, 35.0),
    'saturate': (110.0, 52.7, 10.2),
    'jpeg_compression': (120.2, 50.1, 7.3),
    'pixelate': (120.4, 49.2, 6.2),
    'elastic_transform': (120.5, 50.1, 8.1),
    'street_fog': (158.2, 43.1, 38.9),
    'street_rain': (99.9, 29.3, 26.5),
    'street_snow': (156.2, 39.1, 36.9),
    'street_night': (35.6, 15.0, 84.6),
}


@pytest.fixture(scope='module')
def street() -> np.ndarray:
    return StreetDrive(3, 'day', width=320, height=180).frame(40).image


def off(image: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(image.astype(np.float32) - other).mean())


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_the_same_seed_gives_the_same_image(name: str, street: np.ndarray) -> None:
    before = street.copy()
    first, again = (corrupt(street, name, 3, seed=5) for _ in range(2))
    assert first.dtype == np.uint8
    assert first.shape == street.shape
    assert np.array_equal(first, again)
    assert np.array_equal(street, before)
    random = np.array_equal(first, corrupt(street, name, 3, seed=6))
    assert random == (name in {
        'gaussian_blur', 'defocus_blur', 'zoom_blur', 'brightness', 'saturate', 'contrast',
        'jpeg_compression', 'pixelate',
    })  # fmt: skip


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_a_higher_severity_changes_more(name: str, street: np.ndarray) -> None:
    changes = [
        np.mean([off(street, corrupt(street, name, severity, seed)) for seed in range(4)])
        for severity in SEVERITIES
    ]
    assert changes[0] > 0.3
    if name in NOT_BY_SEVERITY:
        assert max(changes) > 2
    else:
        assert changes[4] > 1.1 * changes[0]
        # The published constants allow small decreases between two severities.
        assert all(a < 1.15 * b for a, b in pairwise(changes)), changes


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_figures_stay_the_same(name: str, street: np.ndarray) -> None:
    mean, deviation, change = GOLDEN[name]
    result = corrupt(street, name, 3, seed=7)
    assert result.mean() == pytest.approx(mean, abs=0.6)
    assert result.std() == pytest.approx(deviation, abs=0.6)
    assert off(street, result) == pytest.approx(change, abs=0.6)


@pytest.mark.parametrize('shape', [(1, 1), (7, 300), (33, 31)])
@pytest.mark.parametrize('name', CORRUPTIONS)
def test_any_size_any_content(name: str, shape: tuple[int, int]) -> None:
    for value in (0, 255):
        image = np.full((*shape, 3), value, np.uint8)
        for severity in (1, 5):
            assert corrupt(image, name, severity).shape == image.shape


def grey(value: float = 0.5) -> np.ndarray:
    return np.full((200, 200, 3), round(value * 255), np.uint8)


@pytest.mark.parametrize('severity', SEVERITIES)
def test_noise_has_the_published_spread(severity: int) -> None:
    place = severity - 1
    x = 128 / 255
    expected = {
        'gaussian_noise': (0.08, 0.12, 0.18, 0.26, 0.38)[place],
        'speckle_noise': x * (0.15, 0.2, 0.35, 0.45, 0.6)[place],
        'shot_noise': (x / (60, 25, 12, 5, 3)[place]) ** 0.5,
    }
    for name, sigma in expected.items():
        function = CORRUPTIONS[name].function
        constant = CORRUPTIONS[name].constants[place]
        image = np.full((200, 200, 3), x, np.float32)
        result = function(image, np.random.default_rng(0), constant)
        assert result.mean() == pytest.approx(x, abs=0.01)
        assert result.std() == pytest.approx(sigma, rel=0.02)
    salted = corrupt(grey(), 'impulse_noise', severity)
    share = CORRUPTIONS['impulse_noise'].constants[place]
    assert (salted == 0).mean() == pytest.approx(share / 2, abs=0.005)
    assert (salted == 255).mean() == pytest.approx(share / 2, abs=0.005)
    assert (salted == 128).mean() == pytest.approx(1 - share, abs=0.01)


def test_blur_kernels_have_the_published_shape() -> None:
    dot = np.zeros((81, 81, 3), np.float32)
    dot[40, 40] = 1
    disk = defocus_blur(dot, np.random.default_rng(0), 6, 0.5)[..., 0]
    assert disk.sum() == pytest.approx(1, abs=1e-5)
    assert disk[40, 40] == pytest.approx(disk[36, 42], rel=0.05)
    assert disk[40, 48] < 1e-6
    line = smear(dot, 10, 3, 0)[..., 0]
    weights = np.exp(-(np.arange(21) ** 2) / 18)
    shown = np.sort(line[40])[::-1][:21]
    assert shown == pytest.approx(weights / weights.sum(), abs=1e-5)
    assert line[[39, 41]].max() < 1e-6
    tilted = smear(dot, 10, 3, 30)[..., 0]
    assert tilted.sum() == pytest.approx(1, abs=1e-5)


def test_colour_formulas() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[:5] = 200, 100, 50
    assert corrupt(image, 'brightness', 2)[0, 0].tolist() == pytest.approx(
        [251, 125.5, 62.75], abs=1
    )
    assert corrupt(image, 'contrast', 1)[0, 0, 0] == 100 + 0.4 * 100
    faded = cv2.cvtColor(corrupt(image, 'saturate', 1), cv2.COLOR_RGB2HSV)[0, 0]
    assert faded[1] == pytest.approx(0.3 * 191, abs=2)
    blocks = corrupt(np.arange(300, dtype=np.uint8).reshape(10, 10, 3), 'pixelate', 3)
    assert len(np.unique(blocks[..., 0])) == 16


def test_plasma_is_a_fractal_from_zero_to_one() -> None:
    smooth, rough = (plasma(np.random.default_rng(0), 256, decay) for decay in (3, 1.4))
    for field in (smooth, rough):
        assert (field.min(), field.max()) == (0, 1)
    assert np.abs(np.diff(smooth)).mean() < np.abs(np.diff(rough)).mean()


def test_fog_on_a_street_is_thicker_far_away(street: np.ndarray) -> None:
    depth = plane_depth(width=320, height=180)
    assert depth[0, 0] == 80
    assert (np.diff(depth[:, 0]) <= 0).all()
    assert depth[-1, 0] < 5
    foggy = corrupt(street, 'street_fog', 3)
    far, near = slice(60, 80), slice(160, 180)
    assert foggy[far].std() < 0.5 * street[far].std()
    assert foggy[near].std() > 0.7 * street[near].std()


def test_night_is_dark_but_lights_shine(street: np.ndarray) -> None:
    image = street.copy()
    image[100:104, 200:204] = 255, 250, 200
    night = corrupt(image, 'street_night', 3)
    assert night.mean() < 0.35 * image.mean()
    assert night[101:103, 201:203].min() > 2.5 * night.mean()
    assert night[:30].mean() < 40


def test_training_cannot_use_scored_corruptions() -> None:
    assert training_corruptions(['zoom_blur', 'pixelate']) == ('zoom_blur', 'pixelate')
    for name in EVALUATED:
        with pytest.raises(DgssError, match=f'{name} is scored in evaluation'):
            training_corruptions([name])
    assert training_corruptions(EVALUATED, allow_evaluated=True) == EVALUATED
    with pytest.raises(DgssError, match='moves pixels'):
        training_corruptions(['elastic_transform'], allow_evaluated=True)
    assert len(EVALUATED) == 20
    assert not any(CORRUPTIONS[name].moves for name in EVALUATED)


def test_unknown_names_and_severities() -> None:
    with pytest.raises(DgssError, match="no corruption 'hail'; use one of gaussian_noise"):
        corrupt(grey(), 'hail', 1)
    with pytest.raises(DgssError, match='severity of fog is 6'):
        corrupt(grey(), 'fog', 6)


def test_real_streets(shared: Path) -> None:
    image = read_image(shared / 'data/kitti/images/000000_10.jpg')
    changes = {name: off(image, corrupt(image, name, 3)) for name in EVALUATED}
    assert all(2 < change < 140 for change in changes.values()), changes
