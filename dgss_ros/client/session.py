"""A ROS node for a command: it lasts as long as a `with` block and spins by itself."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from dgss_core.errors import DgssError
from dgss_ros.node.transport import init_ros, prepare_process, starting_ros


@contextmanager
def ros_session(name: str) -> Iterator[Node]:
    """Yield a node whose callbacks run on a separate thread.

    Its context is private and handles no signals, so Ctrl-C raises KeyboardInterrupt in the main
    thread, even while that waits. SIGTERM raises it too. Raises DgssError if ROS 2 cannot start.
    """
    prepare_process()
    with _interrupted_by_sigterm():
        context = Context()
        # Without them rclpy takes the options of the command for its own.
        init_ros(context=context, args=[])
        with starting_ros():
            node = Node(name, context=context, start_parameter_services=False)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        thread = threading.Thread(target=_spin, args=(executor,), name=name, daemon=True)
        thread.start()
        try:
            yield node
        finally:
            context.try_shutdown()
            thread.join()
            node.destroy_node()


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll until `condition` holds; returns False if it does not within `timeout_s` seconds."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def checked(condition: Callable[[], bool], check: Callable[[], None]) -> Callable[[], bool]:
    """A condition that calls `check` first, which raises when it is futile to wait."""

    def both() -> bool:
        check()
        return condition()

    return both


def call(
    client: Client,
    request: Any,
    timeout_s: float,
    check: Callable[[], None] = lambda: None,
    answer_s: float | None = None,
) -> Any:
    """Call a service; raises DgssError when it is absent or does not answer in time.

    It waits `timeout_s` for the service and `answer_s`, by default as long, for the answer.
    `check` raises when it is futile to wait.
    """
    answer_s = timeout_s if answer_s is None else answer_s
    future = begin_call(client, request, timeout_s, check)
    if not wait_until(checked(future.done, check), answer_s):
        raise DgssError(f'{client.srv_name} did not answer within {answer_s:g} s; check its node.')
    return future.result()


def begin_call(
    client: Client, request: Any, timeout_s: float, check: Callable[[], None] = lambda: None
) -> Future:
    """Send a request to a service, and return the future of its answer; raises as `call`."""
    # Not client.wait_for_service, which looks only four times a second.
    if not wait_until(checked(client.service_is_ready, check), timeout_s):
        raise DgssError(
            f'There is no service {client.srv_name} (waited {timeout_s:g} s); start its node, and '
            'check that both sides have the same ROS_DOMAIN_ID.'
        )
    return client.call_async(request)


def _spin(executor: SingleThreadedExecutor) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()
