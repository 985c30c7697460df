from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from dgss_core.errors import DgssError
from dgss_ros.node.mailbox import Mailbox, Slot, Workers


def mailbox_of(senders: int) -> tuple[Mailbox, list[Slot]]:
    mailbox: Mailbox = Mailbox()
    slots = [mailbox.slot() for _ in range(senders)]
    mailbox.open()
    return mailbox, slots


def items(batch: list) -> list:
    return [item for _, item in batch]


def finish(mailbox: Mailbox, batch: list) -> None:
    mailbox.done([slot for slot, _ in batch])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_newest_item_wins_and_replaced_items_are_counted() -> None:
    mailbox, (slot,) = mailbox_of(1)
    for item in (1, 2, 3):
        slot.put(item)
    assert items(mailbox.take()) == [3]
    assert (slot.received, slot.dropped) == (3, 2)


def test_a_closed_mailbox_drops_waiting_items_and_refuses_new_ones() -> None:
    mailbox: Mailbox[int] = Mailbox()
    slot = mailbox.slot()
    slot.put(1)
    assert slot.received == 0
    mailbox.open()
    slot.put(2)
    mailbox.close()
    slot.put(3)
    assert mailbox.take() == []
    assert (slot.received, slot.dropped) == (1, 1)


def test_take_waits_for_an_item() -> None:
    mailbox, (slot,) = mailbox_of(1)
    taken: list = []
    thread = threading.Thread(target=lambda: taken.extend(items(mailbox.take())))
    thread.start()
    slot.put('late')
    thread.join(5)
    assert taken == ['late']


def test_the_sender_served_longest_ago_comes_first() -> None:
    mailbox, slots = mailbox_of(3)
    served = []
    for _ in range(9):
        for slot, name in zip(slots, 'abc', strict=True):
            slot.put(name)
        batch = mailbox.take()
        served += items(batch)
        finish(mailbox, batch)
    assert ''.join(served) == 'abcabcabc'


def test_a_sender_never_has_two_items_in_work() -> None:
    mailbox, (first, second, third) = mailbox_of(3)
    first.put(1)
    batch = mailbox.take()
    first.put(2)
    second.put(3)
    third.put(4)
    # The second item of the first sender waits, although it was there before the others.
    assert items(mailbox.take(max_size=3)) == [3, 4]
    finish(mailbox, batch)
    assert items(mailbox.take()) == [2]


def test_a_newer_item_can_replace_the_one_in_work() -> None:
    mailbox, (slot,) = mailbox_of(1)
    slot.put(1)
    batch = mailbox.take()
    assert slot.take_newer() is None
    slot.put(2)
    assert slot.take_newer() == 2
    assert slot.take_newer() is None
    assert (slot.received, slot.dropped) == (2, 1)
    finish(mailbox, batch)
    slot.put(3)
    batch = mailbox.take()
    assert items(batch) == [3]
    slot.put('unusable')
    assert slot.take_newer() == 'unusable'
    slot.keep_older()
    assert (slot.received, slot.dropped) == (4, 1)


def test_after_is_called_while_the_next_item_is_in_work() -> None:
    mailbox, (slot,) = mailbox_of(1)
    second, done = threading.Event(), []

    def work(batch: list[int]) -> None:
        if batch == [2]:
            second.set()

    def after(batch: list[int]) -> None:
        if batch == [1]:
            done.append(second.wait(5))

    workers = Workers(mailbox)
    workers.start(work, after, count=2)
    slot.put(1)
    wait_for(lambda: not slot.in_work and slot.item is None)
    slot.put(2)
    wait_for(lambda: bool(done))
    assert done == [True]
    workers.stop()


def test_a_batch_takes_ready_items_and_waits_only_for_free_slots() -> None:
    mailbox, slots = mailbox_of(4)
    for number, slot in enumerate(slots):
        slot.put(number)
    batch = mailbox.take(max_size=3, max_wait_s=60)
    assert items(batch) == [0, 1, 2]
    # Only the fourth slot is free, so no other item can join the batch.
    rest = mailbox.take(max_size=3, max_wait_s=60)
    assert items(rest) == [3]
    finish(mailbox, batch + rest)
    slots[0].put('early')
    threading.Timer(0.05, slots[1].put, ['late']).start()
    assert items(mailbox.take(max_size=2, max_wait_s=60)) == ['early', 'late']


