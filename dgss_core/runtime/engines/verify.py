"""Compare the answers of a backend on this machine with those of the reference.

Engines in low precision can be wrong without any error: fused attention in fp16 and bf16 is the
known case. Such a fault shows only on the machine that runs the engine. Therefore the engine runs
on frames with masks from the fp32 reference, for each condition, before it is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import TypedDict

import numpy as np

from dgss_core.confusion import ConfusionMatrix
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.runtime.backend import Backend, run_network
from dgss_core.runtime.bundle import CONFIDENCE, MASK, ReferenceFrame

SURE = 128
"""Least confidence of a sure pixel of the reference; below it, rounding decides the class."""

COUNTED_PIXELS = 500
"""A class with fewer sure pixels in the reference is too rare for a gate of its own."""


@dataclass(frozen=True)
class Gates:
    """Limits that an engine must meet in every condition.

    `sure`, `agreement`: least share of pixels with the reference's class, among the sure pixels
    and among all. `class_iou`: least intersection over union with the reference on sure pixels,
    for every class that is not rare. `confidence`: largest mean difference, of 255. `miou_drop`,
    `condition_miou_drop`: largest loss of mIoU against labels, in points of 100, over all frames
    and in the worst condition.
    """

    sure: float
    agreement: float
    class_iou: float
    confidence: float
    miou_drop: float
    condition_miou_drop: float


GATES = {
    'fp32': Gates(0.9999, 0.999, 0.99, 1.0, 0.1, 0.2),
    'fp16': Gates(0.999, 0.995, 0.95, 2.0, 0.2, 0.5),
    'bf16': Gates(0.995, 0.97, 0.9, 6.0, 0.2, 0.5),
    'int8': Gates(0.985, 0.95, 0.5, 10.0, 1.0, 2.0),
}
"""Per run-time precision. For int8 prefer the mIoU gates, which need labels."""


class LabelFigures(TypedDict, total=False):
    """Figures against labels: mIoU of the engine and the reference, 0 to 1; the drop in points."""

    miou: float
    reference_miou: float
    miou_drop: float


class Figures(LabelFigures):
    """Figures of one condition, in the form of the report.

    `sure`, `agreement`, `worst_frame`: shares of equal pixels, 0 to 1. `confidence_difference`:
    mean, of 255. `class_iou`: by class name, without rare classes. The figures against labels
    exist only if there are labels.
    """

    frames: int
    sure: float
    agreement: float
    worst_frame: float
    confidence_difference: float
    class_iou: dict[str, float]


@dataclass
class Condition:
    """Counts of all frames of one condition.

    `merge`: from ids to those of the labels, of `labelled` classes, uint8 (256,), 255 for none.
    """

    classes: int
    merge: np.ndarray
    labelled: int
    frames: int = 0
    differing: int = 0
    pixels: int = 0
    sure: int = 0
    sure_differing: int = 0
    worst_frame: float = 1.0
    confidence: float = 0.0
    against_reference: ConfusionMatrix = field(init=False)
    engine_labels: ConfusionMatrix = field(init=False)
    reference_labels: ConfusionMatrix = field(init=False)

    def __post_init__(self) -> None:
        self.against_reference = ConfusionMatrix(self.classes)
        self.engine_labels = ConfusionMatrix(self.labelled)
        self.reference_labels = ConfusionMatrix(self.labelled)

    def add(
        self, frame: ReferenceFrame, outputs: dict[str, np.ndarray], labels: np.ndarray | None
    ) -> None:
        mask = outputs[MASK][0]
        differs, sure = mask != frame.mask, frame.confidence >= SURE
        differing = np.count_nonzero(differs)
        self.frames += 1
        self.sure += np.count_nonzero(sure)
        self.sure_differing += np.count_nonzero(differs & sure)
        self.differing += differing
        self.pixels += mask.size
        self.worst_frame = min(self.worst_frame, 1 - differing / mask.size)
        difference = np.abs(outputs[CONFIDENCE][0].astype(int) - frame.confidence)
        self.confidence += float(difference.sum())
        # A wrong engine may return ids without a class; they count as no label.
        known = np.where(mask < self.classes, mask, IGNORE).astype(np.uint8)
        self.against_reference.add(known, np.where(sure, frame.mask, IGNORE))
        if labels is not None:
            self.engine_labels.add(self.merge[known], labels)
            self.reference_labels.add(self.merge[frame.mask], labels)

    def __iadd__(self, other: Condition) -> Condition:
        self.frames += other.frames
        self.differing += other.differing
        self.pixels += other.pixels
        self.sure += other.sure
        self.sure_differing += other.sure_differing
        self.worst_frame = min(self.worst_frame, other.worst_frame)
        self.confidence += other.confidence
        self.against_reference += other.against_reference
        self.engine_labels += other.engine_labels
        self.reference_labels += other.reference_labels
        return self

    def figures(self, label_set: LabelSet) -> Figures:
        counted = self.against_reference.counts.sum(1) >= COUNTED_PIXELS
        iou = self.against_reference.iou()
        figures: Figures = {
            'frames': self.frames,
            'sure': 1 - self.sure_differing / max(1, self.sure),
            'agreement': 1 - self.differing / self.pixels,
            'worst_frame': self.worst_frame,
            'confidence_difference': self.confidence / self.pixels,
            'class_iou': {
                name: float(iou[index])
                for index, name in enumerate(label_set.names)
                if counted[index]
            },
        }
        if self.engine_labels.counts.any():
            figures |= {
                'miou': self.engine_labels.miou,
                'reference_miou': self.reference_labels.miou,
                'miou_drop': 100 * (self.reference_labels.miou - self.engine_labels.miou),
            }
        return figures


@dataclass(frozen=True)
class Outcome:
    """`conditions` and `total`: figures; `reasons`: a sentence per gate that is not met."""

    conditions: dict[str, Figures]
    total: Figures
    gates: Gates
    reasons: list[str]

    @property
    def passed(self) -> bool:
        return not self.reasons


def compare(
    backend: Backend,
    frames: Iterable[tuple[ReferenceFrame, np.ndarray | None]],
    label_set: LabelSet,
    gates: Gates,
    labelled_in: LabelSet | None = None,
) -> Outcome:
    """Run `backend` on `frames` and compare its answers with those in the frames.

    Each frame has labels, uint8 (H, W) at network size, ids of `labelled_in` and 255, or None.
    `label_set`: of the masks, and by default of the labels. Raises ValueError without frames, and
    DgssError if the one has no merge to the other.
    """
    scored = labelled_in or label_set
    new = partial(Condition, len(label_set), label_set.merge_to(scored), len(scored))
    conditions: dict[str, Condition] = {}
    invalid: list[str] = []
    for frame, labels in frames:
        outputs = run_network(backend, frame.image[None])
        condition = conditions.setdefault(frame.condition, new())
        condition.add(frame, outputs, labels)
        invalid += [f'{frame.name}: {what}' for what in _invalid_outputs(outputs)]
    if not conditions:
        raise ValueError('there is no frame to compare on')
    total = new()
    for condition in conditions.values():
        total += condition
    figures = {name: each.figures(label_set) for name, each in sorted(conditions.items())}
    overall = total.figures(label_set)
    missed = [
        f'{name}: {reason}'
        for name, each in figures.items()
        for reason in _missed(each, gates, gates.condition_miou_drop)
    ]
    missed += [f'total: {reason}' for reason in _missed(overall, gates, gates.miou_drop)]
    return Outcome(figures, overall, gates, invalid + missed)


def _invalid_outputs(outputs: dict[str, np.ndarray]) -> list[str]:
    """Name outputs that are wrong for every image."""
    found = [
        f'{name} holds values that are not numbers (NaN)'
        for name, values in outputs.items()
        if values.dtype.kind == 'f' and not np.isfinite(values).all()
    ]
    if not outputs[CONFIDENCE].any():
        found.append('every confidence is 0, as a network gives that computes NaN')
    return found


def _missed(figures: Figures, gates: Gates, miou_drop: float) -> list[str]:
    reasons = []
    for which, share, least in (
        ('pixels that the reference is sure of', figures['sure'], gates.sure),
        ('pixels', figures['agreement'], gates.agreement),
    ):
        if share < least:
            reasons.append(f'{share:.2%} of the {which} have its class, {least:.2%} must')
    worst, iou = min(figures['class_iou'].items(), key=itemgetter(1), default=('', 1.0))
    if iou < gates.class_iou:
        reasons.append(
            f'{worst} overlaps with the reference by {iou:.1%}, {gates.class_iou:.0%} must'
        )
    if figures['confidence_difference'] > gates.confidence:
        reasons.append(
            f'confidence is off by {figures["confidence_difference"]:.1f} of 255, '
            f'{gates.confidence:.0f} may be'
        )
    if figures.get('miou_drop', 0) > miou_drop:
        reasons.append(f'mIoU drops by {figures["miou_drop"]:.2f} points, {miou_drop:.1f} may be')
    return reasons
