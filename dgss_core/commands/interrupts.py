"""Ends a verb that cannot handle Ctrl-C, because a call of a library does not return."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

ENDING = (signal.SIGINT, signal.SIGTERM)
LAST = 3
"""The signal that ends the process at once; until then the verb may finish its files."""
SILENT_S = 1.0
WAITING = 'dgss: interrupted; what has begun is finished first. Two more Ctrl-C end it at once.'
"""Printed if a verb without a handler of its own still runs so long after the first signal."""


@contextmanager
def ending_at_last_signal() -> Iterator[None]:
    """End this process with code 130 at the third Ctrl-C in the block, whatever it does.

    A third SIGTERM does the same, with code 143, where a verb takes SIGTERM by a handler.

    Python handles a signal on the main thread, between two statements; inside a call of a library
    it waits. The bytes of `signal.set_wakeup_fd` are written at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _forget_in_forks()
    threading.Thread(target=_count, args=(reading,), name='interrupts', daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)  # which ends the thread


def end_with_threads(code: int) -> None:
    """End this process if a thread of it still runs, in a call that does not return.

    Python would wait for the thread; after an interrupted wait it would free what the thread uses.
    """
    main = threading.main_thread()
    if any(not thread.daemon and thread is not main for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@cache
def _forget_in_forks() -> None:
    """Ctrl-C also reaches forked children, whose interrupts must not count here."""
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    with suppress(ValueError):
        signal.set_wakeup_fd(-1)


def _count(reading: int) -> None:
    found = b''
    while len(found) < LAST:
        is_silent = len(found) == 1 and not select.select([reading], [], [], SILENT_S)[0]
        if is_silent and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            print(WAITING, file=sys.stderr, flush=True)
        if not (numbers := os.read(reading, 16)):
            os.close(reading)
            return
        found += bytes(each for each in numbers if each in ENDING)
    print('dgss: ended at once; files in work are incomplete.', file=sys.stderr, flush=True)
    os._exit(128 + found[-1])
