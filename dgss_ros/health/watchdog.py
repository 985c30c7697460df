"""The watchdog of one camera: rates, drops and times of its frames."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus

from dgss_ros.health.camera import CameraHealth
from dgss_ros.health.counters import FrameReport, ReadyFrame, Unanswered
from dgss_ros.parameters.values import Parameters

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
SILENCE_S = 2.0
"""Time without an image after which an active node warns."""
LOST = 0.2
"""Share of lost images from which an active node warns."""
RATE_WINDOW_S = 0.5
"""Minimum time over which rates are computed."""


class TaskStatus(NamedTuple):
    """The content of one status: `level` OK, WARN or ERROR, and `values` by key."""

    level: bytes
    message: str
    values: dict[str, object]


def resting(state: str) -> str:
    """Return the message of a task about frames in a lifecycle state without frames."""
    return f'no frames are taken while {state}'


class Delay(NamedTuple):
    """A time without a frame in time, in seconds of the monotonic clock."""

    begun_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.begun_s

    def slowest_ms(self, frames: Iterable[ReadyFrame]) -> float:
        """Latency of the slowest frame that was ready in it or ended it; 0 without one."""
        within = (frame for frame in frames if self.begun_s < frame.ready_s <= self.end_s)
        return max((frame.latency_ms for frame in within), default=0.0)

    def last_reason(self, unanswered: Iterable[Unanswered]) -> str:
        """Why the last image in it got no mask; empty if all of its images got one."""
        within = [each.reason for each in unanswered if self.begun_s < each.time_s <= self.end_s]
        return within[-1] if within else ''


class Watchdog:
    """Judges the frames of `camera`, once per period, like the detectors of Autoware.

    WARN if the last frame took longer than `watchdog.max_processing_time_ms`. ERROR if no frame
    was in time for longer than `watchdog.max_delay_ms` at any time of the period, whether frames
    are slow or missing. A camera that has sent nothing since the node was activated is a warning,
    not an error.
    """

    def __init__(self, camera: CameraHealth, settings: Parameters) -> None:
        self._camera = camera
        self._settings = settings
        self._begun_s = self._heard_s = self._counted_s = time.monotonic()
        self._has_begun = False
        self._before = self._counted = FrameReport()
        self._received_before = self._received_counted = 0
        self._rates_hz = (0.0, 0.0)

    def judge(self, state: str) -> TaskStatus:
        """Return the status of the frames. `state`: the lifecycle state of the node."""
        now, received = time.monotonic(), self._camera.arrivals.received
        report = self._camera.counters.report()
        heard = received > self._received_before or report.skipped > self._before.skipped
        if not self._has_begun or state != 'active':
            self._begun_s = now
        self._has_begun = state == 'active' and (self._has_begun or heard)
        if state != 'active' or heard:
            self._heard_s = now
        if (elapsed := now - self._counted_s) >= RATE_WINDOW_S:
            counts = (
                received - self._received_counted,
                report.processed - self._counted.processed,
            )
            self._rates_hz = (counts[0] / elapsed, counts[1] / elapsed)
            self._counted_s, self._received_counted, self._counted = now, received, report
        level, message = self._level(state, received, report, now)
        self._before, self._received_before = report, received
        return TaskStatus(level, message, self._values(received, report))

    def _level(
        self, state: str, received: int, report: FrameReport, now: float
    ) -> tuple[bytes, str]:
        if report.failed > self._before.failed:
            return ERROR, report.last_error
        if state != 'active':
            return OK, resting(state)
        delay = self._delay(report, now)
        too_late = self._is_too_long(delay.length_s)
        silent_s = now - self._heard_s
        if report.rejected > self._before.rejected:
            return (ERROR if too_late else WARN), report.last_error
        if silent_s > SILENCE_S or (too_late and self._is_too_long(silent_s)):
            silence = f'no image on {self._camera.topic()} for {silent_s:.1f} s'
            return (ERROR if too_late else WARN), f'{silence}. {self._camera.absence()}'
        reasons = list(self._reasons(report))
        if too_late:
            lasts = delay.end_s == now
            until = '' if lasts else f', until {now - delay.end_s:.1f} s ago'
            cause = reasons[0] if reasons else self._cause(delay, received, report, lasts)
            return ERROR, f'no mask in time for {delay.length_s:.1f} s{until}; {cause}'
        if reasons:
            return WARN, reasons[0]
        return OK, f'{self._rates_hz[1]:.1f} Hz'

    def _delay(self, report: FrameReport, now: float) -> Delay:
        """Return the time up to now in which no frame was in time.

        If that is short enough, return the longest that has ended since the last judgement.
        """
        begun_s = max(self._before.last_in_time_s or 0, self._begun_s)
        ready = [frame.ready_s for frame in report.in_time if frame.ready_s > begun_s]
        *ended, present = (Delay(start, end) for start, end in pairwise([begun_s, *ready, now]))
        if self._is_too_long(present.length_s):
            return present
        return max(ended, default=present, key=lambda delay: delay.length_s)

    def _cause(self, delay: Delay, received: int, report: FrameReport, lasts: bool) -> str:
        """Return what delays the next mask, or delayed it, where nothing else is wrong."""
        late_ms, ending_ms = delay.slowest_ms(report.late), delay.slowest_ms(report.in_time)
        # Without a limit of the latency, the frame that ends the delay may be slow as well.
        if late_ms or (ending_ms and not self._is_too_long(delay.length_s - ending_ms / 1e3)):
            return f'a frame took {late_ms or ending_ms:.0f} ms from arrival to mask'
        if reason := delay.last_reason(report.unanswered):
            return reason
        images = f'images on {self._camera.topic()}'
        if not lasts:
            return (
                f'{images} came too rarely: their publisher paused, or they were lost on the way; '
                f'{self._camera.loss_remedy()}'
            )
        done = report.processed + report.too_old + report.rejected + report.failed
        if received > done + self._camera.arrivals.dropped:
            return 'the last image is still in work'
        return f'{images} come too rarely. {self._camera.absence()}'

    def _reasons(self, report: FrameReport) -> Iterator[str]:
        """Yield what keeps masks of images that arrive from being there in time."""
        before = self._before
        skips = report.skipped > before.skipped and report.processed == before.processed
        if skips and (report.too_old > before.too_old or self._is_late(report)):
            yield f'{report.skipped} images were skipped: {report.last_skip}'
        if fault := self._camera.clock_fault():
            yield fault
        topic, gaps = self._camera.topic(), self._camera.gaps
        if gaps.fault:
            yield (
                f'the last images on {topic} {gaps.fault}: whoever pairs their masks by stamps '
                'takes one for another; let the camera driver stamp each image with its own time'
            )
        if (lost := gaps.lost) > LOST:
            yield (
                f'{lost:.0%} of the images on {topic} are lost on the way, as the gaps between '
                f'their stamps show; {self._camera.loss_remedy()}'
            )
        latency_ms = report.last.latency_ms if report.last else 0.0
        if 0 < self._settings['watchdog.max_processing_time_ms'] < latency_ms:
            yield f'the last frame took {latency_ms:.0f} ms from arrival to mask'

    def _is_late(self, report: FrameReport) -> bool:
        """Return whether no frame was ready for `watchdog.max_delay_ms`."""
        ready_s = report.last.ready_s if report.last else 0.0
        return self._is_too_long(time.monotonic() - max(ready_s, self._begun_s))

    def _is_too_long(self, delay_s: float) -> bool:
        return 0 < self._settings['watchdog.max_delay_ms'] < 1e3 * delay_s

    def _values(self, received: int, report: FrameReport) -> dict[str, object]:
        values: dict[str, object] = {
            'received': received,
            'processed': report.processed,
            'dropped': self._camera.arrivals.dropped,
            'skipped': report.skipped,
            'rejected': report.rejected,
            'failed': report.failed,
            'last_error': report.last_error,
            'lost_share': f'{self._camera.gaps.lost:.2f}',
            'rate_in_hz': f'{self._rates_hz[0]:.1f}',
            'rate_out_hz': f'{self._rates_hz[1]:.1f}',
        }
        for stage, percentiles in report.times_ms.items():
            for name, value in zip(('p50', 'p95', 'p99'), percentiles, strict=True):
                values[f'{stage}_ms_{name}'] = f'{value:.1f}'
        return values
