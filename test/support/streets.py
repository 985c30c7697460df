"""Pictures with masks that the probe bundle is known to give: red // 16, confidence green."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dgss_core.images.frames import FIRST_STAMP_NS, Frame

HEIGHT, WIDTH = 48, 64


def blocks(seed: int) -> np.ndarray:
    """Random classes 0 to 15 in blocks of 8 pixels, uint8 (48, 64)."""
    few = np.random.default_rng(seed).integers(0, 16, (HEIGHT // 8, WIDTH // 8))
    return np.kron(few, np.ones((8, 8))).astype(np.uint8)


def picture(labels: np.ndarray, confidence: int = 200) -> np.ndarray:
    """An image that the probe bundle answers with `labels`, RGB uint8."""
    image = np.zeros((*labels.shape, 3), np.uint8)
    image[..., 0], image[..., 1] = labels * 16 + 8, confidence
    return image


def write_street(root: Path, conditions: dict[str, int], wrong_rows: int = 0) -> Path:
    """A dataset file; `conditions`: frames of each. The first rows of the labels differ."""
    for number, (condition, count) in enumerate(conditions.items()):
        for index in range(count):
            right = blocks(100 * number + index)
            labels = right.copy()
            labels[:wrong_rows] = (labels[:wrong_rows] + 1) % 16
            for kind, pixels in (('images', picture(right)[..., ::-1]), ('labels', labels)):
                file = root / 'street' / condition / kind / f'drive{index % 2}_{index}.png'
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), np.ascontiguousarray(pixels))
    description = root / 'street.yaml'
    description.write_text(
        "images: '{condition}/images/{drive}_{name}.png'\n"
        "labels: '{condition}/labels/{drive}_{name}.png'\n"
        "frame_name: '{condition}_{drive}_{name}'\n"
        'label_set: cityscapes19\n'
    )
    return description


def film(count: int, condition: str | None = None) -> list[Frame]:
    """Labelled frames, 0.1 s apart, that the probe bundle answers rightly."""
    return [
        Frame(
            f'{index:06d}',
            picture(blocks(index)),
            FIRST_STAMP_NS + index * 10**8,
            blocks(index),
            condition,
        )
        for index in range(count)
    ]
