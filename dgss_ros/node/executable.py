"""Runs a node as a program: arguments, signals, spinning and clean shutdown."""

from __future__ import annotations

import gc
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

import rclpy
from rclpy._rclpy_pybind11 import RCLInvalidROSArgsError, UnknownROSArgsError
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions, install_signal_handlers
from rclpy.utilities import remove_ros_args

from dgss_core.errors import DgssError
from dgss_core.files.home import name_user
from dgss_ros.node.ending import Deadline
from dgss_ros.node.transport import init_ros, prepare_process, starting_ros

NodeT = TypeVar('NodeT', bound=Node)

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SWITCH_INTERVAL_S = 5e-4
"""Maximum time that a thread holds the interpreter while others wait. Python's default of 5 ms
exceeds the time that the node adds to a frame; executor and workers often compete for it."""


def run(make: Callable[[], NodeT], begin: Callable[[NodeT], None], args: list[str]) -> int:
    """Make a node, call `begin` with it, and spin it until SIGINT or SIGTERM.

    Returns the exit code: 0, or 2 for a DgssError at start. A thread that does not end keeps the
    process for no longer than `dgss_ros.node.ending.END_S`.
    """
    name_user()
    prepare_process()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # What was imported stays. To look through it again and again would stop the frames for longer.
    gc.freeze()
    ends = ExitStack()
    try:
        node, executor = start(make, args)
        ends.callback(Deadline(node.context).leave)
        ends.callback(rclpy.try_shutdown)
        ends.callback(node.destroy_node)
        ends.callback(executor.shutdown)
        executor.create_task(begin, node)
        spin(node, executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except DgssError as error:
        print(f'dgss: error: {error}', file=sys.stderr)
        return 2
    finally:
        ends.close()
        rclpy.try_shutdown()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # until the interpreter has ended
    return 0


def start(make: Callable[[], NodeT], args: list[str]) -> tuple[NodeT, SingleThreadedExecutor]:
    """Make a node with the ROS arguments of a command line, and its executor.

    Raises DgssError for wrong arguments, and if ROS 2 cannot start.
    """
    try:
        if unknown := remove_ros_args(args)[1:]:
            raise DgssError(f'Unknown arguments {unknown}; ROS arguments follow --ros-args.')
        # While the node is made, SIGTERM raises KeyboardInterrupt, as SIGINT does. Later both only
        # make rclpy shut down the context, because an exception could interrupt any statement.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        init_ros(args=args, signal_handler_options=SignalHandlerOptions.NO)
        # Before rclpy handles signals: no executor can be made for a context that is shut down.
        executor = SingleThreadedExecutor()
        with starting_ros():
            node = make()
        executor.add_node(node)
        early: list[int] = []
        for number in SIGNALS:
            signal.signal(number, lambda number, _: early.append(number))
        install_signal_handlers(SignalHandlerOptions.ALL)
        if early:
            raise KeyboardInterrupt
        return node, executor
    except (UnknownROSArgsError, RCLInvalidROSArgsError, ParameterException) as error:
        # rcl appends the locations in its C code.
        reason = str(error).split(', at /')[0]
        raise DgssError(f'The ROS arguments cannot be used: {reason}') from error


def spin(node: Node, executor: SingleThreadedExecutor) -> None:
    """Run callbacks until the context is shut down; log the exceptions of callbacks."""
    while node.context.ok():
        try:
            executor.spin_once()
        except (KeyboardInterrupt, ExternalShutdownException):
            return
        except Exception:
            if node.context.ok():
                node.get_logger().error(traceback.format_exc())
