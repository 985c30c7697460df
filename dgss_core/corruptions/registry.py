"""Every corruption by name, with its constants per severity.

The corruptions of ImageNet-C (Hendrycks and Dietterich, ICLR 2019) keep its formulas and its
constants, which are lengths in pixels, at every image size, as the benchmarks on Cityscapes do.
Added are night, fog, rain and snow on streets.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dgss_core.corruptions import blur, digital, noise, street, weather
from dgss_core.errors import DgssError, unknown

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """A `function(image, random, *constants)` and its constants per severity.

    `evaluated`: robustness is scored on it, so training may use it only if allowed. `moves`: it
    moves pixels away from their labels.
    """

    family: str
    function: Callable[..., np.ndarray]
    constants: tuple[Any, ...]
    evaluated: bool = True
    moves: bool = False


CORRUPTIONS = {
    'gaussian_noise': Corruption('noise', noise.gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    'shot_noise': Corruption('noise', noise.shot_noise, (60, 25, 12, 5, 3)),
    'impulse_noise': Corruption('noise', noise.impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    'speckle_noise': Corruption('noise', noise.speckle_noise, (0.15, 0.2, 0.35, 0.45, 0.6)),
    'gaussian_blur': Corruption('blur', blur.gaussian_blur, (1, 2, 3, 4, 6)),
    'defocus_blur': Corruption(
        'blur', blur.defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
    ),
    'glass_blur': Corruption(
        'blur', blur.glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
    ),
    'motion_blur': Corruption(
        'blur', blur.motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
    ),
    'zoom_blur': Corruption(
        'blur',
        blur.zoom_blur,
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        evaluated=False,
    ),
    'snow': Corruption(
        'weather',
        weather.snow,
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    'frost': Corruption(
        'weather', weather.frost, ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
    ),
    'fog': Corruption(
        'weather', weather.fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
    ),
    'spatter': Corruption(
        'weather',
        weather.spatter,
        (
            (0.65, 0.3, 4, 0.69, 0.6, False),
            (0.65, 0.3, 3, 0.68, 0.6, False),
            (0.65, 0.3, 2, 0.68, 0.5, False),
            (0.65, 0.3, 1, 0.65, 1.5, True),
            (0.67, 0.4, 1, 0.65, 1.5, True),
        ),
    ),
    'brightness': Corruption('weather', digital.brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    'contrast': Corruption('digital', digital.contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    'saturate': Corruption(
        'digital', digital.saturate, ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))
    ),
    'jpeg_compression': Corruption('digital', digital.jpeg_compression, (25, 18, 15, 10, 7)),
    'pixelate': Corruption(
        'digital', digital.pixelate, (0.6, 0.5, 0.4, 0.3, 0.25), evaluated=False
    ),
    'elastic_transform': Corruption(
        'digital',
        digital.elastic_transform,
        (12.5, 16.25, 21.25, 25, 30),
        evaluated=False,
        moves=True,
    ),
    'street_fog': Corruption('street', street.street_fog, (400, 200, 120, 70, 40)),
    'street_rain': Corruption('street', street.street_rain, (1, 1.75, 2.5, 4, 6)),
    'street_snow': Corruption('street', street.street_snow, (1, 1.75, 2.5, 4, 6)),
    'street_night': Corruption('street', street.street_night, (0.8, 0.4, 0.2, 0.1, 0.05)),
}
EVALUATED = tuple(name for name, corruption in CORRUPTIONS.items() if corruption.evaluated)
"""The 16 corruptions of Kamann and Rother (CVPR 2020) on Cityscapes, and the four on streets."""


def corrupt(image: np.ndarray, name: str, severity: int, seed: int = 0) -> np.ndarray:
    """Corrupt `image`, RGB uint8 (H, W, 3), at severity 1 to 5; returns a new array.

    The same image, name, severity and seed give the same result. Raises DgssError for an unknown
    name or severity.
    """
    constants = constants_of(name, severity)
    random = random_of(name, severity, seed)
    result = _known(name).function(image.astype(np.float32) / 255, random, *constants)
    return np.rint(np.clip(result, 0, 1) * 255).astype(np.uint8)


def constants_of(name: str, severity: int) -> tuple[Any, ...]:
    """The constants of a corruption. Raises DgssError for an unknown name or severity."""
    corruption = _known(name)
    if severity not in SEVERITIES:
        raise DgssError(f'The severity of {name} is {severity}; give one of 1 to 5.')
    constants = corruption.constants[severity - 1]
    return constants if isinstance(constants, tuple) else (constants,)


def random_of(name: str, severity: int, seed: int) -> np.random.Generator:
    """The random numbers of a corruption.

    They are keyed by name, not by position: a new corruption leaves the others unchanged.
    """
    return np.random.default_rng([seed, zlib.crc32(name.encode()), severity])


def training_corruptions(names: Iterable[str], allow_evaluated: bool = False) -> tuple[str, ...]:
    """Return `names` after checking that training may use them.

    Raises DgssError for a corruption that moves pixels, and, unless `allow_evaluated`, for one
    that is scored in evaluation: a score on a trained corruption does not measure robustness.
    """
    names = tuple(names)
    for name in names:
        corruption = _known(name)
        if corruption.moves:
            raise DgssError(f'{name} moves pixels away from their labels; training cannot use it.')
        if corruption.evaluated and not allow_evaluated:
            raise DgssError(
                f'{name} is scored in evaluation, so training may not see it; leave it out, or '
                'set allow_evaluated and do not report robustness to it.'
            )
    return names


def _known(name: str) -> Corruption:
    if name not in CORRUPTIONS:
        raise unknown('corruption', name, CORRUPTIONS)
    return CORRUPTIONS[name]
