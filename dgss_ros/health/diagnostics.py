"""`/diagnostics` of the node (REP-107): once a second, and at once when a transition fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain

from rclpy.node import Node

from dgss_core.errors import one_line
from dgss_core.labels import IGNORE
from dgss_core.runtime.backends import runs_a_bundle
from dgss_core.runtime.segmenter import Segmenter
from dgss_ros.health.camera import CameraHealth
from dgss_ros.health.connections import mismatched_peers, mixed_images, rivals
from dgss_ros.health.updater import Status, start_updater
from dgss_ros.health.usage import Usage
from dgss_ros.health.watchdog import ERROR, OK, WARN, TaskStatus, Watchdog, resting
from dgss_ros.parameters.values import Parameters

ONE_CLASS_FRAMES = 10
"""Number of masks of one class in a row that is reported."""


class Diagnostics:
    """Publishes the statuses `NODE: model` (the running bundle, or why none runs),
    `NODE: parameters` and `NODE: connections`, and for each camera `frames`, `input quality`,
    `mask` and `domain shift`.

    `state` returns the lifecycle state of the node.
    """

    def __init__(
        self,
        node: Node,
        state: Callable[[], str],
        cameras: Sequence[CameraHealth],
        settings: Parameters,
    ) -> None:
        self._node = node
        self._state = state
        self._settings = settings
        self._segmenter: Segmenter | None = None
        self._error = ''
        self._progress = ''
        self._cameras = cameras
        self._known: set[str] = set()
        self._notes: dict[str, list[str]] = {}
        self._usage = Usage()
        self._updater = start_updater(node)
        self._add('model', self._model)
        self._add('parameters', self._parameters)
        self._add('connections', self._connections)
        for camera in cameras:
            watchdog = Watchdog(camera, settings)
            self._add(f'{camera.name} frames', partial(self._frames, watchdog))
            for name, task in (
                ('input quality', self._input_quality),
                ('mask', self._mask),
                ('domain shift', self._domain_shift),
            ):
                self._add(f'{camera.name} {name}', partial(self._while_active, task, camera))

    @property
    def error(self) -> str:
        return self._error

    def set_model(self, segmenter: Segmenter | None, error: str = '') -> None:
        """Set the running segmenter, or None and the reason why none runs."""
        self._segmenter, self._error, self._progress = segmenter, error, ''

    def set_progress(self, line: str) -> None:
        """Set the message of `model` while a bundle is loaded, until the next `set_model`."""
        self._progress = line

    def note(self, occasion: str, sentences: Iterable[str]) -> None:
        """Report what was found without effect at `occasion`, until its next time.

        The log gets what was not found at its last time.
        """
        before = self._notes.get(occasion, [])
        self._notes[occasion] = list(sentences)
        for sentence in self._notes[occasion]:
            if sentence not in before:
                self._node.get_logger().warning(sentence)

    def publish(self) -> None:
        self._updater.force_update()

    def _add(self, name: str, task: Callable[[], TaskStatus]) -> None:
        def fill(writer: Status) -> Status:
            status = task()
            writer.summary(status.level, one_line(status.message))
            for key, value in status.values.items():
                writer.add(key, one_line(str(value)))
            return writer

        self._updater.add(name.strip(), fill)

    def _model(self) -> TaskStatus:
        values: dict[str, object] = {'state': self._state(), **self._usage.measure()}
        if self._segmenter is not None:
            bundle = self._segmenter.bundle
            values |= {
                'bundle': self._segmenter.identity,
                'bundle_folder': bundle.folder,
                'backend': self._segmenter.backend.name,
                'engine': self._segmenter.backend.identity,
                'label_set': bundle.labels.name,
                'network_size': f'{bundle.width}x{bundle.height}',
            }
        if self._error:
            return TaskStatus(ERROR, self._error, values)
        if self._segmenter is None:
            return TaskStatus(OK, self._progress or self._state(), values)
        loading = f', loads a bundle: {self._progress}' if self._progress else ''
        level, message = _answering(self._segmenter)
        return TaskStatus(level, f'{self._state()}{loading}{message}', values)

    def _parameters(self) -> TaskStatus:
        found = list(chain.from_iterable(self._notes.values()))
        if not found:
            return TaskStatus(OK, 'all have an effect', {})
        return TaskStatus(WARN, found[0], _numbered(found))

    def _connections(self) -> TaskStatus:
        adapting = {camera.topic() for camera in self._cameras if camera.adapts()}
        mismatched = list(mismatched_peers(self._node, adapting))
        doubtful = [*rivals(self._node)]
        for camera in self._cameras if self._is_active else ():
            images = camera.where_images(), mixed_images(self._node, camera.topic())
            doubtful += filter(None, [*images, camera.calibration()])
        found = [*mismatched, *doubtful]
        for sentence in found:
            if sentence not in self._known:
                self._node.get_logger().warning(one_line(sentence))
        self._known = set(found)
        if not found:
            return TaskStatus(OK, 'all peers match', {})
        return TaskStatus(ERROR if mismatched else WARN, found[0], _numbered(found))

    @property
    def _is_active(self) -> bool:
        return self._state() == 'active'

    def _frames(self, watchdog: Watchdog) -> TaskStatus:
        return watchdog.judge(self._state())

    def _while_active(
        self, task: Callable[[CameraHealth], TaskStatus], camera: CameraHealth
    ) -> TaskStatus:
        """Return the status of a task, unless no frames are taken that it could judge."""
        return task(camera) if self._is_active else TaskStatus(OK, resting(self._state()), {})

    def _input_quality(self, camera: CameraHealth) -> TaskStatus:
        report = camera.watch.report
        if report.quality is None:
            return TaskStatus(OK, 'no frames yet', {})
        values: dict[str, object] = {
            'brightness': f'{report.quality.brightness:.0f}',
            'white_share': f'{report.quality.white:.3f}',
            'blur': f'{report.quality.blur:.2f}',
            'repeats': report.quality.repeats,
        }
        if report.flags:
            message = f'the pictures of {camera.topic()} are {" and ".join(report.flags)}'
            return TaskStatus(WARN, message, values)
        return TaskStatus(OK, 'usable', values)

    def _mask(self, camera: CameraHealth) -> TaskStatus:
        report = camera.watch.report
        if self._segmenter is None or report.quality is None:
            return TaskStatus(OK, 'no frames yet', {})
        names = dict(enumerate(self._segmenter.labels.names)) | {IGNORE: 'no label'}
        name = names.get(report.largest, f'class {report.largest}')
        values: dict[str, object] = {
            'largest_class': name,
            'largest_share': f'{report.share:.3f}',
            'one_class_frames': report.one_class,
        }
        if report.one_class >= ONE_CLASS_FRAMES:
            message = (
                f'the last {report.one_class} masks are all {name}; check the pictures of '
                f'{camera.topic()}'
            )
            return TaskStatus(WARN, message, values)
        return TaskStatus(OK, f'mostly {name}', values)

    def _domain_shift(self, camera: CameraHealth) -> TaskStatus:
        distances = camera.watch.report.distances
        values: dict[str, object] = {
            name: f'{distance:.2f}' for name, distance in distances.items()
        }
        if not distances:
            return TaskStatus(OK, 'nothing to compare with', values)
        name, distance = max(distances.items(), key=lambda item: item[1])
        message = f'{distance:.1f} standard deviations from the source, by {name}'
        limit = self._settings['domain_shift.limit']
        return TaskStatus(WARN if 0 < limit < distance else OK, message, values)


def _numbered(sentences: Iterable[str]) -> dict[str, object]:
    return {str(number): text for number, text in enumerate(sentences, 1)}


def _answering(segmenter: Segmenter) -> tuple[bytes, str]:
    """The level, and the message if something else than the network of a bundle answers."""
    name = segmenter.backend.name
    if runs_a_bundle(name):
        return OK, ''
    if name.partition(':')[0] == 'null':
        return WARN, f'; no network runs, the masks of {segmenter.identity} are constant'
    return WARN, f'; {segmenter.identity} answers instead of the bundle'
