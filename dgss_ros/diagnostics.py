"""`/diagnostics` of the node, after REP-107: once a second, and at once when configuring fails."""

from __future__ import annotations

import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from dgss_core.segmenter import Segmenter
from dgss_ros.counters import FrameCounters, FrameReport
from dgss_ros.mailbox import Mailbox

PERIOD_S = 1.0
SILENCE_S = 2.0
"""An active node without a frame for this long warns."""


class Diagnostics:
    """Publishes `NODE: model` (what runs, or why nothing does) and `NODE: frames`.

    `state` tells the lifecycle state of the node.
    """

    def __init__(
        self,
        node: Node,
        state: Callable[[], str],
        mailbox: Mailbox,
        counters: FrameCounters,
    ) -> None:
        self._node = node
        self._state = state
        self._mailbox = mailbox
        self._counters = counters
        self._name = node.get_fully_qualified_name().lstrip('/')
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Not the node's clock: a simulation that stands still must not silence the diagnostics.
        self._timer = node.create_timer(
            PERIOD_S, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._last = (time.monotonic(), 0, counters.report())
        self._last_frame = time.monotonic()
        self._segmenter: Segmenter | None = None
        self._error = ''

    @property
    def error(self) -> str:
        return self._error

    def set_model(self, segmenter: Segmenter | None, error: str = '') -> None:
        """Tell what runs from now on, or why nothing does."""
        self._segmenter, self._error = segmenter, error

    def publish(self) -> None:
        state = self._state()
        array = DiagnosticArray(status=[self._model(state), self._frames(state)])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _model(self, state: str) -> DiagnosticStatus:
        values: dict[str, object] = {'state': state}
        if self._segmenter is not None:
            bundle = self._segmenter.bundle
            values |= {
                'bundle': bundle.identity,
                'bundle_folder': bundle.folder,
                'backend': self._segmenter.backend.name,
                'label_set': bundle.labels.name,
                'network_size': f'{bundle.width}x{bundle.height}',
            }
        if self._error:
            return self._status('model', DiagnosticStatus.ERROR, self._error, values)
        return self._status('model', DiagnosticStatus.OK, state, values)

    def _frames(self, state: str) -> DiagnosticStatus:
        now, received, report = time.monotonic(), self._mailbox.received, self._counters.report()
        then, received_before, before = self._last
        self._last = (now, received, report)
        # A frame counts as silence's end only while active: activating starts the wait anew.
        if received > received_before or state != 'active':
            self._last_frame = now
        elapsed = max(now - then, 1e-3)
        rates = [(received - received_before) / elapsed]
        rates.append((report.processed - before.processed) / elapsed)
        values: dict[str, object] = {
            'received': received,
            'processed': report.processed,
            'dropped': self._mailbox.dropped,
            'rejected': report.rejected,
            'failed': report.failed,
            'last_error': report.last_error,
            'rate_in_hz': f'{rates[0]:.1f}',
            'rate_out_hz': f'{rates[1]:.1f}',
        }
        if report.latency_ms is not None:
            for name, value in zip(('p50', 'p95', 'p99'), report.latency_ms, strict=True):
                values[f'latency_ms_{name}'] = f'{value:.1f}'
        level, message = self._judge(state, report, before, now)
        return self._status('frames', level, message or f'{rates[1]:.1f} Hz', values)

    def _judge(
        self, state: str, report: FrameReport, before: FrameReport, now: float
    ) -> tuple[bytes, str]:
        """Level and message; an empty message when frames flow as they should."""
        if report.failed > before.failed:
            return DiagnosticStatus.ERROR, report.last_error
        if report.rejected > before.rejected:
            return DiagnosticStatus.WARN, report.last_error
        if state != 'active':
            return DiagnosticStatus.OK, f'no frames are taken while {state}'
        if now - self._last_frame > SILENCE_S:
            topic = self._node.resolve_topic_name('~/image')
            return DiagnosticStatus.WARN, (
                f'no image on {topic} for {now - self._last_frame:.0f} s; look whether the camera '
                'runs, or remap ~/image to its topic'
            )
        return DiagnosticStatus.OK, ''

    def _status(
        self, task: str, level: bytes, message: str, values: dict[str, object]
    ) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=f'{self._name}: {task}',
            message=message,
            hardware_id='dgss',
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
