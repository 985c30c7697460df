from __future__ import annotations

import threading
import time

from dgss_ros.counters import WINDOW, FrameCounters
from dgss_ros.mailbox import Mailbox, Worker


def test_the_newest_item_wins_and_what_it_replaces_is_counted() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.open()
    for item in (1, 2, 3):
        mailbox.put(item)
    assert mailbox.take() == 3
    assert (mailbox.received, mailbox.dropped) == (3, 2)


def test_a_closed_mailbox_drops_what_waits_and_refuses_more() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    assert mailbox.received == 0
    mailbox.open()
    mailbox.put(2)
    mailbox.close()
    mailbox.put(3)
    assert mailbox.take() is None
    assert (mailbox.received, mailbox.dropped) == (1, 1)


def test_take_waits_for_an_item() -> None:
    mailbox: Mailbox[str] = Mailbox()
    mailbox.open()
    threading.Timer(0.05, mailbox.put, ['late']).start()
    start = time.monotonic()
    assert mailbox.take() == 'late'
    assert time.monotonic() - start >= 0.04


def test_stopping_a_worker_finishes_the_item_in_work_and_drops_the_next() -> None:
    mailbox: Mailbox[int] = Mailbox()
    started, done = threading.Event(), []

    def work(item: int) -> None:
        started.set()
        time.sleep(0.1)
        done.append(item)

    worker = Worker(mailbox)
    worker.start(work)
    mailbox.put(1)
    assert started.wait(5)
    mailbox.put(2)
    worker.stop()
    assert done == [1]
    assert (mailbox.received, mailbox.dropped) == (2, 1)
    assert 'segmentation' not in {thread.name for thread in threading.enumerate()}


def test_a_worker_can_start_again() -> None:
    mailbox: Mailbox[int] = Mailbox()
    done: list[int] = []
    worker = Worker(mailbox)
    for item in (1, 2):
        worker.start(done.append)
        mailbox.put(item)
        deadline = time.monotonic() + 5
        while len(done) < item and time.monotonic() < deadline:
            time.sleep(0.001)
        worker.stop()
    worker.stop()
    assert done == [1, 2]


def test_every_item_of_fast_producers_is_either_worked_on_or_counted_as_dropped() -> None:
    mailbox: Mailbox[int] = Mailbox()
    done: list[int] = []
    worker = Worker(mailbox)
    worker.start(done.append)
    threads = [
        threading.Thread(target=lambda: [mailbox.put(i) for i in range(1, 2001)]) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    worker.stop()
    assert mailbox.received == 6000
    assert len(done) + mailbox.dropped == 6000


def test_latency_percentiles_are_of_the_last_frames() -> None:
    counters = FrameCounters()
    assert counters.report().latency_ms is None
    counters.count_processed(9.0)
    for milliseconds in range(WINDOW):
        counters.count_processed(milliseconds / 1e3)
    counters.count_rejected('cut')
    counters.count_failed('broken')
    report = counters.report()
    assert (report.processed, report.rejected, report.failed) == (WINDOW + 1, 1, 1)
    assert report.last_error == 'broken'
    p50, p95, p99 = report.latency_ms
    assert abs(p50 - 149.5) < 1e-6
    assert abs(p95 - 284.05) < 1e-6
    assert abs(p99 - 296.01) < 1e-6
