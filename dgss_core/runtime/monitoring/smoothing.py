"""Less flicker in masks: the evidence of each frame is averaged with that of earlier frames.

Every pixel keeps an exponential average of the evidence for its two strongest classes. The
evidence for a class is its confidence in frames whose mask shows it, and 0 in others. The
uncertainty is averaged with the same weights. A third
class replaces the weaker one as soon as it has more evidence, as in the counting of frequent items
by Metwally et al., "Efficient computation of frequent and top-k elements in data streams", ICDT
2005. Memory and time are therefore bounded for any number of classes.

The weight of the past decreases with the difference between the frame and the one before it,
optionally taken along the optical flow. Gating by the error of the flow is from Nilsson and
Sminchisescu, "Semantic Video Segmentation by Gated Recurrent Flow Propagation", CVPR 2018, sec. 3;
the flow is Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dgss_core.labels import IGNORE
from dgss_core.runtime.prediction import Prediction

GREY_WIDTH = 320
"""Width in pixels at which frames are compared and the flow is computed."""
GREY_TOLERANCE = 5.0
"""Difference in grey levels (of 255) that reduces the weight of the past to 1/e."""
CUT = 0.33
"""A mean trust below this is a cut. On synthetic drives in all conditions the mean is 0.46 or more
from frame to frame at 10 Hz, and at most 0.32 between different drives."""
LONGEST_GAP_NS = 500_000_000


@dataclass
class _State:
    """Averages up to the last frame. `classes`, `evidence`: (H, W) each, the strongest first.

    `uncertainty`: float32 (H, W), 0 to 255; None if the network gives none.
    """

    stamp_ns: int
    grey: np.ndarray
    classes: tuple[np.ndarray, np.ndarray]
    evidence: tuple[np.ndarray, np.ndarray]
    uncertainty: np.ndarray | None = None


class TemporalSmoother:
    """Smooths the predictions of one camera, in their order, from one thread at a time."""

    def __init__(self) -> None:
        self._state: _State | None = None
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def __call__(
        self,
        image: np.ndarray,
        prediction: Prediction,
        stamp_ns: int,
        weight: float,
        motion: bool = False,
    ) -> Prediction:
        """Smooth the prediction for `image`, RGB uint8 (H, W, 3), with those before it.

        `weight`: of the past, 0 (off) to below 1. `motion`: move the past along the optical flow.
        The prediction is returned unchanged if smoothing is off, for the first frame, and after a
        cut, a gap of half a second, a stamp that goes back or a change of size. Raises ValueError
        for another weight.
        """
        if not 0 <= weight < 1:
            raise ValueError(f'the weight of the past must be 0 to below 1, not {weight}')
        if not weight:
            self._state = None
            return prediction
        now = _begin(image, prediction, stamp_ns)
        before = self._before(now, motion)
        if before is None:
            self._state = now
            return prediction
        past, trust = before
        self._state = _average(past, now, trust * np.float32(weight))
        unsure = self._state.uncertainty
        return replace(
            prediction,
            mask=self._state.classes[0],
            confidence=np.rint(self._state.evidence[0]).astype(np.uint8),
            uncertainty=None if unsure is None else np.rint(unsure).astype(np.uint8),
        )

    def _before(self, now: _State, motion: bool) -> tuple[_State, np.ndarray] | None:
        """The last state, moved to this frame, with its trust, float32 (H, W), 0 to 1.

        None if no earlier frame belongs to this scene.
        """
        past = self._state
        if past is None or past.classes[0].shape != now.classes[0].shape:
            return None
        if not 0 <= now.stamp_ns - past.stamp_ns <= LONGEST_GAP_NS:
            return None
        grey, flow = past.grey, None
        visible: np.ndarray | float = 1.0
        if motion:
            flow = np.zeros((*grey.shape, 2), np.float32)
            self._flow.calc(now.grey, past.grey, flow)
            x, y = _moved_grid(flow)
            grey = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            height, width = grey.shape
            visible = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        difference = cv2.blur(cv2.absdiff(now.grey, grey), (5, 5)).astype(np.float32)
        trust = np.exp(-np.square(difference / GREY_TOLERANCE)) * visible
        if trust.mean() < CUT:
            return None
        size = now.classes[0].shape[1::-1]
        return _move(past, flow, size), cv2.resize(trust, size)


def _begin(image: np.ndarray, prediction: Prediction, stamp_ns: int) -> _State:
    size = (GREY_WIDTH, max(16, round(GREY_WIDTH * image.shape[0] / image.shape[1])))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    mask, confidence = prediction.mask, prediction.confidence
    return _State(
        stamp_ns,
        cv2.cvtColor(small, cv2.COLOR_RGB2GRAY),
        (mask, np.full_like(mask, IGNORE)),
        (confidence.astype(np.float32), np.zeros(mask.shape, np.float32)),
        None if prediction.uncertainty is None else prediction.uncertainty.astype(np.float32),
    )


def _average(past: _State, now: _State, weight: np.ndarray) -> _State:
    """Average by `weight` for the past and 1 - `weight` for the present, per pixel."""
    (first, second), mask = past.classes, now.classes[0]
    new = now.evidence[0] * (1 - weight)
    strong, weak = (evidence * weight for evidence in past.evidence)
    same = mask == first
    strong += new * same
    new[same] = 0
    # The weaker class gains evidence, or a third class replaces it, or neither.
    gained = np.where(mask == second, weak + new, np.maximum(weak, new))
    second = np.where(new > weak, mask, second)
    swapped = gained > strong
    unsure = now.uncertainty
    if unsure is not None and past.uncertainty is not None:
        unsure = unsure + (past.uncertainty - unsure) * weight
    return replace(
        now,
        uncertainty=unsure,
        classes=(np.where(swapped, second, first), np.where(swapped, first, second)),
        evidence=(np.maximum(strong, gained), np.minimum(strong, gained)),
    )


def _move(state: _State, flow: np.ndarray | None, size: tuple[int, int]) -> _State:
    """Move the state along `flow`, float32 (h, w, 2) at the size of the grey image."""
    if flow is None:
        return state
    scale = np.array([size[0] / flow.shape[1], size[1] / flow.shape[0]], np.float32)
    x, y = _moved_grid(cv2.resize(flow, size) * scale)
    # With fixed-point maps the four moves are twice as fast.
    maps = cv2.convertMaps(x, y, cv2.CV_16SC2, nninterpolation=True)

    def moved(plane: np.ndarray, outside: int) -> np.ndarray:
        return cv2.remap(plane, maps[0], maps[1], cv2.INTER_NEAREST, borderValue=outside)

    (first, second), (strong, weak), unsure = state.classes, state.evidence, state.uncertainty
    return replace(
        state,
        classes=(moved(first, IGNORE), moved(second, IGNORE)),
        evidence=(moved(strong, 0), moved(weak, 0)),
        uncertainty=None if unsure is None else moved(unsure, 255),
    )


def _moved_grid(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The earlier position of each pixel: x and y, float32 (H, W) each."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return x, y
