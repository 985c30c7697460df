"""Publishes statuses on `/diagnostics` once a second, with diagnostic_updater if installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

try:
    import diagnostic_updater
except ImportError:
    diagnostic_updater = None

HARDWARE = 'dgss'
PERIOD_S = 1.0


class StatusWriter(Protocol):
    """The methods of `diagnostic_updater.DiagnosticStatusWrapper` that fill a status."""

    def summary(self, level: bytes, message: str) -> None: ...

    def add(self, key: str, value: str) -> None: ...


class Status(DiagnosticStatus):
    """A status with the methods of `StatusWriter`."""

    def summary(self, level: bytes, message: str) -> None:
        self.level, self.message = level, message

    def add(self, key: str, value: str) -> None:
        self.values.append(KeyValue(key=key, value=value))


Task = Callable[[StatusWriter], StatusWriter]
"""Fills a status and returns it."""


class TaskPublisher(Protocol):
    """The methods of `diagnostic_updater.Updater` that the node uses."""

    def add(self, name: str, task: Task) -> None:
        """Add a task that fills the status `NODE: name`."""

    def force_update(self) -> None:
        """Run all tasks and publish their statuses now."""


class Updater:
    """A `TaskPublisher` for machines without diagnostic_updater."""

    def __init__(self, node: Node) -> None:
        self.period = PERIOD_S
        self._node = node
        self._name = node.get_fully_qualified_name().lstrip('/')
        self._tasks: dict[str, Task] = {}
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)

    def add(self, name: str, task: Task) -> None:
        self._tasks[name] = task

    def force_update(self) -> None:
        array = DiagnosticArray(
            status=[
                task(Status(name=f'{self._name}: {name}', hardware_id=HARDWARE))
                for name, task in self._tasks.items()
            ]
        )
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)


def start_updater(node: Node) -> TaskPublisher:
    """Return an updater that publishes the statuses of its tasks once per period."""
    if diagnostic_updater is None:
        updater = Updater(node)
    else:
        updater = diagnostic_updater.Updater(node)
        updater.setHardwareID(HARDWARE)
        updater.timer.cancel()
    # Not the clock of the node, so that the diagnostics continue when a simulation is paused.
    node.create_timer(
        updater.period, updater.force_update, clock=Clock(clock_type=ClockType.STEADY_TIME)
    )
    return updater
