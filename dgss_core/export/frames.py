"""Frames that go with an export: to calibrate on, and to keep with the fp32 answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from dgss_core.errors import DgssError
from dgss_core.export.network import DeployedNetwork
from dgss_core.inputs import read_frames
from dgss_core.runtime.bundle import ReferenceFrame
from dgss_core.runtime.segmenter import Prediction, fit
from dgss_core.synthetic import CONDITIONS, StreetDrive

SEED = 20260
"""Of the synthetic drives; no drive that is trained or scored on has a seed that high."""

Images = dict[str, list[np.ndarray]]
"""RGB images of one size, uint8 (H, W, 3), by condition."""


def images_by_condition(folder: Path | None, height: int, width: int, count: int) -> Images:
    """`count` images per condition, evenly spread over `folder`/CONDITION, at network size.

    None takes frames of the synthetic drive. Raises DgssError for a folder without a sub-folder
    that is named after a condition, and as `read_frames` does.
    """
    if folder is None:
        return {
            condition: [_rendered(condition, index, height, width) for index in range(count)]
            for condition in CONDITIONS
        }
    found = [condition for condition in CONDITIONS if (Path(folder) / condition).is_dir()]
    if not found:
        raise DgssError(
            f'{folder} holds no folder that is named after a condition; put the images into '
            f'sub-folders such as {folder}/day, of {", ".join(CONDITIONS)}.'
        )
    return {
        condition: [fit(image, width, height) for image in _spread(folder / condition, count)]
        for condition in found
    }


def predict(network: DeployedNetwork, image: np.ndarray) -> Prediction:
    """What `network` answers for an RGB image, uint8 (H, W, 3), at the size it has."""
    with torch.no_grad():
        answers = network(torch.from_numpy(np.ascontiguousarray(image))[None])
    return Prediction(*(answer[0].numpy() for answer in answers))


def reference_frames(network: DeployedNetwork, images: Images) -> list[ReferenceFrame]:
    """`images` with the answers of `network`, which is in fp32."""
    frames = []
    for condition, pictures in images.items():
        for index, image in enumerate(pictures):
            found, name = predict(network, image), f'{condition}_{index}'
            frames.append(ReferenceFrame(name, condition, image, found.mask, found.confidence))
    return frames


def _rendered(condition: str, index: int, height: int, width: int) -> np.ndarray:
    drive = StreetDrive(SEED + index, condition, width=width, height=height)
    return drive.frame(30 * index).image


def _spread(folder: Path, count: int) -> Iterator[np.ndarray]:
    source = read_frames(folder)
    length = source.length or 0
    chosen = {round(index * (length - 1) / max(1, count - 1)) for index in range(count)}
    return (frame.image for index, frame in enumerate(source) if index in chosen)
