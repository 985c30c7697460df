"""Health of one camera: written by the node, read by the diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from dgss_ros.health.counters import FrameCounters
from dgss_ros.health.gaps import StampGaps
from dgss_ros.health.watch import CameraWatch


class Arrivals(Protocol):
    """Numbers of images: `received`, and `dropped` for a newer one."""

    received: int
    dropped: int


@dataclass
class CameraHealth:
    """Counters and observations of one camera; may be read from any thread.

    `name`: empty for the camera of a node that has one camera without a name. `topic`: returns its
    image topic. `clock_fault`: returns what is wrong with the clocks, empty for nothing.
    `where_images`: returns on which other topic there are images, and what to set; empty if
    unknown. `absence`: returns why images may not arrive, and what to do. `loss_remedy`: returns
    what to do about images that are lost on the way. `adapts`: returns whether the reliability of
    the reception follows the publishers. `calibration`: returns why that of the masks cannot be
    published, and what to do; empty if it is, or is not wanted. `watch` and `gaps`: replaced by
    new ones on each activation.
    """

    name: str
    topic: Callable[[], str]
    arrivals: Arrivals
    clock_fault: Callable[[], str] = str
    where_images: Callable[[], str] = str
    absence: Callable[[], str] = str
    loss_remedy: Callable[[], str] = str
    adapts: Callable[[], bool] = bool
    calibration: Callable[[], str] = str
    counters: FrameCounters = field(default_factory=FrameCounters)
    watch: CameraWatch = field(default_factory=CameraWatch)
    gaps: StampGaps = field(default_factory=StampGaps)
