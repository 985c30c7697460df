"""What is kept for the next who asks, up to a size."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Protocol, TypeVar


class Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


T = TypeVar('T', bound=Sized)


class Kept:
    """The things that were used last, of `limit` bytes together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._things: OrderedDict[Hashable, Sized] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing of `key`; `make` is called where it is not kept."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
                return self._things[key]  # type: ignore[return-value]
        thing = make()
        with self._lock:
            if thing.nbytes <= self.limit:
                self._things[key] = thing
            while sum(each.nbytes for each in self._things.values()) > self.limit:
                self._things.popitem(last=False)
        return thing
