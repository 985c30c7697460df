"""The form of `results.json`, the source of truth beside a report.

Every value is plain JSON. Scores are 0 to 1, and None (null) where they are not defined; nan never
appears. Names of conditions are those of the frames, and `ALL` is the sum over all frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, TypeVar

ALL = 'all'

Interval = list[float] | None
"""[low, high], of 95 %."""


class Classes(TypedDict):
    """Names of classes, and how the mean IoU treats them."""

    classes: list[str]
    treatment: str


class Bin(TypedDict):
    """One of the 15 bins of a reliability curve; the means are None in an empty bin."""

    pixels: int
    confidence: float | None
    accuracy: float | None


class Ood(TypedDict):
    """How well little confidence finds what lies outside the distribution."""

    pixels: int
    auroc: float | None
    auprc: float | None
    fpr95: float | None


class Intervals(TypedDict, total=False):
    """The intervals of the scores of the same name, and what was resampled."""

    unit: str
    """'drive' or 'frame'."""
    units: int
    resamples: int
    iou: dict[str, Interval]
    miou: Interval
    accuracy: Interval
    boundary_iou: Interval
    ece: Interval
    auroc: Interval
    fpr95: Interval
    aupr_success: Interval
    aupr_error: Interval
    ood_auroc: Interval
    ood_fpr95: Interval
    ood_auprc: Interval


class Flicker(TypedDict):
    """The share of pixels that change their class from a frame to the frame `stride` later."""

    value: float | None
    pairs: int
    """Pairs of frames that were compared."""
    skipped: int
    """Pairs that show too little of the same scene."""
    pixels: int


class Scores(TypedDict, total=False):
    """The scores of a set of frames: a condition, a drive, or all."""

    frames: int
    pixels: int
    labelled_pixels: int
    miou: float | None
    """Over the classes that are labelled or predicted."""
    iou: dict[str, float | None]
    subsets: dict[str, float | None]
    """The mIoU of named groups of classes."""
    absent: Classes
    unlabelled: Classes
    accuracy: float | None
    """Of the labelled pixels."""
    boundary_iou: float | None
    boundary_band: int
    """Pixels."""
    boundary_pixels: int
    confidence_pixels: int
    """Labelled pixels with a confidence; of the next six."""
    ece: float | None
    auroc: float | None
    """Of right against wrong pixels by confidence, as are `fpr95` and the `aupr`."""
    fpr95: float | None
    aupr_success: float | None
    aupr_error: float | None
    reliability: list[Bin]
    ood: Ood | None
    """None without OOD labels."""
    intervals: Intervals
    flicker: dict[str, Flicker] | None
    """By stride: '1', '2', '5', '10'. None for frames that do not follow each other."""


class Retention(TypedDict):
    """mIoU divided by that of the condition `normal`."""

    normal: str
    conditions: dict[str, float | None]
    mean: float | None


class Bravo(TypedDict):
    """Harmonic means: of each condition, of all semantic scores, all OOD scores, and of both."""

    conditions: dict[str, float | None]
    semantic: float | None
    ood: float | None
    index: float | None


class Difference(TypedDict):
    """Ours minus theirs on the same frames; `p` is two-sided."""

    difference: float | None
    interval: Interval
    p: float | None


class Differences(TypedDict, total=False):
    """The differences of the scores of the same name, and what was resampled."""

    unit: str
    units: int
    resamples: int
    iou: dict[str, Difference]
    miou: Difference
    accuracy: Difference
    boundary_iou: Difference
    ece: Difference
    auroc: Difference
    fpr95: Difference
    aupr_success: Difference
    aupr_error: Difference
    ood_auroc: Difference
    ood_fpr95: Difference
    ood_auprc: Difference


class Percentiles(TypedDict):
    p50: float | None
    p95: float | None
    p99: float | None


class Live(TypedDict, total=False):
    """What a replay through the running node measured."""

    sent: int
    """Images."""
    received: int
    """Masks."""
    resent: int
    """Images that were sent more than once, which have no latency."""
    latencies_ms: list[float]
    """From sending an image to its mask."""
    latency_ms: Percentiles
    age_ms: Percentiles
    """From the stamp to the mask, by a node that follows the clock of the bag: its last frames."""
    rate_hz: float | None
    drop_rate: float | None
    """The share of frames without a mask."""
    cpu_percent: float | None
    memory_mib: float | None


class Monitor(TypedDict, total=False):
    """The domain-shift monitor as a detector."""

    threshold: float | None
    alarm_share: dict[str, float | None]
    """By condition: the share of frames on which it fires."""
    auroc: float | None
    """Of the frames whose mIoU has dropped."""


class Summary(TypedDict):
    """The mIoU over corruptions and severities."""

    mean: float | None
    severest: float | None
    """The mean at severity 5 alone."""
    worst: tuple[str, int, float] | None
    """Corruption, severity and mIoU; a list in JSON."""
    retention: float | None
    """`mean`, divided by the mIoU of the clean frames."""
    retention_severest: float | None


class Suite(Summary):
    """One predictor under corruptions."""

    frames: int
    severities: list[int]
    clean: float | None
    """The mIoU of the clean frames."""
    clean_ece: float | None
    scores: dict[str, list[float | None]]
    """The mIoU by corruption, one for each of `severities`."""
    ece: dict[str, list[float | None]]
    families: dict[str, float | None]
    """The mean mIoU by family."""
    benchmark: Summary
    """Of the 16 corruptions that others measure too, as they do: without those on streets, and
    without noises above severity 3."""


class Verdict(TypedDict):
    """One line of the criteria."""

    criterion: str
    condition: str
    """'' for a criterion of the whole run."""
    wanted: str
    """'>= 0.45', 'fires', 'silent'."""
    measured: float | None
    outcome: str
    """'pass', 'fail' or 'not measured', which counts as a failure."""
    reason: str
    """One sentence."""


class Results(TypedDict, total=False):
    """The parts that scores and criteria read and write; the verb adds its own beside them."""

    conditions: dict[str, Scores]
    """Those of the frames, and `ALL`."""
    drives: dict[str, Scores]
    retention: Retention
    bravo: Bravo
    corruptions: Suite
    live: Live | None
    """None without a replay."""
    monitor: Monitor | None
    estimated: dict[str, dict[str, int]] | None
    """By the condition that was told, 'unknown' where nobody did: how many frames were estimated
    to have each; None without estimates."""
    verdicts: list[Verdict]


Entry = TypeVar('Entry')


def told(conditions: Mapping[str, Entry]) -> dict[str, Entry]:
    """The conditions that are worth a line: the sum over a single one would repeat it."""
    named = {name: entry for name, entry in conditions.items() if name != ALL}
    return named if len(named) == 1 else dict(conditions)
