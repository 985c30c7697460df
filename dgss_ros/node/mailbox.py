"""A mailbox that keeps the newest item of each sender, and worker threads that empty it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

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

    def done(self, slots: list[Slot[Item]]) -> None:
        """Free the slots of a batch, so that the next items of their senders can be taken."""
        with self._lock:
            for slot in slots:
                slot.in_work = False
                if slot.item is not None:
                    self._item_ready.notify()
            self._batch_done.notify_all()

    def settle(self) -> None:
        """Wait until the batches that are in work now are done; later ones may be in work then."""
        with self._lock:
            last = self._batches
            self._batch_done.wait_for(
                lambda: not any(slot.in_work and slot.last_batch <= last for slot in self._slots)
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
        *,
        count: int = 1,
        max_size: int = 1,
        max_wait_s: float = 0.0,
    ) -> None:
        """Call `work` with the items of each batch, on `count` new threads; it must not raise.

        Then the slots are freed and `after` is called with the same items, while another thread
        may already work on the next items of these senders.
        """

        def run() -> None:
            while batch := self._mailbox.take(max_size, max_wait_s):
                items = [item for _, item in batch]
                work(items)
                self._mailbox.done([slot for slot, _ in batch])
                after(items)

        self._mailbox.open()
        self._threads = [
            threading.Thread(target=run, name=f'segmentation {number}') for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the items in work, drop the waiting ones, and join the threads."""
        self._mailbox.close()
        for thread in self._threads:
            thread.join()
        self._threads = []
