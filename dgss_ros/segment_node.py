"""The lifecycle node: images come in on `~/image`, masks leave on `~/mask`.

The executor's one thread only puts each image into its camera's slot; worker threads take the
newest of each camera, run the network and publish. An image that cannot be used is counted and
reported on `/diagnostics`, and the next good one is answered: no message and no service call ends
this node.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path

from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from dgss_core.errors import DgssError
from dgss_core.runtime.segmenter import Segmenter
from dgss_ros.health.diagnostics import Diagnostics
from dgss_ros.node.cameras import Arrival, Camera
from dgss_ros.node.executable import run
from dgss_ros.node.loading import load_segmenter
from dgss_ros.node.mailbox import Mailbox
from dgss_ros.node.outputs import LabelOutputs
from dgss_ros.node.pipeline import Pipeline
from dgss_ros.node.qos import check_overrides
from dgss_ros.node.services import in_thread, offer, save
from dgss_ros.node.transport import return_memory
from dgss_ros.parameters.values import Parameters

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)
RECOVERY_PERIOD_S = 10.0
"""Least time between two attempts to mend a network that fails again and again."""

Transition = Callable[['SegmentNode', LifecycleState], TransitionCallbackReturn]


def reported(transition: Transition) -> Transition:
    """Give the reason when a transition does not succeed: rclpy swallows exceptions there."""

    @wraps(transition)
    def wrapper(self: SegmentNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except DgssError as error:
            self.get_logger().error(str(error))
            self.diagnostics.set_model(None, str(error))
            result = FAILURE
        except Exception as error:
            if not self.context.ok():
                return FAILURE  # SIGTERM took the context away while the transition ran
            self.get_logger().error(traceback.format_exc())
            self.diagnostics.set_model(None, f'{transition.__name__} failed: {error!r}')
            result = ERROR
        self.diagnostics.publish()
        return result

    return wrapper


class SegmentNode(LifecycleNode):
    """Configure loads the bundle, activate takes images, deactivate stops, cleanup frees."""

    def __init__(self) -> None:
        super().__init__('dgss')
        self._pipeline: Pipeline | None = None
        self._settings = Parameters(self, lambda: self._pipeline is not None)
        self._mailbox: Mailbox[Arrival] = Mailbox()
        self._cameras = [
            Camera(self, name, self._settings, self._mailbox)
            for name in self._settings['cameras'] or ['']
        ]
        self._labels: LabelOutputs | None = None
        self._recovered_s = -RECOVERY_PERIOD_S
        self.diagnostics = Diagnostics(
            self, lambda: self.state, [camera.health for camera in self._cameras], self._settings
        )
        offer(self, '~/reload', self._reload)
        offer(self, '~/save_frame', self._save_frame)

    @property
    def state(self) -> str:
        return self._state_machine.current_state[1]

    def autostart(self) -> None:
        if self._settings['autostart'] and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    @reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        def tell(line: str) -> None:
            self._tell(line)
            self.diagnostics.publish()  # nobody else does while this callback runs

        check_overrides(self)
        segmenter = load_segmenter(self._settings.bundle_folder(), self._settings, tell)
        self._pipeline = Pipeline(self, self._mailbox, segmenter, self._recover)
        try:
            self._labels = LabelOutputs(self)
            for camera in self._cameras:
                camera.configure()
        except Exception:
            self._release()
            raise
        self._labels.publish(segmenter.labels)
        self.diagnostics.set_model(segmenter)
        return super().on_configure(state)

    @reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._pipeline is not None, 'the state machine configures before it activates'
        result = super().on_activate(state)
        self._pipeline.start(
            self._settings['workers'],
            self._settings['batch.max_size'],
            self._settings['batch.max_wait_ms'] / 1e3,
        )
        try:
            for camera in self._cameras:
                camera.activate()
                self.get_logger().info(f'Takes images from {camera.topic}.')
        except Exception:
            self._stop()
            raise
        return result

    @reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
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
        """Back to unconfigured after an unexpected error, ready to be configured again."""
        error = self.diagnostics.error
        self._release()
        self.diagnostics.set_model(None, error)
        return SUCCESS

    def destroy_node(self) -> None:
        self._release()
        super().destroy_node()

    def _release(self) -> None:
        """Stop working and free the network, in any state."""
        self._stop()
        for camera in self._cameras:
            camera.cleanup()
        if self._labels is not None:
            self._labels.destroy()
            self._labels = None
        if self._pipeline is not None:
            self._pipeline.segmenter.close()
            self._pipeline = None
            return_memory()
        self.diagnostics.set_model(None)

    def _stop(self) -> None:
        for camera in self._cameras:
            camera.deactivate()
        if self._pipeline is not None:
            self._pipeline.stop()

    def _tell(self, line: str) -> None:
        """Log what loading has come to, and show it on the diagnostics."""
        if not self.context.ok():
            raise ExternalShutdownException  # SIGTERM: gives up an engine that is being built
        self.get_logger().info(line)
        self.diagnostics.set_progress(line)

    async def _reload(self) -> str:
        """Serve the next frames by the bundle that the parameter names now."""
        folder = self._settings.bundle_folder()
        return f'Runs {(await self._replace(folder)).bundle.identity}.'

    async def _recover(self) -> None:
        """Load the same bundle anew after the network failed again and again."""
        now = time.monotonic()
        if self._pipeline is None or now - self._recovered_s < RECOVERY_PERIOD_S:
            return
        self._recovered_s = now
        self.get_logger().error('The network fails again and again; loads it anew.')
        try:
            await self._replace(self._pipeline.segmenter.bundle.folder)
        except DgssError as error:
            self.get_logger().error(str(error))

    async def _replace(self, folder: Path | None) -> Segmenter:
        """Load a bundle beside the one that runs, then swap them between two frames."""
        pipeline = self._pipeline
        if pipeline is None:
            raise DgssError(f'The node is {self.state} and runs no bundle; configure it instead.')
        load = partial(load_segmenter, folder, self._settings, self._tell)
        segmenter = await in_thread(self, load)
        if self._pipeline is not pipeline:
            segmenter.close()
            raise DgssError('The node was cleaned up meanwhile; configure it instead.')
        old = pipeline.swap(segmenter)
        assert self._labels is not None, 'made together with the pipeline'
        self._labels.publish(segmenter.labels)
        self.diagnostics.set_model(segmenter)
        await in_thread(self, partial(pipeline.retire, old))
        return segmenter

    async def _save_frame(self) -> str:
        """Write the last answered frame of each camera; returns the names of the files."""
        answers = {camera.name: camera.last_answer() for camera in self._cameras}
        folder = Path(self._settings['save_folder']).expanduser()

        def save_all() -> list[Path]:
            return [
                path
                for name, answer in answers.items()
                if answer is not None
                for path in save(answer, name, folder)
            ]

        if paths := await in_thread(self, save_all):
            return '\n'.join(map(str, paths))
        raise DgssError('No frame has been answered yet; activate the node and send it images.')

    def _LifecycleNodeMixin__change_state(self, transition_id: int) -> TransitionCallbackReturn:  # noqa: N802
        # rclpy 7.1 lets an illegal transition raise out of the executor, which would end the
        # process. It has no hook there, only this private method under its mangled name.
        try:
            return super()._LifecycleNodeMixin__change_state(transition_id)  # type: ignore[misc]
        except RCLError as error:
            self.get_logger().error(f'Refused a transition from {self.state}: {error}')
            return FAILURE


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code."""
    return run(SegmentNode, SegmentNode.autostart, sys.argv if args is None else args)


if __name__ == '__main__':
    sys.exit(main())
