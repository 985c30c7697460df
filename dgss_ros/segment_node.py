"""The lifecycle node: images come in on `~/image`, masks leave on `~/mask`.

The executor's one thread only puts each image into its camera's slot; worker threads take the
newest of each camera, run the network and publish. An image that cannot be used is counted and
reported on `/diagnostics`, and the next good one is answered: no message and no service call ends
this node.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps

import numpy as np
import rclpy
from rclpy._rclpy_pybind11 import RCLError, RCLInvalidROSArgsError, UnknownROSArgsError
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions, install_signal_handlers
from rclpy.utilities import remove_ros_args

from dgss_core.bundle import open_bundle
from dgss_core.errors import DgssError
from dgss_core.segmenter import Segmenter
from dgss_ros.cameras import Arrival, Camera
from dgss_ros.diagnostics import Diagnostics
from dgss_ros.mailbox import Mailbox
from dgss_ros.outputs import LabelOutputs
from dgss_ros.parameters import Parameters
from dgss_ros.pipeline import Pipeline
from dgss_ros.transport import prepare_process

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)
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
        self.diagnostics = Diagnostics(self, lambda: self.state, self._cameras)

    @property
    def state(self) -> str:
        return self._state_machine.current_state[1]

    def autostart(self) -> None:
        if self._settings['autostart'] and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    @reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            segmenter = self._load()
            self._labels = LabelOutputs(self)
            for camera in self._cameras:
                camera.configure()
        except Exception:
            self.release()
            raise
        self._pipeline = Pipeline(self, self._mailbox, segmenter)
        self._labels.publish(segmenter.labels)
        self.diagnostics.set_model(segmenter)
        return super().on_configure(state)

    def _load(self) -> Segmenter:
        """Load the bundle into its backend and warm it up."""
        bundle = open_bundle(self._settings['bundle'])
        segmenter = Segmenter(bundle, self._settings['backend'], self._settings['threads'])
        # The first call allocates; it must not fall on the first frame of a drive.
        segmenter(np.zeros((bundle.height, bundle.width, 3), np.uint8))
        self.get_logger().info(f'Runs {bundle.identity} on {segmenter.backend.identity}.')
        return segmenter

    @reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._pipeline is not None, 'the state machine configures before it activates'
        result = super().on_activate(state)
        self._pipeline.start(
            self._settings['workers'],
            self._settings['batch.max_size'],
            self._settings['batch.max_wait_ms'] / 1e3,
        )
        for camera in self._cameras:
            camera.activate()
            self.get_logger().info(f'Takes images from {camera.topic}.')
        return result

    @reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        return super().on_deactivate(state)

    @reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.release()
        return super().on_cleanup(state)

    @reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured after an unexpected error, ready to be configured again."""
        error = self.diagnostics.error
        self.release()
        self.diagnostics.set_model(None, error)
        return SUCCESS

    def release(self) -> None:
        """Stop working and free the network; callable in any state."""
        self._stop()
        for camera in self._cameras:
            camera.cleanup()
        if self._labels is not None:
            self._labels.destroy()
            self._labels = None
        if self._pipeline is not None:
            self._pipeline.segmenter.backend.close()
            self._pipeline = None
        self.diagnostics.set_model(None)

    def _stop(self) -> None:
        for camera in self._cameras:
            camera.deactivate()
        if self._pipeline is not None:
            self._pipeline.stop()

    def _LifecycleNodeMixin__change_state(self, transition_id: int) -> TransitionCallbackReturn:  # noqa: N802
        # rclpy 7.1 lets an illegal transition raise out of the executor, which would end the
        # process. It has no hook there, only this private method under its mangled name.
        try:
            return super()._LifecycleNodeMixin__change_state(transition_id)  # type: ignore[misc]
        except RCLError as error:
            self.get_logger().error(f'Refused a transition from {self.state}: {error}')
            return FAILURE


def spin(node: SegmentNode, executor: SingleThreadedExecutor) -> None:
    """Serve callbacks until the context is shut down; an exception in one is logged."""
    while node.context.ok():
        try:
            executor.spin_once()
        except (KeyboardInterrupt, ExternalShutdownException):
            return
        except Exception:
            if node.context.ok():
                node.get_logger().error(traceback.format_exc())


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code."""
    prepare_process()
    ends = ExitStack()
    try:
        node = start(sys.argv if args is None else args)
        ends.callback(node.destroy_node)
        ends.callback(node.release)
        executor = SingleThreadedExecutor()
        ends.callback(executor.shutdown)
        executor.add_node(node)
        executor.create_task(node.autostart)
        spin(node, executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except DgssError as error:
        print(f'dgss: error: {error}', file=sys.stderr)
        return 2
    finally:
        ends.close()
        rclpy.try_shutdown()
    return 0


def start(args: list[str]) -> SegmentNode:
    """Make the node of a command line; DgssError when that asks for the impossible."""
    try:
        if unknown := remove_ros_args(args)[1:]:
            raise DgssError(f'Unknown arguments {unknown}; ROS arguments follow --ros-args.')
        # While the node is made, SIGTERM is an exception in this thread as SIGINT is. From then
        # on both only make rclpy shut down the context: an exception could come amid anything.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = SegmentNode()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        install_signal_handlers(SignalHandlerOptions.ALL)
        return node
    except (UnknownROSArgsError, RCLInvalidROSArgsError, ParameterException) as error:
        # rcl appends the places in its C code.
        reason = str(error).split(', at /')[0]
        raise DgssError(f'The ROS arguments cannot be used: {reason}') from error


if __name__ == '__main__':
    sys.exit(main())
