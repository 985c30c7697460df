"""Statuses on `/diagnostics` once a second, by diagnostic_updater where that is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

try:
    import diagnostic_updater
except ImportError:
    diagnostic_updater = None

HARDWARE = 'dgss'
PERIOD_S = 1.0


class Status(DiagnosticStatus):
    """A status under way, as `diagnostic_updater.DiagnosticStatusWrapper` has it."""

    def summary(self, level: bytes, message: str) -> None:
        self.level, self.message = level, message

    def add(self, key: str, value: str) -> None:
        self.values.append(KeyValue(key=key, value=value))


Task = Callable[[Any], Any]
"""Fills a status by its `summary` and `add`, and returns it."""


class Updater:
    """As much of `diagnostic_updater.Updater` as the node uses."""

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


def start_updater(node: Node) -> Any:
    """An updater that publishes the tasks which are added to it, once a period."""
    if diagnostic_updater is None:
        updater = Updater(node)
    else:
        updater = diagnostic_updater.Updater(node)
        updater.setHardwareID(HARDWARE)
        updater.timer.cancel()
    # Not the node's clock: a simulation that stands still must not silence the diagnostics.
    node.create_timer(
        updater.period, updater.force_update, clock=Clock(clock_type=ClockType.STEADY_TIME)
    )
    return updater
