"""`/diagnostics` of the node, after REP-107: once a second, and at once when configuring fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from dgss_core.segmenter import Segmenter
from dgss_ros.cameras import Camera
from dgss_ros.counters import FrameReport

PERIOD_S = 1.0
Task = tuple[str, bytes, str, dict[str, object]]
"""Name, level, message and values of one status."""
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
        cameras: Sequence[Camera],
    ) -> None:
        self._node = node
        self._state = state
        self._flows = [_Flow(camera) for camera in cameras]
        self._name = node.get_fully_qualified_name().lstrip('/')
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Not the node's clock: a simulation that stands still must not silence the diagnostics.
        self._timer = node.create_timer(
            PERIOD_S, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._segmenter: Segmenter | None = None
        self._error = ''
        self._progress = ''

    @property
    def error(self) -> str:
        return self._error

    def set_model(self, segmenter: Segmenter | None, error: str = '') -> None:
        """Tell what runs from now on, or why nothing does."""
        self._segmenter, self._error, self._progress = segmenter, error, ''

    def set_progress(self, line: str) -> None:
        """Tell how far the loading of a bundle has come, until the next `set_model`."""
        self._progress = line

    def publish(self) -> None:
        state = self._state()
        frames = [flow.status(state) for flow in self._flows]
        array = DiagnosticArray(
            status=[self._status(*task) for task in (self._model(state), *frames)]
        )
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _model(self, state: str) -> Task:
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
            return 'model', DiagnosticStatus.ERROR, self._error, values
        return 'model', DiagnosticStatus.OK, self._progress or state, values

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


class _Flow:
    """How the frames of one camera come and go, from one report to the next."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._last = (time.monotonic(), 0, camera.counters.report())
        self._last_frame = time.monotonic()

    def status(self, state: str) -> Task:
        slot = self._camera.slot
        now, received, report = time.monotonic(), slot.received, self._camera.counters.report()
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
            'dropped': slot.dropped,
            'skipped': report.skipped,
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
        task = f'{self._camera.name} frames'.strip()
        return task, level, message or f'{rates[1]:.1f} Hz', values

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
            return DiagnosticStatus.WARN, (
                f'no image on {self._camera.topic} for {now - self._last_frame:.0f} s; look '
                'whether the camera runs, or remap the image to its topic'
            )
        return DiagnosticStatus.OK, ''
