"""Reading ahead and writing behind: in order, bounded, and with every exception."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dgss_core.runtime.pipeline import WriteBehind, in_threads, read_ahead


def test_items_come_in_order_and_only_a_few_ahead() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            begun.append(number)
            yield number

    for number, made in read_ahead(items(), str, depth=3):
        assert made == str(number)
        # Three wait, one is on its way into the queue, and one is begun.
        assert len(begun) <= number + 6
    assert begun == [*range(50)]


def test_an_exception_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError('damaged')

    ahead = read_ahead(items(), str)
    assert [next(ahead), next(ahead)] == [(1, '1'), (2, '2')]
    with pytest.raises(ValueError, match='damaged'):
        next(ahead)
    with pytest.raises(ZeroDivisionError):
        list(read_ahead([1, 0], lambda number: 1 // number))


def test_a_reader_that_is_left_ends() -> None:
    threads = threading.active_count()
    ahead = read_ahead(iter(int, 1), str)  # without an end
    assert next(ahead) == (0, '0')
    ahead.close()
    assert threading.active_count() == threads


def test_calls_are_done_in_order_before_the_block_ends() -> None:
    done: list[int] = []
    with WriteBehind() as writer:
        for number in range(20):
            writer.put(done.append, number)
    assert done == [*range(20)]


def test_a_failed_write_is_told_and_an_error_keeps_what_was_put() -> None:
    def fail() -> None:
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'), WriteBehind() as writer:
        writer.put(fail)

    def interrupted(done: list[int]) -> None:
        with WriteBehind() as writer:
            for number in range(3):
                writer.put(done.append, number)
            raise KeyboardInterrupt

    done: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(done)
    assert done == [0, 1, 2]


def test_results_of_threads_come_in_order_and_only_a_few_ahead() -> None:
    begun: list[int] = []

    def call(number: int) -> int:
        begun.append(number)
        # The first of each pair takes longer than the second.
        time.sleep(0.002 * (1 - number % 2))
        return -number

    for number, result in enumerate(in_threads(call, range(40), threads=2)):
        assert result == -number
        assert len(begun) <= number + 5
    assert sorted(begun) == [*range(40)]


def test_an_exception_in_a_thread_comes_after_the_results_before_it() -> None:
    threads = threading.active_count()
    results = in_threads(lambda number: 1 // (2 - number), iter(int, 1), threads=3)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == threads
    results = in_threads(lambda number: 6 // (2 - number), range(9), threads=3)
    assert [next(results), next(results)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == threads


@pytest.mark.parametrize('length', [0, 3, 8, 9, 30])
def test_a_source_that_breaks_off_loses_no_result_before_it(length: int) -> None:
    def source() -> Iterator[int]:
        yield from range(length)
        raise ValueError('cut off')

    found: list[int] = []
    with pytest.raises(ValueError, match='cut off'):
        found.extend(in_threads(lambda number: 2 * number, source(), threads=4))
    assert found == [2 * number for number in range(length)]
