"""Proof that a backend answers on this machine what the reference answers.

Engines in low precision can be wrong without any error: fused attention in fp16 and bf16 is the
known case, and only the machine that runs an engine can tell. So the engine itself is run on
frames whose masks the fp32 reference gave, condition by condition, before it is trusted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np

from dgss_core.confusion import ConfusionMatrix
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.runtime.backend import Backend
from dgss_core.runtime.bundle import CONFIDENCE, MASK, ReferenceFrame

SURE = 128
"""Confidence from which on the reference is sure of a pixel; of others, rounding decides."""

COUNTED_PIXELS = 500
"""A class with fewer sure pixels in the reference is too rare to be judged by itself."""


@dataclass(frozen=True)
class Gates:
    """What an engine must reach, in every condition.

    `sure`, `agreement`: share of the pixels with the reference's class, of those it is sure of
    and of all. `class_iou`: intersection over union with the reference on sure pixels, of every
    class that is not rare. `confidence`: mean difference, of 255. `miou_drop`,
    `condition_miou_drop`: against labels, in points of 100, over all frames and in the worst
    condition.
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
"""By the precision that is computed in; what int8 may lose, labels tell best."""


@dataclass
class Condition:
    """Counts of all frames of one condition."""

    classes: int
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
        self.engine_labels = ConfusionMatrix(self.classes)
        self.reference_labels = ConfusionMatrix(self.classes)

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
        # An engine that fails may give ids that no class has: they count as 'none'.
        known = np.where(mask < self.classes, mask, IGNORE).astype(np.uint8)
        self.against_reference.add(known, np.where(sure, frame.mask, IGNORE))
        if labels is not None:
            self.engine_labels.add(known, labels)
            self.reference_labels.add(frame.mask, labels)

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

    def figures(self, label_set: LabelSet) -> dict:
        """What the report says; IoU by class name, mIoU only where there are labels."""
        counted = self.against_reference.counts.sum(1) >= COUNTED_PIXELS
        iou = self.against_reference.iou()
        figures = {
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
    """`conditions` and `total`: figures; `reasons`: a sentence per gate that was missed."""

    conditions: dict[str, dict]
    total: dict
    gates: dict
    reasons: list[str]

    @property
    def passed(self) -> bool:
        return not self.reasons


def compare(
    backend: Backend,
    frames: Iterable[tuple[ReferenceFrame, np.ndarray | None]],
    label_set: LabelSet,
    gates: Gates,
) -> Outcome:
    """Run `backend` on frames with the reference's answers, and labels where there are some.

    Labels are uint8 (H, W) at network size. Raises ValueError without any frame.
    """
    conditions: dict[str, Condition] = {}
    strange: list[str] = []
    for frame, labels in frames:
        outputs = backend.run(frame.image[None])
        condition = conditions.setdefault(frame.condition, Condition(len(label_set)))
        condition.add(frame, outputs, labels)
        strange += [f'{frame.name}: {what}' for what in _strange(outputs)]
    if not conditions:
        raise ValueError('there is no frame to compare on')
    total = Condition(len(label_set))
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
    return Outcome(figures, overall, asdict(gates), strange + missed)


def _strange(outputs: dict[str, np.ndarray]) -> list[str]:
    """What no sound network gives, whatever the image."""
    found = [
        f'{name} holds values that are not numbers (NaN)'
        for name, values in outputs.items()
        if values.dtype.kind == 'f' and not np.isfinite(values).all()
    ]
    if not outputs[CONFIDENCE].any():
        found.append('every confidence is 0, as a network gives that computes NaN')
    return found


def _missed(figures: dict, gates: Gates, miou_drop: float) -> list[str]:
    reasons = []
    for name, which in (('sure', 'pixels that the reference is sure of'), ('agreement', 'pixels')):
        if figures[name] < getattr(gates, name):
            reasons.append(
                f'{figures[name]:.2%} of the {which} have its class, '
                f'{getattr(gates, name):.2%} must'
            )
    worst = min(figures['class_iou'], key=figures['class_iou'].get, default=None)
    if worst is not None and figures['class_iou'][worst] < gates.class_iou:
        reasons.append(
            f'{worst} overlaps with the reference by {figures["class_iou"][worst]:.1%}, '
            f'{gates.class_iou:.0%} must'
        )
    if figures['confidence_difference'] > gates.confidence:
        reasons.append(
            f'confidence is off by {figures["confidence_difference"]:.1f} of 255, '
            f'{gates.confidence:.0f} may be'
        )
    if figures.get('miou_drop', 0) > miou_drop:
        reasons.append(f'mIoU drops by {figures["miou_drop"]:.2f}, {miou_drop:.1f} may be')
    return reasons
