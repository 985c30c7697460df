"""Flicker: how much a mask disagrees with an earlier one that is moved along the optical flow.

The idea is the temporal consistency of Varghese et al., "Unsupervised Temporal Consistency Metric
for Video Segmentation in Highly-Automated Driving", CVPR Workshops 2020, counted here in pixels.
The flow is Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016. Pixels that
are hidden in one of the frames are left out: there the flow forwards and backwards disagree
(Sundaram, Brox and Keutzer, "Dense Point Trajectories by GPU-accelerated Large Displacement
Optical Flow", ECCV 2010, eq. 5).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.evaluation.results import Flicker
from dgss_core.labels import IGNORE

STRIDES = (1, 2, 5, 10)
"""Frames from the earlier mask to the later one."""
WIDTH, LEAST_HEIGHT = 320, 16
"""Pixels of the images from which the flow is computed, and at which masks are compared."""
LEAST_SEEN = 0.25
"""A pair that shows less of the same scene, as a share of its pixels, is skipped: a cut, or a
motion too fast for the flow. It is 0.66 or more from frame to frame of synthetic drives in all
conditions at 10 Hz, and at most 0.06 between different drives, synthetic and of CamVid."""
Flow = tuple[np.ndarray, np.ndarray]
"""What `backward_flow` returns."""
NEIGHBOURS = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0)]


@dataclass(frozen=True)
class FlickerCounts:
    """Counts over pairs of frames, which add. `changed` of `pixels` changed their class.

    `pairs` of frames were compared; `skipped` pairs show too little of the same scene.
    """

    changed: int = 0
    pixels: int = 0
    pairs: int = 0
    skipped: int = 0

    def __add__(self, other: FlickerCounts) -> FlickerCounts:
        return FlickerCounts(
            self.changed + other.changed,
            self.pixels + other.pixels,
            self.pairs + other.pairs,
            self.skipped + other.skipped,
        )

    @property
    def value(self) -> float | None:
        """The share of pixels that changed, 0 to 1; None if nothing was compared."""
        return self.changed / self.pixels if self.pixels else None


@dataclass(frozen=True)
class Trace:
    """Where each pixel of a frame was in an earlier one.

    `x`, `y`: float32 (H, W), pixels. `seen`: bool (H, W), whether it was visible in every frame
    from the earlier one on.
    """

    x: np.ndarray
    y: np.ndarray
    seen: np.ndarray

    @classmethod
    def start(cls, height: int, width: int) -> Trace:
        """In the frame itself."""
        y, x = np.mgrid[:height, :width].astype(np.float32)
        return cls(x, y, np.ones((height, width), bool))

    def back(self, flow: np.ndarray, valid: np.ndarray) -> Trace:
        """One frame further back. `flow`, `valid`: as `backward_flow` returns them."""
        step = cv2.remap(flow, self.x, self.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        known = cv2.remap(valid.view(np.uint8), self.x, self.y, cv2.INTER_NEAREST)
        return Trace(self.x + step[..., 0], self.y + step[..., 1], self.seen & (known > 0))


class FlickerMeter:
    """Compares the masks of one camera on one drive with earlier ones, in their order.

    The flow is followed from frame to frame, which loses fewer pixels than a flow over ten frames.
    It is not exact to the pixel: a mask agrees with an earlier one where each finds the class
    of the other at most one pixel away, at the width of the flow. `strides`: 1 or more.

    The flow has a floor: of the exact labels of synthetic drives (day, night, rain; 640x360, seed
    3) 1 % change at stride 1 and 10 % at stride 10 with 10 frames per second, 0.4 % and 6 % with
    30. Compare runs on the same frames.
    """

    def __init__(self, strides: Sequence[int] = STRIDES) -> None:
        if not strides or min(strides) < 1:
            raise ValueError(f'strides are 1 or more frames, not {strides}')
        self.strides = tuple(strides)
        self._grey: np.ndarray | None = None
        # Both with the newest first.
        self._masks: deque[np.ndarray] = deque(maxlen=max(strides))
        self._flows: deque[tuple[Flow, int]] = deque(maxlen=max(strides))

    def add(
        self, image: np.ndarray, mask: np.ndarray, flow: Flow | None = None, step: int = 1
    ) -> dict[int, FlickerCounts]:
        """Compare the next frame with those before it; returns the counts by stride.

        `image`: RGB uint8 (H, W, 3). `mask`: uint8 (h, w) of any size. `flow`: to the frame
        before, as from `flow_between`, if it is known already. `step`: frames from the one before;
        2 if one between them is missing. A stride for which there is no frame is missing. Raises
        DgssError if a size differs from the frame before.
        """
        grey = _small_grey(image)
        if self._grey is not None:
            if (grey.shape, mask.shape) != (self._grey.shape, self._masks[0].shape):
                raise DgssError(
                    'The frames of a drive differ in size; measure the flicker of each size apart.'
                )
            self._flows.appendleft((flow or backward_flow(grey, self._grey), step))
        trace, stride, found = Trace.start(*grey.shape), 0, {}
        for (back, frames), past in zip(self._flows, self._masks, strict=True):
            stride += frames
            if stride > max(self.strides):
                break
            trace = trace.back(*back)
            if stride in self.strides:
                found[stride] = compare(mask, past, trace)
        self._grey = grey
        self._masks.appendleft(mask)
        return found


def flow_between(now: np.ndarray, past: np.ndarray) -> Flow | None:
    """The flow from an RGB image, uint8 (H, W, 3), to the one before; None for other sizes."""
    if now.shape != past.shape:
        return None
    return backward_flow(_small_grey(now), _small_grey(past))


def backward_flow(now: np.ndarray, past: np.ndarray) -> Flow:
    """The flow from a grey image to the one before, float32 (H, W, 2), and where it is valid.

    It is not valid, bool (H, W), where a pixel comes from outside the image, or was hidden.
    """
    height, width = now.shape
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow, forward = np.zeros((2, height, width, 2), np.float32)
    dis.calc(now, past, flow)
    dis.calc(past, now, forward)
    start = Trace.start(height, width)
    x, y = start.x + flow[..., 0], start.y + flow[..., 1]
    returned = cv2.remap(forward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    miss = np.square(flow + returned).sum(-1)
    length = (np.square(flow) + np.square(returned)).sum(-1)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return flow, inside & (miss < 0.01 * length + 0.5)


def compare(mask: np.ndarray, past: np.ndarray, trace: Trace) -> FlickerCounts:
    """Count the pixels whose class in `mask` is not that in `past`, where they come from.

    Both masks are uint8 (h, w). A pixel without a class (255) in both is not counted.
    """
    if trace.seen.mean() < LEAST_SEEN:
        return FlickerCounts(skipped=1)
    size = trace.seen.shape
    after, before = _sampled(mask, Trace.start(*size)), _sampled(past, trace)
    counted = trace.seen & ((after != IGNORE) | (before != IGNORE))
    rows, columns = np.nonzero(counted & (after != before))
    x, y = trace.x[rows, columns], trace.y[rows, columns]
    after, before = after[rows, columns], before[rows, columns]
    old, new = np.zeros((2, rows.size), bool)
    for right, down in NEIGHBOURS:
        old |= after == _look_up(past, x + right, y + down, size)
        new |= before == _look_up(mask, columns + right, rows + down, size)
    changed = int(np.count_nonzero(~(old & new)))
    return FlickerCounts(changed, int(np.count_nonzero(counted)), pairs=1)


def total(frames: Iterable[Mapping[int, FlickerCounts]]) -> dict[int, FlickerCounts]:
    """The sums by stride of what `FlickerMeter.add` returned."""
    sums: dict[int, FlickerCounts] = {}
    for frame in frames:
        for stride, counts in frame.items():
            sums[stride] = sums.get(stride, FlickerCounts()) + counts
    return sums


def flicker_scores(sums: Mapping[int, FlickerCounts]) -> dict[str, Flicker] | None:
    """Sums by stride in the form of the results; None without any."""
    return {
        str(stride): {
            'value': counts.value,
            'pairs': counts.pairs,
            'skipped': counts.skipped,
            'pixels': counts.pixels,
        }
        for stride, counts in sorted(sums.items())
    } or None


def _sampled(mask: np.ndarray, trace: Trace) -> np.ndarray:
    """A mask of any size at all places of a trace, uint8 (H, W): `_look_up`, but faster."""
    height, width = trace.seen.shape
    # Half a pixel back, as OpenCV rounds to the nearest centre, and a little on, for ties.
    x = (trace.x + 0.5) * (mask.shape[1] / width) - 0.499
    y = (trace.y + 0.5) * (mask.shape[0] / height) - 0.499
    return cv2.remap(mask, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def _look_up(mask: np.ndarray, x: np.ndarray, y: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A mask of any size at pixel positions `x`, `y` of an image of `size`, (height, width)."""
    row = ((y + 0.5) * (mask.shape[0] / size[0])).astype(int)
    column = ((x + 0.5) * (mask.shape[1] / size[1])).astype(int)
    return mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(column, 0, mask.shape[1] - 1)]


def _small_grey(image: np.ndarray) -> np.ndarray:
    height = max(LEAST_HEIGHT, round(WIDTH * image.shape[0] / image.shape[1]))
    small = cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
