"""The bond that the lifecycle manager of Nav2 expects of each active node, by bondpy.

The names, the topic and the times are those of Nav2's own nodes (nav2_util/src/lifecycle_node.cpp,
nav2_lifecycle_manager/src/lifecycle_manager.cpp, Jazzy).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from rclpy._rclpy_pybind11 import InvalidHandle, RCLError
from rclpy.duration import Duration
from rclpy.node import Node

try:
    from bondpy.bondpy import Bond
except ImportError:
    Bond = None

TOPIC = 'bond'
HEARTBEAT_TIMEOUT_S = 4.0
FAREWELL_S = 0.5
"""Longest wait for the manager to receive that the bond ends."""


class ManagerBond:
    """Heartbeats from `form` until `dissolve`; none where bondpy is not installed."""

    def __init__(self, node: Node, period_s: float) -> None:
        """`period_s`: of the heartbeats; 0 for no bond."""
        self._node = node
        self._period_s = period_s
        self._bond: Any = None

    def form(self) -> None:
        if not self._period_s:
            return
        if Bond is None:
            self._node.get_logger().info(
                'Makes no bond, as bondpy is not installed; the lifecycle manager of Nav2 needs '
                'it, or bond_timeout: 0.0.'
            )
            return
        self._bond = _quiet_bond(self._node)
        self._bond.heartbeat_period = self._period_s
        self._bond.heartbeat_timeout = HEARTBEAT_TIMEOUT_S
        # As in the nodes of Nav2: a manager that is silent for a while is not given up.
        self._bond.heartbeat_timer.on_timeout = None
        self._bond.start()

    def dissolve(self) -> None:
        """Tell the manager that the bond ends here."""
        bond, self._bond = self._bond, None
        if bond is None:
            return
        with suppress(InvalidHandle, RCLError):  # SIGTERM has shut down the context
            bond.break_bond()
            # A publisher that is destroyed at once takes its last message with it.
            bond.pub.wait_for_all_acked(Duration(seconds=FAREWELL_S))
        # bondpy destroys its endpoints, and the lists of the node keep them.
        subscription, publisher = bond.sub, bond.pub
        bond.shutdown()
        self._node.destroy_subscription(subscription)
        self._node.destroy_publisher(publisher)
        # Otherwise their threads run on for seconds.
        for timer in (bond.connect_timer, bond.heartbeat_timer, bond.disconnect_timer):
            timer.cancel()


def _quiet_bond(node: Node) -> Any:
    class QuietBond(Bond):
        """Its thread does not know when SIGTERM has shut down the context."""

        def _publish(self, active: bool) -> None:
            with suppress(InvalidHandle, RCLError):
                super()._publish(active)

    return QuietBond(node, TOPIC, node.get_name())
