"""A mailbox that keeps the newest item of each sender, and worker threads that empty it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from dgss_core.errors import DgssError

Item = TypeVar('Item')


class Slot(Generic[Item]):
    """Holds the newest item of one sender; created by `Mailbox.slot`.

    `received` and `dropped` count the items since then. An item that was replaced is dropped.
    """

    def __init__(self, mailbox: Mailbox[Item]) -> None:
        self._mailbox = mailbox
        self.item: Item | None = None
        self.filled_s = 0.0  # when an item was last put into the empty slot
        self.last_batch = 0  # number of the last batch with an item of this slot
        self.in_work = False
        self.received = 0
        self.dropped = 0

    def put(self, item: Item) -> None:
        """Offer an item to the workers; it replaces the waiting one."""
        self._mailbox._put(self, item)

    def take_newer(self) -> Item | None:
        """Take the waiting item, if any; the one in work then counts as dropped."""
        return self._mailbox._take_newer(self)

    def keep_older(self) -> None:
        """Undo the count of `take_newer`: the newer item is unusable, the one in work goes on."""
        self._mailbox._count_dropped(self, -1)

    def drop(self) -> None:
        """Count the item in work as dropped."""
        self._mailbox._count_dropped(self, 1)

    def _drop_waiting(self) -> None:
        """Drop the waiting item, if any. The caller holds the lock of the mailbox."""
        if self.item is not None:
            self.dropped += 1
            self.item = None


class Mailbox(Generic[Item]):
    """Slots from which batches are taken: the sender served longest ago comes first.

    No two items of one sender are ever in work at once, so each sender's items leave in the order
    in which they came. A closed mailbox refuses items without counting them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item_ready = threading.Condition(self._lock)
        self._batch_done = threading.Condition(self._lock)
        self._slots: list[Slot[Item]] = []
        self._open = False
        self._batches = 0

    def slot(self) -> Slot[Item]:
        """Create the slot of another sender."""
        with self._lock:
            self._slots.append(Slot(self))
            return self._slots[-1]

    def open(self) -> None:
        with self._lock:
            self._open = True

    def close(self) -> None:
        """Drop the waiting items and make every `take` return an empty batch."""
        with self._lock:
            self._open = False
            for slot in self._slots:
                slot._drop_waiting()
            self._item_ready.notify_all()

    def _put(self, slot: Slot[Item], item: Item) -> None:
        with self._lock:
            if not self._open:
                return
            if slot.item is None:
                slot.filled_s = time.monotonic()
            slot._drop_waiting()
            slot.item = item
            slot.received += 1
            if not slot.in_work:
                self._item_ready.notify()
        # Yield the interpreter, so that a worker takes the item now and not after the caller.
        time.sleep(0)

    def take(self, max_size: int = 1, max_wait_s: float = 0.0) -> list[tuple[Slot[Item], Item]]:
        """Wait for items and empty their slots; return an empty batch once the mailbox is closed.

        The batch is smaller than `max_size` if no other slot can add to it, or if its first item
        has waited for `max_wait_s`. The caller must pass its slots to `done` after the work.
        """
        with self._lock:
            while self._open:
                free = [slot for slot in self._slots if not slot.in_work]
                ready = [slot for slot in free if slot.item is not None]
                wait_s = None
                if ready:
                    full = len(ready) >= min(max_size, len(free))
                    due_s = min(slot.filled_s for slot in ready) + max_wait_s
                    wait_s = 0.0 if full else due_s - time.monotonic()
                    if wait_s <= 0:
                        return self._hand_out(ready, max_size)
                self._item_ready.wait(wait_s)
            return []

    def _take_newer(self, slot: Slot[Item]) -> Item | None:
        with self._lock:
            newer, slot.item = slot.item, None
            if newer is not None:
                slot.dropped += 1  # the item in work, which the newer one replaces
            return newer

    def _count_dropped(self, slot: Slot[Item], number: int) -> None:
        with self._lock:
            slot.dropped += number

    def done(self, slots: list[Slot[Item]]) -> None:
        """Free the slots of a batch, so that the next items of their senders can be taken."""
        with self._lock:
            for slot in slots:
                slot.in_work = False
                if slot.item is not None:
                    self._item_ready.notify()
            self._batch_done.notify_all()

    def settle(self, timeout_s: float | None = None) -> bool:
        """Wait until the batches that are in work now are done; later ones may be in work then.

        Returns False if they are not done within `timeout_s`; None waits without a limit.
        """
        with self._lock:
            last = self._batches
            return self._batch_done.wait_for(
                lambda: not any(slot.in_work and slot.last_batch <= last for slot in self._slots),
                timeout_s,
            )

    def _hand_out(self, ready: list[Slot[Item]], max_size: int) -> list[tuple[Slot[Item], Item]]:
        self._batches += 1
        batch = []
        for slot in sorted(ready, key=lambda slot: slot.last_batch)[:max_size]:
            assert slot.item is not None
            batch.append((slot, slot.item))
            slot.item, slot.in_work, slot.last_batch = None, True, self._batches
        return batch


class Workers(Generic[Item]):
    """Threads that take every item of `mailbox` between `start` and `stop`."""

    def __init__(self, mailbox: Mailbox[Item]) -> None:
        self._mailbox = mailbox
        self._threads: list[threading.Thread] = []

    def start(
        self,
        work: Callable[[list[Item]], object],
        after: Callable[[list[Item]], object] = lambda items: None,
        failed: Callable[[list[Item], BaseException], object] = lambda items, error: None,
        *,
        count: int = 1,
        max_size: int = 1,
        max_wait_s: float = 0.0,
    ) -> None:
        """Call `work` with the items of each batch, on `count` new threads.

        Then the slots are freed and `after` is called with the same items, while another thread
        may already work on the next items of these senders. Whatever `work` or `after` raises goes
        to `failed`, and the thread takes the next batch.

        Raises DgssError, and starts no thread, if the system refuses one of them, or if a thread
        of the last start still runs.
        """

        def attempt(step: Callable[[list[Item]], object], items: list[Item]) -> None:
            try:
                step(items)
            except BaseException as error:
                with suppress(Exception):  # the thread must live to free the next slots
                    failed(items, error)

        def run() -> None:
            while batch := self._mailbox.take(max_size, max_wait_s):
                items = [item for _, item in batch]
                try:
                    attempt(work, items)
                finally:
                    self._mailbox.done([slot for slot, _ in batch])
                attempt(after, items)

        if self._threads:
            raise DgssError('The last frame has not left the network; restart the node.')
        self._mailbox.open()
        try:
            for number in range(count):
                # Daemon: a call that never returns must not keep the process from ending.
                thread = threading.Thread(target=run, name=f'segmentation {number}', daemon=True)
                thread.start()
                self._threads.append(thread)
        except RuntimeError as error:
            self.stop()
            raise DgssError(
                f'The system refuses {count} threads ({error}); set workers to a smaller number, '
                'or raise the limit of processes (ulimit -u, pids.max).'
            ) from error

    def stop(self, timeout_s: float | None = None) -> bool:
        """Finish the items in work, drop the waiting ones, and join the threads.

        Returns False if a thread does not end within `timeout_s`; None waits without a limit. Such
        a thread ends once its items are finished.
        """
        self._mailbox.close()
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if end_s is None else max(0.0, end_s - time.monotonic()))
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return not self._threads
