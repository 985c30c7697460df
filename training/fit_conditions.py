"""Fit the estimator of conditions, `dgss_core/evaluation/conditions.json`.

    python training/fit_conditions.py ~/data

The folder holds camvid and kitti, as `dgss data check` reads them. Of real drives only daylight is
used; dusk, night, fog, rain and snow are painted into it, coarsely and in many strengths. The
test frames are others: see the table that it prints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from dgss_core.datasets import build_dataset
from dgss_core.evaluation.estimation import MODEL, SIZE, ConditionModel, photometry
from dgss_core.synthetic import CONDITIONS, StreetDrive

SEEDS = range(40, 52)
COPIES = {'synthetic': 6, 'real': 2}
"""Augmented copies of each frame."""
STEPS, RATE, DECAY = 500, 0.02, 0.05


Painter = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Takes and returns an image, RGB float32 (H, W, 3) in 0 to 1."""


def main() -> None:
    random = np.random.default_rng(0)
    data = Path(sys.argv[1])
    rows, labels = [], []
    for number, condition in enumerate(CONDITIONS):
        for image in (*_synthetic(condition), *_real(data, random, condition)):
            rows.append(photometry(image))
            labels.append(number)
    model = fit(np.array(rows), np.array(labels))
    stored = {name: np.round(value, 5).tolist() for name, value in vars(model).items()}
    MODEL.write_text(json.dumps(stored) + '\n')
    for spec, truth in (('day_test', 'day'), ('dusk', 'dusk')):
        dataset = build_dataset('camvid', data / 'camvid', spec)
        images = [dataset[index].image for index in range(len(dataset))]
        found = [CONDITIONS[int(model.log_odds(image).argmax())] for image in images]
        print(f'camvid:{spec}: {found.count(truth)} of {len(found)} frames alone are {truth}')


