"""What a process of a fleet does: it opens the work once, and does one item after the other."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dgss_core.errors import DgssError, one_line

Item = TypeVar('Item')
Result = TypeVar('Result')

Start = Callable[[], Callable[[Item], Result]]
"""Opens what the items need, in the process that does them; can be pickled."""

TRIES = 3
"""Workers that may end during an item before it is given up."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    result: Result


@dataclass(frozen=True)
class Failed:
    """`why`: one sentence, with its remedy. `trace`: of a fault of this package, else ''."""

    why: str
    trace: str = ''


Outcome = Done[Result] | Failed


def given_up(how: str) -> Failed:
    """The outcome of an item that ended its worker `TRIES` times, the last time as `how` says."""
    return Failed(
        f'Its worker ended {TRIES} times ({one_line(how)}); give it more memory by fewer workers, '
        'or evaluate it alone.'
    )


class Worker:
    """Opens the work at the first item, so that an error of it is the outcome of that item."""

    def __init__(self, start: Start[Any, Any]) -> None:
        self._start = start
        self._call: Callable[[Any], Any] | None = None

    def do(self, item: Any) -> Outcome[Any]:
        """The outcome of one item. Raises nothing but what ends the process."""
        try:
            if self._call is None:
                self._call = self._start()
            return Done(self._call(item))
        except DgssError as error:
            return Failed(str(error))
        except Exception as error:
            what = one_line(f'{type(error).__name__}: {error}')
            return Failed(
                f'It failed by a fault of dgss ({what}); report it with the traceback that was '
                'printed.',
                traceback.format_exc(),
            )
