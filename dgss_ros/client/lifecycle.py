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
LOOK_S, BUSY_S = 5.0, 2.0
"""Waits for an answer, until the state is asked for, and for the state of a node that is idle."""
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
        goal = State.PRIMARY_STATE_INACTIVE
        self._transition('configure', Transition.TRANSITION_CONFIGURE, goal, CONFIGURE_S)

    def activate(self) -> None:
        goal = State.PRIMARY_STATE_ACTIVE
        self._transition('activate', Transition.TRANSITION_ACTIVATE, goal)

    def deactivate(self) -> None:
        goal = State.PRIMARY_STATE_INACTIVE
        self._transition('deactivate', Transition.TRANSITION_DEACTIVATE, goal)

    def cleanup(self) -> None:
        goal = State.PRIMARY_STATE_UNCONFIGURED
        self._transition('clean up', Transition.TRANSITION_CLEANUP, goal)

    def shutdown(self) -> None:
        state = self._get_state()
        if state.id not in SHUTDOWNS:
            raise DgssError(f'{self._target} cannot shut down while it is {state.label}.')
        self._transition('shut down', SHUTDOWNS[state.id], State.PRIMARY_STATE_FINALIZED)

    def _transition(
        self, verb: str, transition_id: int, goal: int, most_s: float | None = None
    ) -> None:
        request = ChangeState.Request(transition=Transition(id=transition_id))
        self._reason = ''
        future = begin_call(self._change, request, self._timeout_s, self._check)
        most_s = self._timeout_s if most_s is None else most_s
        end, state = time.monotonic() + most_s, None
        # An answer is lost where the node does not know its reader yet; then the state tells it.
        while not wait_until(checked(future.done, self._check), LOOK_S) and state is None:
            if time.monotonic() > end:
                raise DgssError(
                    f'{self._change.srv_name} did not answer within {most_s:g} s; check its node.'
                )
            state = self._state_at_rest()
        is_done = future.result().success if future.done() else state and state.id == goal
        if is_done:
            return
        wait_until(lambda: self._reason != '', DIAGNOSTICS_WAIT_S)
        raise DgssError(
            f'{self._target} did not {verb} and is {self.state}: '
            f'{self._reason or "see its log for the reason."}'
        )

    def _state_at_rest(self) -> State | None:
        """The state; None in a transition, in which a node usually answers nothing."""
        try:
            state = call(self._get, GetState.Request(), BUSY_S, self._check).current_state
        except DgssError:
            self._check()
            return None
        return None if state.id in TRANSITIONS else state

    def _get_state(self) -> State:
        return call(self._get, GetState.Request(), self._timeout_s, self._check).current_state

    def _note_reason(self, message: DiagnosticArray) -> None:
        for status in message.status:
            ours = status.name == f'{self._target.lstrip("/")}: model'
            if ours and status.level == DiagnosticStatus.ERROR:
                self._reason = status.message