def test_a_batch_is_handed_out_incomplete_after_its_maximum_wait() -> None:
    mailbox, slots = mailbox_of(2)
    slots[0].put('early')
    begun_s = slots[0].filled_s
    slots[0].put('newer')
    batch = mailbox.take(max_size=2, max_wait_s=0.05)
    assert items(batch) == ['newer']
    # The wait counts from the first item, even if a newer one replaced it.
    assert slots[0].filled_s == begun_s
    assert time.monotonic() - begun_s >= 0.05
    finish(mailbox, batch)
    slots[0].put('one')
    assert items(mailbox.take(max_size=2)) == ['one']


def test_settling_waits_for_the_batches_in_work_only() -> None:
    mailbox, (first, second) = mailbox_of(2)
    first.put(1)
    batch = mailbox.take()
    assert not mailbox.settle(timeout_s=0)
    settled: list[bool] = []
    thread = threading.Thread(target=lambda: settled.append(mailbox.settle()))
    thread.start()
    wait_for(lambda: len(mailbox._batch_done._waiters) == 1)  # the thread has begun to wait
    second.put(2)
    mailbox.take()
    finish(mailbox, batch)
    thread.join(5)
    assert settled == [True]
    assert not mailbox.settle(timeout_s=0)


def test_stopping_finishes_items_in_work_and_drops_waiting_ones() -> None:
    mailbox, (slot,) = mailbox_of(1)
    started, go_on, done = threading.Event(), threading.Event(), []

    def work(batch: list[int]) -> None:
        started.set()
        go_on.wait(5)
        done.extend(batch)

    workers = Workers(mailbox)
    workers.start(work, count=2)
    slot.put(1)
    assert started.wait(5)
    slot.put(2)
    assert not workers.stop(timeout_s=0)
    assert (slot.received, slot.dropped, done) == (2, 1, [])
    with pytest.raises(DgssError, match='has not left the network'):
        workers.start(work)
    go_on.set()
    assert workers.stop()
    assert done == [1]
    assert not any('segmentation' in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize('error', [ValueError, SystemExit])
def test_a_worker_survives_what_it_raises(error: type[BaseException]) -> None:
    mailbox, (slot,) = mailbox_of(1)
    done: list[int] = []
    failed: list[tuple[list[int], str]] = []

    def work(batch: list[int]) -> None:
        if batch == [1]:
            raise error('work')
        done.extend(batch)

    def after(batch: list[int]) -> None:
        if batch == [2]:
            raise error('after')

    def note(batch: list[int], reason: BaseException) -> None:
        failed.append((batch, str(reason)))
        raise ValueError('Reporting fails, too.')

    workers = Workers(mailbox)
    workers.start(work, after, note)
    for item in (1, 2, 3):
        slot.put(item)
        wait_for(lambda: not slot.in_work and slot.item is None)
        assert mailbox.settle(timeout_s=5)
    assert workers.stop(timeout_s=5)
    assert done == [2, 3]
    assert failed == [([1], 'work'), ([2], 'after')]


def test_threads_that_the_system_refuses_are_an_error_and_stopping_still_works() -> None:
    mailbox, (slot,) = mailbox_of(1)
    workers = Workers(mailbox)
    before = threading.stack_size(1 << 46)  # more than there is
    try:
        with pytest.raises(DgssError, match='set workers to a smaller number'):
            workers.start(lambda batch: None, count=2)
    finally:
        threading.stack_size(before)
    assert workers.stop()
    done: list[int] = []
    workers.start(done.extend)
    slot.put(1)
    wait_for(lambda: done == [1])
    workers.stop()


def test_workers_can_start_again() -> None:
    mailbox, (slot,) = mailbox_of(1)
    done: list[int] = []
    workers = Workers(mailbox)
    for item in (1, 2):
        workers.start(done.extend)
        slot.put(item)
        wait_for(lambda n=item: len(done) >= n)
        workers.stop()
    workers.stop()
    assert done == [1, 2]


def test_every_item_of_fast_senders_is_worked_on_in_order_or_counted_as_dropped() -> None:
    mailbox, slots = mailbox_of(3)
    done: list[list[int]] = [[], [], []]

    def work(batch: list[tuple[int, int]]) -> None:
        for sender, item in batch:
            done[sender].append(item)

    workers = Workers(mailbox)
    workers.start(work, count=4, max_size=2, max_wait_s=0.001)
    threads = [
        threading.Thread(target=lambda s=sender: [slots[s].put((s, i)) for i in range(2000)])
        for sender in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    workers.stop()
    for slot, answered in zip(slots, done, strict=True):
        assert slot.received == 2000
        assert answered == sorted(set(answered))
        assert len(answered) + slot.dropped == 2000
