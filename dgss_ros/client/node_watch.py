"""Tells whether a lifecycle node that another process runs still works."""

from __future__ import annotations

from contextlib import suppress

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy._rclpy_pybind11 import InvalidHandle, RCLError
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from dgss_core.errors import DgssError
from dgss_ros.client.session import checked, wait_until

PERIOD_S = 0.5
REPEAT = 2
"""Periods after which a question without an answer is asked again, as discovery may lose one."""
GONE = 2
"""Periods without its services after which a node has ended."""
SILENCE_S = 10.0
"""Time without any sign after which a node counts as ended or hanging.

Its frames run on threads, so that a busy node answers within milliseconds; a library that loads a
network may stop all threads for seconds. The middleware forgets a killed process after 20 s.
"""
FIRST_S = 5.0
"""Longest wait for the first answer; a node that gives none has no lifecycle to ask for."""


class NodeWatch:
    """Asks the node `target` for its state, twice a second, on the executor of `ros`.

    Silence is counted in those periods, so that a pause of this process is no silence of the node.
    """

    def __init__(self, ros: Node, target: str) -> None:
        self._target = target
        self._client = ros.create_client(GetState, f'{target}/get_state')
        self._asked: Future | None = None
        self._waits = self._silent = self._gone = 0
        self._answers = 0
        self._is_known = False
        self.state = ''
        ros.create_timer(PERIOD_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def begin(self) -> None:
        """Expect an active node from now on."""
        self.state = ''
        self._silent = self._gone = 0
        answers = self._answers
        self._ask()
        self._is_known = wait_until(lambda: self._answers > answers, FIRST_S)

    def heard(self) -> None:
        """Note another sign of life than an answer about the state."""
        self._silent = 0

    def check(self) -> None:
        """Raise DgssError when the node has ended, hangs or is no longer active."""
        if not self._is_known:
            return
        again = 'start it again, and repeat'
        if self._gone >= GONE:
            raise DgssError(f'The node {self._target} has ended; see its log, {again}.')
        if self._silent * PERIOD_S >= SILENCE_S:
            raise DgssError(
                f'The node {self._target} has ended or hangs: it has not answered for '
                f'{SILENCE_S:g} s; see its log, {again}.'
            )
        if self.state not in ('', 'active'):
            remedy = again if self.state == 'finalized' else 'make it active, and repeat'
            raise DgssError(
                f'The node {self._target} is no longer active, but {self.state}; {remedy}.'
            )

    def confirm(self) -> None:
        """Wait for a new answer; raises DgssError when there is none, or as `check` does."""
        answers = self._answers
        waits_s = 2 * SILENCE_S if self._is_known else 0.0
        wait_until(checked(lambda: self._answers > answers, self.check), waits_s)
        self.check()

    def _look(self) -> None:
        with suppress(InvalidHandle, RCLError):  # the end of the session
            self._ask_if_due()

    def _ask_if_due(self) -> None:
        is_ready = self._client.service_is_ready()
        self._gone = 0 if is_ready else self._gone + 1
        self._silent += 1
        self._waits += 1
        if is_ready and (self._asked is None or self._waits >= REPEAT):
            self._ask()

    def _ask(self) -> None:
        if self._asked is not None:
            self._client.remove_pending_request(self._asked)
        self._waits = 0
        self._asked = self._client.call_async(GetState.Request())
        self._asked.add_done_callback(self._note)

    def _note(self, future: Future) -> None:
        if future is not self._asked or future.cancelled() or future.exception():
            return
        self._asked = None
        state: State = future.result().current_state
        self._silent = 0
        self.state = state.label
        self._answers += 1
