"""Reading, the network and writing at the same time, in bounded queues.

    frames = read_ahead(source, prepare)
    with WriteBehind() as writer:
        for frame, answer in in_threads(predict, frames, segmenter.lanes):
            writer.put(write, frame, answer)

OpenCV and the inference libraries release the interpreter's lock, so that threads are enough.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Any, Generic, TypeVar

import cv2

Item = TypeVar('Item')
Made = TypeVar('Made')

AHEAD = 4
"""Frames that wait between two stages. More would only take memory."""
MOST_LANES = 4
"""More calls at once take memory, and gain nothing."""
LOOK_S = 0.1
"""How often a waiting reader looks whether it is still wanted."""


class _End(Generic[Item]):
    """The end of the items, or the exception that ended them."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def lanes_for(threads: int) -> int:
    """Calls of a network that run at once where only the rate counts.

    `threads`: that may be used, 0 for all cores. The cores then wait for each other less often
    than if all of them share every call.
    """
    return min(MOST_LANES, threads or os.cpu_count() or 1)


def read_ahead(
    items: Iterable[Item], make: Callable[[Item], Made], depth: int = AHEAD
) -> Generator[tuple[Item, Made]]:
    """Iterate `items`, each with what `make` returns for it, from a thread of its own.

    The thread is up to `depth` items ahead. An exception of `items` or of `make` is raised here,
    after the items before it. Closing the generator ends the thread.
    """
    queue: Queue[tuple[Item, Made] | _End[Item]] = Queue(depth)
    left = threading.Event()

    def put(entry: tuple[Item, Made] | _End[Item]) -> bool:
        while not left.is_set():
            try:
                queue.put(entry, timeout=LOOK_S)
                return True
            except Full:
                continue
        return False

    def read() -> None:
        try:
            for item in items:
                if not put((item, make(item))):
                    return
            put(_End())
        except BaseException as error:  # Raised again in the thread that iterates.
            put(_End(error))

    reader = threading.Thread(target=read, name='read-ahead', daemon=True)
    reader.start()
    try:
        while not isinstance(entry := _next(queue), _End):
            yield entry
        if entry.error is not None:
            raise entry.error
    finally:
        left.set()
        reader.join()


def _next(queue: Queue[Item]) -> Item:
    """The next entry. Waits in steps, because a wait without an end would hold back Ctrl-C."""
    while True:
        try:
            return queue.get(timeout=LOOK_S)
        except Empty:
            continue


def in_threads(
    call: Callable[[Item], Made], items: Iterable[Item], threads: int | None = None
) -> Generator[Made]:
    """`map` in `threads` threads, one for each core by default, with its results in order.

    It is only a few items ahead of the last result. An exception of `call` or of `items` is raised
    after the results before it. Closing the generator waits for the calls that have begun.
    """
    count = threads or os.cpu_count() or 1
    source = iter(items)
    pool = ThreadPoolExecutor(count, thread_name_prefix='in-threads')
    waiting: deque[Future[Made]] = deque()
    failure: Exception | None = None

    def begin(most: int) -> None:
        nonlocal failure
        try:
            waiting.extend(pool.submit(call, item) for item in islice(source, most))
        except Exception as error:
            failure = error

    try:
        begin(2 * count)
        while waiting:
            yield waiting.popleft().result()
            if failure is None:
                begin(1)
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def opencv_in_one_thread() -> Iterator[None]:
    """Frames are processed side by side: OpenCV's own threads would wait for each other."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


class WriteBehind:
    """Runs calls in the order of `put`, in one thread of its own; a context manager.

    `put` waits while `depth` calls are not done. It raises the exception of an earlier call; so
    does the end of the context, which waits for the calls. After an exception in the block the
    calls that were put are still done.
    """

    def __init__(self, depth: int = AHEAD) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix='write-behind')
        self._pending: deque[Future[Any]] = deque()
        self._depth = depth

    def put(self, call: Callable[..., Any], *args: Any) -> None:
        while len(self._pending) >= self._depth:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(call, *args))

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            for call in self._pending:
                call.result()
