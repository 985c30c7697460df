"""Publishes the answers of one camera in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Answer = TypeVar('Answer')


class Answers(Generic[Answer]):
    """Queue of the unpublished answers of one camera, oldest first.

    The rule: call `put` while the slot of the camera is in work, because then no later answer of
    that camera can exist. Free the slot. Then call `publish_oldest` once, from any thread. It
    publishes the oldest answer, which need not be the answer of the caller. Every answer is thus
    published, and in order, while the next frame is already in the network.
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

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Publish nothing during the block; it begins when the answer that leaves has left."""
        with self._publishing:
            yield
