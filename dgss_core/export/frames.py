"""Frames for an export: for calibration, and to store with the fp32 answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from dgss_core.errors import DgssError
from dgss_core.export.network import Answers, DeployedNetwork
from dgss_core.images.folder import folders_in
from dgss_core.inputs import read_frames
from dgss_core.runtime.bundle import ReferenceFrame
from dgss_core.runtime.prediction import Prediction
from dgss_core.runtime.segmenter import resize_to_network
from dgss_core.synthetic import CONDITIONS, StreetDrive
from dgss_core.synthetic.drive import SMALLEST

SEED = 20260
"""First seed of the synthetic drives; higher than all seeds for training and scores."""

Images = dict[str, list[np.ndarray]]
"""RGB images of one size, uint8 (H, W, 3), by condition."""


def images_by_condition(
    folder: Path | None, *, height: int, width: int, count: int, topic: str | None = None
) -> Images:
    """Read `count` images per condition, evenly from `folder`/CONDITION, at network size.

    `topic`: image topic, if a CONDITION is a bag that has several. None renders frames of the
    synthetic drive. Raises DgssError if no sub-folder is named after a condition, and as
    `read_frames` does.
    """
    if folder is None:
        return {
            condition: [
                _rendered(condition, index, height=height, width=width) for index in range(count)
            ]
            for condition in CONDITIONS
        }
    return {
        condition: [
            resize_to_network(image, height=height, width=width)
            for image in _spread(folder / condition, count, topic)
        ]
        for condition in conditions_in(folder)
    }


def conditions_in(folder: Path) -> list[str]:
    """The conditions that sub-folders of `folder` are named after; DgssError without one."""
    found = folders_in(Path(folder), CONDITIONS)
    if not found:
        raise DgssError(
            f'{folder} holds no folder that is named after a condition; put the images into '
            f'sub-folders such as {folder}/day, of {", ".join(CONDITIONS)}.'
        )
    return found


def predict(network: DeployedNetwork, image: np.ndarray) -> Prediction:
    """The answer of `network` for an RGB image, uint8 (H, W, 3), at the size of the image."""
    with torch.no_grad():
        answers: Answers = network(
            torch.from_numpy(np.require(image, requirements=['C', 'W']))[None]
        )
    return Prediction(**{name: part[0].numpy() for name, part in answers._asdict().items()})


def reference_frames(network: DeployedNetwork, images: Images) -> list[ReferenceFrame]:
    """`images` with the answers of the fp32 `network`."""
    frames = []
    for condition, group in images.items():
        for index, image in enumerate(group):
            found, name = predict(network, image), f'{condition}_{index}'
            frames.append(ReferenceFrame(name, condition, image, found.mask, found.confidence))
    return frames


def _rendered(condition: str, index: int, *, height: int, width: int) -> np.ndarray:
    # The street is not drawn at sizes below SMALLEST, which a network may have.
    drive = StreetDrive(
        SEED + index, condition, width=max(width, SMALLEST), height=max(height, SMALLEST)
    )
    return resize_to_network(drive.frame(30 * index).image, height=height, width=width)


def _spread(folder: Path, count: int, topic: str | None) -> Iterator[np.ndarray]:
    source = read_frames(folder, topic)
    length = source.length or 0
    chosen = {round(index * (length - 1) / max(1, count - 1)) for index in range(count)}
    return (frame.image for index, frame in enumerate(source) if index in chosen)
