"""What a training costs: images per second, the share of time it waits for data, memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Reading:
    """Between two looks at a meter.

    `images_per_second` of all processes; `wait_share` 0 to 1: time this process waited for its
    loader; `memory` in bytes: greatest amount used so far, of the GPU or else of the process.
    """

    images_per_second: float
    wait_share: float
    memory: int

    def __str__(self) -> str:
        return (
            f'{self.images_per_second:.1f} images/s, waiting {self.wait_share:.0%}, '
            f'{self.memory / 2**30:.1f} GiB'
        )

    def values(self) -> dict[str, float]:
        """By name, for a log."""
        return {
            'images per second': self.images_per_second,
            'data wait share': self.wait_share,
            'peak memory, GiB': self.memory / 2**30,
        }


class Meter:
    """Counts images and the time spent waiting for them."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.restart()

    def restart(self) -> None:
        """Forget what happened since the last time."""
        self.images, self.waited, self.started = 0, 0.0, time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around everything that waits for data."""
        started = time.perf_counter()
        yield
        self.waited += time.perf_counter() - started

    def read(self) -> Reading:
        """What happened since the last time, or since the meter was made."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        seconds = max(time.perf_counter() - self.started, 1e-9)
        reading = Reading(self.images / seconds, self.waited / seconds, peak_memory(self.device))
        self.restart()
        return reading


def peak_memory(device: torch.device) -> int:
    """Greatest number of bytes that torch held on a GPU, or the process in memory."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
