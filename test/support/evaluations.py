"""Evaluations made up for the tests of reports: a real scoring of a made-up predictor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from dgss_core.evaluation.assembly import FORMAT, Settings, arrays, assemble
from dgss_core.evaluation.corruption_suite import CLEAN, Cell
from dgss_core.evaluation.counts import FrameCounts, PackedCounts
from dgss_core.evaluation.frames import FrameKey
from dgss_core.evaluation.report import Picture
from dgss_core.evaluation.results import Suite
from dgss_core.evaluation.scoring import ScoredFrame
from dgss_core.evaluation.suite_summary import suite_results
from dgss_core.labels import IGNORE, LabelSet

LABELS = LabelSet.load('cityscapes19')
SIZE = (160, 96)
"""(width, height) in pixels."""
ERRORS = {'day': 0.05, 'night': 0.4, 'fog': 0.25, 'rain': 0.15}
"""The share of the blocks of a mask that the made-up predictor gets wrong."""
BLOCK = 8


class Drives:
    """A drive for each condition, and masks and confidences of a made-up predictor.

    `each`: frames of a drive.
    """

    def __init__(self, each: int = 6, errors: dict[str, float] = ERRORS, seed: int = 0) -> None:
        scenes, predictions = np.random.default_rng(7), np.random.default_rng(seed)
        self.frames = []
        for condition, error in errors.items():
            for index in range(each):
                image, labels = _scene(scenes, dark=condition == 'night')
                mask, confidence = _predicted(labels, error, predictions)
                key = FrameKey(f'{condition}-{index:03d}', f'drive {condition}', condition, index)
                self.frames.append((key, image, labels, mask, confidence))

    def scored(self) -> list[ScoredFrame]:
        random = np.random.default_rng(1)
        return [
            ScoredFrame(
                key,
                0,
                place,
                PackedCounts.of(FrameCounts.of(mask, labels, confidence, classes=LABELS)),
                float(confidence.mean() / 255),
                shift=float(random.uniform(0, 2 + 4 * (key.condition != 'day'))),
                seconds=0.012,
            )
            for place, (key, _, labels, mask, confidence) in enumerate(self.frames)
        ]

    def pictures(self, places: Iterable[int]) -> list[Picture]:
        return [
            Picture(place, image, mask, labels, 'a note')
            for place in places
            for _, image, labels, mask, _ in [self.frames[place]]
        ]

    def results(self) -> dict[str, Any]:
        """What `dgss evaluate` writes without any option."""
        scored = self.scored()
        return {
            'format': FORMAT,
            'made': '2026-11-27T12:00:00+00:00',
            'command': 'dgss evaluate --bundle street --data drives.yaml --output out',
            'environment': {'dgss': '0.1.0', 'python': '3.11.7', 'cores': 2},
            'predictor': {
                'kind': 'bundle',
                'identity': 'street@12345678',
                'backend': 'onnxruntime CPU fp32',
                'merge': 'cityscapes19 to cityscapes19',
            },
            'protocol': 'protocol native (whole images)',
            'settings': {'band': 5, 'resamples': 50, 'seed': 0, 'tolerance_ms': 0.0},
            'sources': [
                {
                    'title': f'made-up drives, {len(scored)} frames',
                    'kind': 'dataset',
                    'frames': len(scored),
                    'predicted': len(scored),
                    'labelled': len(scored),
                }
            ],
            **assemble(scored, LABELS, Settings(resamples=50)),
            'problems': [],
        }

    def counts(self) -> dict[str, np.ndarray]:
        return dict(arrays(self.scored(), LABELS, band=5))


def _scene(random: np.random.Generator, dark: bool) -> tuple[np.ndarray, np.ndarray]:
    """An image of boxes in the colours of their classes, and its labels; 255 along the bottom."""
    width, height = SIZE
    labels = np.full((height, width), LABELS.names.index('sky'), np.uint8)
    for name, low, high in (('building', 0.3, 0.6), ('road', 0.55, 1.0), ('car', 0.5, 0.8)):
        left, right = np.sort(random.integers(0, width, 2)) if name != 'road' else (0, width)
        labels[int(low * height) : int(high * height), left : right + 1] = LABELS.names.index(name)
    labels[-4:] = IGNORE
    noise = random.normal(0, 12, (height, width, 1))
    image = LABELS.colors[labels] * (0.3 if dark else 0.9) + noise
    return np.clip(image, 0, 255).astype(np.uint8), labels


def _predicted(
    labels: np.ndarray, error: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Labels in which whole blocks are another class, and confidences that half know it."""
    height, width = labels.shape
    small = (-(-height // BLOCK), -(-width // BLOCK))

    def spread(blocks: np.ndarray) -> np.ndarray:
        size = (small[1] * BLOCK, small[0] * BLOCK)
        large = cv2.resize(blocks.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        return large[:height, :width]

    wrong = spread(random.random(small) < error).astype(bool)
    known = np.where(labels == IGNORE, 0, labels)
    mask = np.where(wrong, spread(random.integers(0, len(LABELS), small)), known)
    doubt = spread(random.integers(0, 90, small)) + 60 * wrong * (random.random() < 0.8)
    return mask.astype(np.uint8), (255 - doubt).astype(np.uint8)


def suite(loss: float) -> Suite:
    """A predictor that gets a share `loss` of the blocks more wrong for every severity."""
    random = np.random.default_rng(4)
    _, labels = _scene(random, dark=False)

    def counted(error: float) -> FrameCounts:
        mask, confidence = _predicted(labels, error, random)
        return FrameCounts.of(mask, labels, confidence, classes=LABELS)

    cells = {CLEAN: counted(0.05)}
    for place, name in enumerate(('gaussian_noise', 'fog', 'motion_blur', 'street_night'), 1):
        for severity in (1, 3, 5):
            cells[Cell(name, severity)] = counted(0.05 + loss * place * severity)
    return suite_results(cells)


def everything(results: dict[str, Any]) -> dict[str, Any]:
    """`results` with every optional part."""
    random = np.random.default_rng(2)
    latencies = random.gamma(4, 6, 400) + 12
    percentiles = dict(
        zip(('p50', 'p95', 'p99'), np.quantile(latencies, (0.5, 0.95, 0.99)), strict=True)
    )
    for frame in results['frames']:
        frame['flicker'] = float(random.uniform(0, 0.1))
    for place, found in enumerate(results['conditions'].values()):
        found['flicker'] = {
            stride: {'value': 0.01 * place + 0.005 * n, 'pairs': 9, 'skipped': 0, 'pixels': 99}
            for n, stride in enumerate(('1', '2', '5', '10'))
        }
        found['ood'] = {'pixels': 900, 'auroc': 0.8, 'auprc': 0.4, 'fpr95': 0.3}
    return results | {
        'bravo': {
            'conditions': {'night': 0.4, 'fog': 0.5},
            'semantic': 0.5,
            'ood': 0.4,
            'index': 0.44,
        },
        'monitor': {
            'threshold': 3.2,
            'auroc': 0.91,
            'alarm_share': {'day': 0.02, 'night': 0.97, 'fog': None},
        },
        'corruptions': suite(0.02),
        'against': {
            'kind': 'bundle',
            'identity': 'other@87654321',
            'backend': 'onnxruntime CPU fp32',
            'corruptions': suite(0.06),
        },
        'live': {
            'sent': 400,
            'received': 399,
            'drop_rate': 0.0025,
            'rate_hz': 29.7,
            'latency_ms': percentiles,
            'latencies_ms': latencies.tolist(),
            'age_ms': {'p50': 40.0, 'p95': 60.0, 'p99': None},
            'cpu_percent': 143.0,
            'memory_mib': 512.0,
        },
        'verdicts': [
            _verdict('mIoU', 'night', '>= 0.45', 0.31, 'fail', 'It is 0.31, below 0.45.'),
            _verdict('mIoU', 'all', '>= 0.40', 0.52, 'pass', ''),
            _verdict('drop_rate', '', '<= 0.01', None, 'not measured', 'It needs a replay.'),
        ],
        'label_next': ['night-004', 'fog-002'],
        'problems': [
            {
                'what': 'An image has no labels and is not scored; add its label file.',
                'count': 240,
                'frames': [f'frame-{number:06d}' for number in range(100)],
            },
            {'what': 'A stamp is zero; set the clock.', 'count': 1, 'frames': ['night-001']},
        ],
    }


def _verdict(
    criterion: str, condition: str, wanted: str, measured: float | None, outcome: str, reason: str
) -> dict[str, Any]:
    return {
        'criterion': criterion,
        'condition': condition,
        'wanted': wanted,
        'measured': measured,
        'outcome': outcome,
        'reason': reason,
    }
