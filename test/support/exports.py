"""An evaluation of a drive and of a data set, whose frames are known, to export."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from evaluated import evaluate
from streets import blocks, film, write_street

from dgss_core.bags import write_bag
from dgss_core.runtime.bundle import Bundle

WRONG_ROWS = 12
"""Rows of every labelled frame in which the labels are another class than the mask."""


@dataclass(frozen=True)
class Exported:
    """`masks`, `labels`: of the frames of the drive, uint8 (48, 64)."""

    drive: Path
    output: Path
    masks: list[np.ndarray]
    labels: list[np.ndarray | None]


def export(
    folder: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str], *formats: str
) -> Exported:
    """Evaluate four frames of a drive, the last without labels, and two pictures of a data set."""
    masks = [blocks(seed) for seed in range(4)]
    labels: list[np.ndarray | None] = []
    for mask in masks[:3]:
        shifted = mask.copy()
        shifted[:WRONG_ROWS] = (shifted[:WRONG_ROWS] + 1) % 16
        shifted[-4:] = 255
        labels.append(shifted)
    labels.append(None)
    names = ('day', 'day', 'night', 'night')
    frames = [
        replace(frame, labels=of_frame, condition=condition)
        for frame, of_frame, condition in zip(film(4), labels, names, strict=True)
    ]
    write_bag(folder / 'drive', frames)
    data = write_street(folder, {'fog': 2})
    code, out, err = evaluate(
        capsys, '--bundle', bundle.folder, '--bag', folder / 'drive', '--data', data,
        '--root', folder, '--output', folder / 'out', '--resamples', 20, '--export', *formats,
    )  # fmt: skip
    assert code == 1, err  # A frame has no labels.
    for name in formats:
        assert f'{folder / "out" / name}\n' in out
    return Exported(folder / 'drive', folder / 'out', masks, labels)