def fit(rows: np.ndarray, labels: np.ndarray) -> ConditionModel:
    """Logistic regression in which every condition counts alike."""
    torch.manual_seed(0)
    mean, std = rows.mean(0), rows.std(0) + 1e-6
    inputs = torch.tensor((rows - mean) / std, dtype=torch.float32)
    layer = torch.nn.Linear(rows.shape[1], len(CONDITIONS))
    share = 1 / torch.bincount(torch.tensor(labels), minlength=len(CONDITIONS))
    optimiser = torch.optim.AdamW(layer.parameters(), RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(layer(inputs), torch.tensor(labels), share)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    weights, bias = (value.detach().double().numpy() for value in (layer.weight, layer.bias))
    return ConditionModel(mean, std, weights, bias)


def _synthetic(condition: str) -> Iterator[np.ndarray]:
    random = np.random.default_rng(1)
    for seed in SEEDS:
        drive = StreetDrive(seed, condition, width=320, height=192)
        for index in (0, 40):
            image = cv2.resize(drive.frame(index).image, SIZE, interpolation=cv2.INTER_AREA)
            for _ in range(COPIES['synthetic']):
                yield other_camera(_unit(image), random)


def _real(data: Path, random: np.random.Generator, condition: str) -> Iterator[np.ndarray]:
    for name, split in (('camvid', 'day_train'), ('kitti', None)):
        dataset = build_dataset(name, data / name, split)
        for index in range(0, len(dataset), 4):
            image = cv2.resize(dataset[index].image, SIZE, interpolation=cv2.INTER_AREA)
            for _ in range(COPIES['real']):
                yield other_camera(PAINTERS[condition](_unit(image), random), random)


def _unit(image: np.ndarray) -> np.ndarray:
    return np.asarray(image, np.float32) / 255


def other_camera(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The scene through another camera: framing, exposure, tone, colour, sharpness, noise.

    `image`: RGB float32 (H, W, 3) in 0 to 1; returns uint8 of the same size.
    """
    height, width = image.shape[:2]
    top, left = random.integers(0, height // 5 + 1), random.integers(0, width // 5 + 1)
    bottom, right = random.integers(0, height // 6 + 1), random.integers(0, width // 6 + 1)
    image = cv2.resize(image[top : height - bottom, left : width - right], (width, height))
    image = image ** random.uniform(0.75, 1.35)
    image = image * random.uniform(0.8, 1.25) * random.uniform(0.9, 1.1, 3)
    image = _saturated(image, random.uniform(0.5, 1.3))
    image = _contrasted(image, random.uniform(0.85, 1.15))
    if random.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.3, 1))
    if random.random() < 0.4:
        image = image + random.normal(0, random.uniform(0, 0.03), image.shape)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def _saturated(image: np.ndarray, factor: float) -> np.ndarray:
    grey = image.mean(2, keepdims=True)
    return np.asarray(grey + (image - grey) * factor)


def _contrasted(image: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(image.mean() + (image - image.mean()) * factor)


def _down(image: np.ndarray) -> np.ndarray:
    """0 at the top to 1 at the bottom, (H, 1, 1)."""
    return np.linspace(0, 1, len(image), dtype=np.float32)[:, None, None]


def day(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return image


def dusk(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The sky is still bright, the ground is not."""
    horizon, width = random.uniform(0.35, 0.55), random.uniform(6, 20)
    sky = 1 / (1 + np.exp((_down(image) - horizon) * width))
    light = random.uniform(0.4, 0.9) * sky + random.uniform(0.2, 0.6) * (1 - sky)
    colour = np.array([random.uniform(0.85, 1.15), 1, random.uniform(0.85, 1.2)])
    return _saturated(image ** random.uniform(1, 1.7) * light * colour, random.uniform(0.8, 1.8))


def night(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Little light, lamps, noise."""
    image = image**1.5 * random.uniform(0.06, 0.25)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    for _ in range(random.integers(2, 9)):
        row = random.integers(len(image) // 4, len(image) * 3 // 4)
        column, size = random.integers(0, image.shape[1]), random.uniform(1, 6)
        glow = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * size**2))
        image = image + random.uniform(0.4, 1) * glow[..., None] * np.array([1, 0.9, 0.6])
    return np.asarray(image + random.normal(0, 0.02, image.shape))


def fog(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Airlight by distance, or in banks."""
    if random.random() < 0.5:
        height = _down(image)
        far = [np.clip(1 - abs(height - 0.45) * 1.4, 0, 1), np.clip(1 - height * 0.9, 0.1, 1)]
        clear = np.exp(-random.uniform(0.7, 3) * far[random.integers(2)])
    else:
        coarse = random.random((random.integers(2, 6), random.integers(2, 8)), np.float32)
        size = image.shape[1::-1]
        banks = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)[..., None] - 0.5
        clear = np.clip(random.uniform(0.3, 0.7) + banks * random.uniform(0, 0.6), 0.05, 1)
    return np.asarray(image * clear + random.uniform(0.55, 1) * (1 - clear))


def rain(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Grey, soft, and mirrored in the road."""
    image = _saturated(image, random.uniform(0.4, 0.8)) * random.uniform(0.55, 0.85)
    image = _contrasted(image, random.uniform(0.5, 0.85))
    half = len(image) // 2
    image[-half:] = 0.6 * image[-half:] + 0.4 * image[:half][::-1]
    return np.asarray(cv2.GaussianBlur(image, (0, 0), random.uniform(0.5, 1.2)))


def snow(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """White ground, little colour, flakes."""
    cover = random.uniform(0.5, 0.95) * (_down(image) > random.uniform(0.45, 0.6))
    grey = image.mean(2, keepdims=True)
    image = image * (1 - cover) + cover * np.clip(0.55 + 0.5 * grey, 0, 1)
    image = _saturated(image, random.uniform(0.2, 0.7))
    flakes = random.random((*image.shape[:2], 1)) < random.uniform(0, 0.03)
    return np.where(flakes, 0.95, image)


PAINTERS: dict[str, Painter] = {
    'day': day,
    'dusk': dusk,
    'night': night,
    'fog': fog,
    'rain': rain,
    'snow': snow,
}


if __name__ == '__main__':
    main()
