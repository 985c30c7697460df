"""Publishes statuses on `/diagnostics` once a second.

Not with diagnostic_updater, which names them after the node without its namespace: two vehicles
would share one status.
"""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from dgss_ros.health.connections import NO_EVENTS

HARDWARE = 'dgss'
PERIOD_S = 1.0


class Status(DiagnosticStatus):
    """A status with the methods that fill it."""

    def summary(self, level: bytes, message: str) -> None:
        self.level, self.message = level, message

    def add(self, key: str, value: str) -> None:
        self.values.append(KeyValue(key=key, value=value))


Task = Callable[[Status], Status]
"""Fills a status and returns it."""


class Updater:
    """Publishes a status `NODE: name` of each task, by the full name of the node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._name = node.get_fully_qualified_name().lstrip('/')
        self._tasks: dict[str, Task] = {}
        self._publisher = node.create_publisher(
            DiagnosticArray, '/diagnostics', 10, event_callbacks=NO_EVENTS
        )

    def add(self, name: str, task: Task) -> None:
        """Add a task that fills the status `NODE: name`."""
        self._tasks[name] = task

    def force_update(self) -> None:
        """Run all tasks and publish their statuses now."""
        array = DiagnosticArray(
            status=[
                task(Status(name=f'{self._name}: {name}', hardware_id=HARDWARE))
                for name, task in self._tasks.items()
            ]
        )
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)


def start_updater(node: Node) -> Updater:
    """Return an updater that publishes the statuses of its tasks once a second."""
    updater = Updater(node)
    # Not the clock of the node, so that the diagnostics continue when a simulation is paused.
    node.create_timer(
        PERIOD_S, updater.force_update, clock=Clock(clock_type=ClockType.STEADY_TIME)
    )
    return updater
