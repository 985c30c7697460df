"""The lifecycle node: images come in on `~/image`, masks leave on `~/mask`.

The executor has one thread, which only puts each image into the slot of its camera. Worker threads
take the newest image of each camera, run the network and publish. An unusable image is counted and
reported on `/diagnostics`, and the next good one is answered. No message and no service call ends
the node.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial, wraps
from pathlib import Path

from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from dgss_core.errors import DgssError
from dgss_core.files.home import expand
from dgss_core.runtime.pipeline import opencv_in_one_thread
from dgss_core.runtime.segmenter import Segmenter
from dgss_ros.health.diagnostics import Diagnostics
from dgss_ros.node.bond import ManagerBond
from dgss_ros.node.cameras import Arrival, Camera
from dgss_ros.node.executable import run
from dgss_ros.node.loading import load_segmenter
from dgss_ros.node.mailbox import Mailbox
from dgss_ros.node.outputs import LabelOutputs
from dgss_ros.node.pipeline import Pipeline, StuckError
from dgss_ros.node.qos import check_overrides, unused_overrides
from dgss_ros.node.reload import Actions, Reloader
from dgss_ros.node.services import offer, save_frames
from dgss_ros.node.transport import return_memory
from dgss_ros.parameters.files import unused_files
from dgss_ros.parameters.values import Parameters

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)

Transition = Callable[['SegmentNode', LifecycleState], TransitionCallbackReturn]


def reported(transition: Transition) -> Transition:
    """Log and publish the reason when a transition fails: rclpy swallows the exception."""

    @wraps(transition)
    def wrapper(self: SegmentNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except DgssError as error:
            self.get_logger().error(str(error))
            self.diagnostics.set_model(None, str(error))
            result = ERROR if isinstance(error, StuckError) else FAILURE
        except Exception as error:
            if not self.context.ok():
                return FAILURE  # SIGTERM shut down the context during the transition
            self.get_logger().error(traceback.format_exc())
            self.diagnostics.set_model(None, f'{transition.__name__} failed: {error!r}')
            result = ERROR
        self.diagnostics.publish()
        return result

    return wrapper


class SegmentNode(LifecycleNode):
    """Configure loads the bundle, activate subscribes, deactivate stops, cleanup frees."""

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        """`arguments`: of the command line, to find parameter files without effect."""
        super().__init__('dgss')
        self._pipeline: Pipeline | None = None
        self._settings = Parameters(self, lambda: self._pipeline is not None)
        self._mailbox: Mailbox[Arrival] = Mailbox()
        self._cameras = [
            Camera(self, name, self._settings, self._mailbox)
            for name in self._settings['cameras'] or ['']
        ]
        self._labels: LabelOutputs | None = None
        self.diagnostics = Diagnostics(
            self, lambda: self.state, [camera.health for camera in self._cameras], self._settings
        )
        files = unused_files(self.get_fully_qualified_name(), arguments)
        self.diagnostics.note('start', [*files, *self._settings.unknown()])
        is_managed = not self._settings['autostart']
        self._bond = ManagerBond(
            self, self._settings['bond_heartbeat_period'] if is_managed else 0.0
        )
        self._reloader = Reloader(
            self,
            Actions(
                running=lambda: self._pipeline,
                load=self._load,
                swap=self._swap,
                loaded=lambda: self.diagnostics.set_progress(''),
                max_silence_s=lambda: self._settings['engine.max_silence_s'],
            ),
        )
        offer(self, '~/reload', self._reload)
        offer(self, '~/save_frame', self._save_frame)

    @property
    def state(self) -> str:
        """The lifecycle state, such as `inactive`."""
        return self._state_machine.current_state[1]

    def autostart(self) -> None:
        if self._settings['autostart'] and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    @reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        check_overrides(self)
        # Not on another thread: glibc would give each load an arena of its own, and keep it.
        segmenter = self._load(self._settings.bundle_folder(), publish=True)
        self._pipeline = Pipeline(self, self._mailbox, segmenter, self._reloader.recover)
        try:
            self._labels = LabelOutputs(self)
            for camera in self._cameras:
                camera.configure()
        except Exception:
            self._release()
            raise
        self._announce(segmenter)
        return super().on_configure(state)

    @reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._pipeline is not None, 'activate follows configure'
        result = super().on_activate(state)
        try:
            self._pipeline.start(
                self._settings['workers'],
                self._settings['batch.max_size'],
                self._settings['batch.max_wait_ms'] / 1e3,
            )
            for camera in self._cameras:
                camera.activate()
                self.get_logger().info(f'Takes images from {camera.topic}.')
            topics = [camera.topic for camera in self._cameras]
            unused = unused_overrides(self, topics)
            self.diagnostics.note('activation', [*unused, *self._settings.overridden(topics)])
            self._bond.form()
        except Exception:
            self._stop(self._pipeline)
            raise
        return result

    @reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop(self._pipeline)
        return super().on_deactivate(state)

    @reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return super().on_cleanup(state)

    @reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything after an unexpected error, so that the node can be configured again.

        A network that does not return cannot be freed: the node is finalized.
        """
        error = self.diagnostics.error
        freed = self._release()
        self.diagnostics.set_model(None, error)
        return SUCCESS if freed else FAILURE

    def destroy_node(self) -> None:
        self._release()
        super().destroy_node()

    def _release(self) -> bool:
        """Stop the workers and free the network; allowed in any state.

        Returns False if a batch does not return from the network; its memory is then kept.
        """
        pipeline, self._pipeline = self._pipeline, None
        freed = True
        try:
            self._stop(pipeline)
        except StuckError as error:
            self.get_logger().error(str(error))
            freed = False
        for camera in self._cameras:
            camera.cleanup()
        if self._labels is not None:
            self._labels.destroy()
            self._labels = None
        self.diagnostics.set_model(None)
        if pipeline is not None and freed:
            pipeline.segmenter.close()
            return_memory()
        return freed

    def _stop(self, pipeline: Pipeline | None) -> None:
        self._bond.dissolve()
        for camera in self._cameras:
            camera.deactivate()
        if pipeline is not None:
            pipeline.stop()

    def _load(self, folder: Path | None, publish: bool = False) -> Segmenter:
        """Load a bundle; its progress goes to the log and to the diagnostics.

        `publish`: publish the diagnostics for each line. Set it on the executor's thread, which
        then cannot run the timer that usually publishes them.
        """

        self._latest_load = this = object()

        def report(line: str) -> None:
            if not self.context.ok():
                raise ExternalShutdownException  # SIGTERM: stops the build of an engine
            self.get_logger().info(line)
            if self._latest_load is not this:
                return  # It was given up, and another began.
            self._reloader.note_progress()
            self.diagnostics.set_progress(line)
            if publish:
                self.diagnostics.publish()

        try:
            return load_segmenter(folder, self._settings, report)
        finally:
            if self._latest_load is this:
                self.diagnostics.set_progress('')

    def _swap(self, segmenter: Segmenter) -> Segmenter:
        """Run the next batches with another segmenter; returns the old one."""
        assert self._pipeline is not None, 'only a configured node runs a bundle'
        with ExitStack() as paused:
            # No mask leaves between the change of the segmenter and its labels.
            for camera in self._cameras:
                paused.enter_context(camera.answers.paused())
            old = self._pipeline.swap(segmenter)
            self._announce(segmenter)
        return old

    def _announce(self, segmenter: Segmenter) -> None:
        """Publish the labels and the diagnostics of the bundle that runs from now on."""
        assert self._labels is not None, 'created together with the pipeline'
        self._labels.publish(segmenter.labels)
        for camera in self._cameras:
            camera.announce(segmenter.labels)
        self.diagnostics.set_model(segmenter)

    async def _reload(self) -> str:
        """Run the next frames with the bundle that the parameter names now."""
        folder = self._settings.bundle_folder()
        if self._pipeline is None:
            remedy = 'start it again' if self.state == 'finalized' else 'configure it instead'
            raise DgssError(f'The node is {self.state} and runs no bundle; {remedy}.')
        segmenter = await self._reloader.replace(self._pipeline, folder)
        return f'Runs {segmenter.identity}.'

    async def _save_frame(self) -> str:
        """Write the last answered frame of each camera; returns the names of the files."""
        answers = {camera.name: camera.last_answer for camera in self._cameras}
        paths = await save_frames(self, answers, expand(self._settings['save_folder']))
        return '\n'.join(map(str, paths))

    def _LifecycleNodeMixin__change_state(self, transition_id: int) -> TransitionCallbackReturn:  # noqa: N802
        # In rclpy 7.1 the exception of an illegal transition leaves the executor and ends the
        # process. There is no hook to catch it, only this private method with its mangled name.
        # A later rclpy without it no longer calls this method; its exceptions end in `spin`.
        try:
            return super()._LifecycleNodeMixin__change_state(transition_id)  # type: ignore[misc]
        except RCLError as error:
            self.get_logger().error(f'Refused a transition from {self.state}: {error}')
            return FAILURE


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code."""
    arguments = sys.argv if args is None else args
    # Its threads would wait for work in a loop, which takes a tenth of the CPU time of a frame.
    with opencv_in_one_thread():
        return run(partial(SegmentNode, arguments), SegmentNode.autostart, arguments)


if __name__ == '__main__':
    sys.exit(main())
