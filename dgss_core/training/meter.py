"""The cost of a training: images per second, share of time waiting for data, memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Reading:
    """Measurements since the previous reading.

    `images_per_second`: over all processes. `wait_share`: share of time, 0 to 1, that this process
    waited for its loader. `memory`: peak so far in bytes, of the GPU or, without one, the process.
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
        """The measurements by name, for a log; memory in GiB."""
        return {
            'images per second': self.images_per_second,
            'data wait share': self.wait_share,
            'peak memory, GiB': self.memory / 2**30,
        }


class Meter:
    """Measures the image rate and the time spent waiting for data."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.restart()

    def restart(self) -> None:
        """Start a new measurement."""
        self.images, self.waited, self.started = 0, 0.0, time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside the block as waiting for data."""
        started = time.perf_counter()
        yield
        self.waited += time.perf_counter() - started

    def read(self) -> Reading:
        """Return the measurements since the last `read` or `restart`, and restart."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        seconds = max(time.perf_counter() - self.started, 1e-9)
        reading = Reading(self.images / seconds, self.waited / seconds, peak_memory(self.device))
        self.restart()
        return reading


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated by torch on a GPU, else resident in the process."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
