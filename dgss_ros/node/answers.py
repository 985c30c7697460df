"""The order in which one camera's answers leave."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar('Answer')


class Answers(Generic[Answer]):
    """Answers of one camera on their way out, oldest first.

    The rule: call `put` while the camera's slot is in work, because then no later answer of that
    camera can exist. Free the slot. Then call `publish_oldest`, from any thread. It publishes the
    oldest answer, which need not be the caller's own. Each `put` is followed by one call, so
    every answer leaves, and in order, while the next frame is already in the network.
    """

    def __init__(self, publish: Callable[[Answer], None]) -> None:
        self._publish = publish
        self._waiting: deque[Answer] = deque()
        self._publishing = threading.Lock()

    def put(self, answer: Answer) -> None:
        self._waiting.append(answer)

    def publish_oldest(self) -> None:
        """Publish the oldest answer; return at once when there is none."""
        with self._publishing:
            if self._waiting:
                self._publish(self._waiting.popleft())
