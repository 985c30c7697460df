"""Controls a lifecycle node from another process, through its services."""

from __future__ import annotations

import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node

from dgss_core.errors import DgssError
from dgss_ros.client.session import begin_call, call, checked, wait_until

DIAGNOSTICS_WAIT_S = 1.5
CONFIGURE_S = 1800.0
"""A node may build an engine, or compile a network, when it is configured."""
BUSY_S = 2.0
"""A node that answers nothing for so long is busy."""
TRANSITIONS = (
    State.TRANSITION_STATE_CONFIGURING,
    State.TRANSITION_STATE_CLEANINGUP,
    State.TRANSITION_STATE_SHUTTINGDOWN,
    State.TRANSITION_STATE_ACTIVATING,
    State.TRANSITION_STATE_DEACTIVATING,
    State.TRANSITION_STATE_ERRORPROCESSING,
)
SHUTDOWNS = {
    State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_INACTIVE_SHUTDOWN,
    State.PRIMARY_STATE_ACTIVE: Transition.TRANSITION_ACTIVE_SHUTDOWN,
}


class LifecycleClient:
    """Configure, activate, deactivate, clean up and shut down the node `target`.

    `node` must be spinning on another thread, as in `ros_session`. Each call waits up to
    `timeout_s` for the node and as long again for its answer; `configure` waits half an hour for
    it. It raises DgssError when there is no answer, or when the node refuses; the message quotes
    the reason from its diagnostics, if any.
    `check` raises when it is futile to wait.
    """

    def __init__(
        self,
        node: Node,
        target: str = '/dgss',
        timeout_s: float = 30.0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._check = check
        self._change = node.create_client(ChangeState, f'{target}/change_state')
        self._get = node.create_client(GetState, f'{target}/get_state')
        self._reason = ''
        node.create_subscription(DiagnosticArray, '/diagnostics', self._note_reason, 10)

    @property
    def state(self) -> str:
        """`unconfigured`, `inactive`, `active` or `finalized`, or the transition in progress."""
        return self._get_state().label

    def configure(self) -> None:
        self._transition('configure', Transition.TRANSITION_CONFIGURE, CONFIGURE_S)

    def activate(self) -> None:
        self._transition('activate', Transition.TRANSITION_ACTIVATE)

    def deactivate(self) -> None:
        self._transition('deactivate', Transition.TRANSITION_DEACTIVATE)

    def cleanup(self) -> None:
        self._transition('clean up', Transition.TRANSITION_CLEANUP)

    def shutdown(self) -> None:
        state = self._get_state()
        if state.id not in SHUTDOWNS:
            raise DgssError(f'{self._target} cannot shut down while it is {state.label}.')
        self._transition('shut down', SHUTDOWNS[state.id])

    def _transition(self, verb: str, transition_id: int, most_s: float = 0) -> None:
        request = ChangeState.Request(transition=Transition(id=transition_id))
        self._reason = ''
        future = begin_call(self._change, request, self._timeout_s, self._check)
        begun = time.monotonic()
        while not wait_until(checked(future.done, self._check), self._timeout_s):
            waited_s = time.monotonic() - begun
            if waited_s > most_s or not self._is_busy():
                raise DgssError(
                    f'{self._change.srv_name} did not answer within {waited_s:.0f} s; '
                    f'{self._reason or "check its node."}'
                )
        if future.result().success:
            return
        wait_until(lambda: self._reason != '', DIAGNOSTICS_WAIT_S)
        raise DgssError(
            f'{self._target} did not {verb} and is {self.state}: '
            f'{self._reason or "see its log for the reason."}'
        )

    def _is_busy(self) -> bool:
        """Whether the node is in a transition, in which it usually answers nothing."""
        try:
            state = call(self._get, GetState.Request(), BUSY_S, self._check).current_state
        except DgssError:
            self._check()
            return True
        return state.id in TRANSITIONS

    def _get_state(self) -> State:
        return call(self._get, GetState.Request(), self._timeout_s, self._check).current_state

    def _note_reason(self, message: DiagnosticArray) -> None:
        for status in message.status:
            ours = status.name == f'{self._target.lstrip("/")}: model'
            if ours and status.level == DiagnosticStatus.ERROR:
                self._reason = status.message
