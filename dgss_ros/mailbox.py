"""Newest frame wins: a one-slot mailbox and the one thread that empties it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar('Item')


class Mailbox(Generic[Item]):
    """One slot that holds the newest item; an item it replaces was dropped.

    `received` and `dropped` count since the mailbox was made. A closed mailbox refuses items
    without counting them.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._open = False
        self.received = 0
        self.dropped = 0

    def open(self) -> None:
        with self._condition:
            self._open = True

    def close(self) -> None:
        """Drop what waits and let `take` return None."""
        with self._condition:
            self._open = False
            self._drop()
            self._condition.notify_all()

    def put(self, item: Item) -> None:
        with self._condition:
            if not self._open:
                return
            self._drop()
            self._item = item
            self.received += 1
            self._condition.notify()

    def take(self) -> Item | None:
        """Wait for an item and empty the slot; None once the mailbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or not self._open)
            item, self._item = self._item, None
            return item

    def _drop(self) -> None:
        if self._item is not None:
            self.dropped += 1
            self._item = None


class Worker(Generic[Item]):
    """A thread that takes every item of `mailbox`, while it is started."""

    def __init__(self, mailbox: Mailbox[Item]) -> None:
        self._mailbox = mailbox
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[Item], None]) -> None:
        """Hand each item to `work`, which must not raise, on a new thread."""
        self._mailbox.open()
        self._thread = threading.Thread(target=self._run, args=(work,), name='segmentation')
        self._thread.start()

    def stop(self) -> None:
        """Let the item in work finish, drop the one that waits, and join the thread."""
        self._mailbox.close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, work: Callable[[Item], None]) -> None:
        while (item := self._mailbox.take()) is not None:
            work(item)
