"""What is known about how one camera fares; the node fills it, the diagnostics read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from dgss_ros.health.counters import FrameCounters
from dgss_ros.health.watch import CameraWatch


class Arrivals(Protocol):
    """Counts of the images that arrived, and of those that a newer one replaced."""

    received: int
    dropped: int


@dataclass
class CameraHealth:
    """Counters and observations of one camera; may be read from any thread.

    `name`: empty for the camera of a node with one camera. `topic`: returns its image topic.
    `watch`: replaced by a new one on each activation.
    """

    name: str
    topic: Callable[[], str]
    arrivals: Arrivals
    counters: FrameCounters = field(default_factory=FrameCounters)
    watch: CameraWatch = field(default_factory=CameraWatch)
