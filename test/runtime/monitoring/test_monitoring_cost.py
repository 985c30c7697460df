"""The cost of monitors and smoothing relative to the embedded network, on one thread each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.monitoring.domain_shift import DomainShiftMonitor, collect
from dgss_core.runtime.monitoring.image_quality import QualityMonitor
from dgss_core.runtime.monitoring.smoothing import TemporalSmoother
from dgss_core.runtime.segmenter import Segmenter
from dgss_core.synthetic import StreetDrive


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


def test_the_monitors_are_a_small_part_of_a_frame(one_thread: None) -> None:
    # In fp32, because `auto` takes bf16 where the CPU has it, and the network is then faster.
    segmenter = Segmenter(open_bundle(), 'onnxruntime', threads=1)
    width, height = segmenter.bundle.width, segmenter.bundle.height
    drive = StreetDrive(3, 'day', width=width, height=height)
    images = [drive.frame(index).image for index in (10, 11)]
    predictions = segmenter.predict_prepared(images)
    quality, smoother, follower = QualityMonitor(), TemporalSmoother(), TemporalSmoother()
    shift = DomainShiftMonitor(collect(zip(images, predictions, strict=True), 19))

    def smooth(with_motion: bool) -> Callable[[int], object]:
        one = follower if with_motion else smoother
        return lambda i: one(images[i % 2], predictions[i % 2], i * 10**8, 0.7, with_motion)

    work: dict[str, Callable[[int], object]] = {
        'network': lambda i: segmenter.predict_prepared([images[i % 2]]),
        'image quality': lambda i: quality.update(images[i % 2]),
        'domain shift': lambda i: shift.update(images[i % 2], predictions[i % 2]),
        'smoothing': smooth(False),
        'smoothing along the motion': smooth(True),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    # CPU time, and in turns, so that other load on the machine hardly matters.
    for i in range(12):
        for name, step in work.items():
            start = time.thread_time()
            step(i)
            times[name].append(time.thread_time() - start)
    share = {name: float(np.median(t) / np.median(times['network'])) for name, t in times.items()}
    print({name: f'{value:.1%}' for name, value in share.items()})
    assert share['image quality'] < 0.03
    assert share['domain shift'] < 0.08
    assert share['smoothing'] < 0.2
    assert share['smoothing along the motion'] < 0.5
