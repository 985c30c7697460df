"""Items of work on processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

from dgss_core.evaluation.fleet.worker import TRIES, Outcome, Start, Worker, given_up
from dgss_core.runtime.backend import Report, silent

CONTEXT = get_context('spawn')
"""A forked process would inherit locks that threads of this one hold."""


def in_processes(
    start: Start[Any, Any], items: Sequence[Any], workers: int, report: Report = silent
) -> Iterator[tuple[int, Outcome[Any]]]:
    """Yield the place of each item and its outcome, in the order in which they end.

    A new process takes up the item of one that ended, `TRIES` times in all; `report` tells of it.
    All processes end with the iterator, and with this process if that is killed.
    """
    waiting, tries = deque(range(len(items))), Counter[int]()
    busy: dict[Connection, tuple[_Process, int]] = {}
    idle: list[_Process] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                process, place = idle.pop() if idle else _Process(start), waiting.popleft()
                process.give(items[place])
                busy[process.connection] = process, place
            for connection in map(_checked, wait([*busy])):
                process, place = busy.pop(connection)
                try:
                    outcome = connection.recv()
                except (EOFError, OSError):
                    tries[place] += 1
                    how = process.end()
                    if tries[place] == TRIES:
                        yield place, given_up(how)
                    else:
                        report(f'A worker ended ({how}); another takes up its work.')
                        waiting.appendleft(place)
                else:
                    idle.append(process)
                    yield place, outcome
    finally:
        for process in [*idle, *(process for process, _ in busy.values())]:
            process.end()


class _Process:
    """A process that does one item after the other."""

    def __init__(self, start: Start[Any, Any]) -> None:
        self.connection, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_serve, args=(theirs, start), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, item: Any) -> None:
        # If it has ended, the answer says so.
        with suppress(OSError):
            self.connection.send(item)

    def end(self) -> str:
        """End the process, and return how it ended."""
        self.connection.close()
        self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f'exit code {code}'


def _checked(connection: Any) -> Connection:
    assert isinstance(connection, Connection)
    return connection


def _serve(connection: Connection, start: Start[Any, Any]) -> None:
    # Ctrl-C reaches this process too; the one that gives the work ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Worker(start)
    with suppress(EOFError):
        while True:
            connection.send(worker.do(connection.recv()))


def _end_with_parent() -> None:
    """End at once: what was predicted is stored frame by frame."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
