"""Ends a training after a step at SIGINT or SIGTERM, in every process after the same one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import torch
from torch import Tensor

from dgss_core.training.fabric import Fabric

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_S = 1.0
"""Time in which a signal that is sent again counts once: `timeout` and torchrun pass on what its
sender gave to the whole group of processes."""


class Stopping:
    """The first SIGINT or SIGTERM lets the training end after a step; a second ends it at once.

    The signals do what they did before until the first step is done, because nothing is lost by
    then, and again on leaving the block.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._number, self._since_s = 0, 0.0
        self._saved: int | None = None
        self._before: dict[int, Callable[[int, FrameType | None], object] | int] = {}
        self._asked: Callable[[], int] | None = None
        self._process = os.getpid()

    def __enter__(self) -> Stopping:
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def after_step(self, at_once: bool) -> int:
        """Return the signal after which every process ends now; 0 for none.

        Every process must call it after each step. It does not wait for a GPU unless `at_once`:
        the answer is then that of the step before.
        """
        if not self._before and threading.current_thread() is threading.main_thread():
            self._before = {
                each: signal.signal(each, self._take) or signal.SIG_DFL for each in SIGNALS
            }
        if self._fabric.world_size == 1:
            return self._number
        before, self._asked = self._asked, self._ask()
        found = before() if before is not None else 0
        return max(found, self._asked()) if at_once or not self._has_gpu else found

    @contextmanager
    def saved(self, step: int) -> Iterator[None]:
        """Inside the block, for which `step` was saved, the first signal ends the process."""
        self._saved = step
        try:
            if self._number:
                self._end_now(self._number, step)
            yield
        finally:
            self._saved = None

    def end(self, number: int, step: int) -> NoReturn:
        """End every process, after `step` was saved."""
        self._fabric.barrier()  # torchrun kills the others as soon as one has ended
        self._tell(number, step)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    def _take(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._process != os.getpid():  # a fork
            self._again(number)
        elif self._number and now - self._since_s < SAME_S:
            return
        elif self._saved is not None:
            self._end_now(number, self._saved)
        elif self._number:
            self._again(number)
        else:
            self._number, self._since_s = number, now
            self._say('dgss: the training ends after this step; a second signal ends it at once.')

    def _end_now(self, number: int, step: int) -> None:
        self._tell(number, step)
        self._again(number)

    def _again(self, number: int) -> None:
        """Do what the signal did before."""
        signal.signal(number, self._before[number])
        signal.raise_signal(number)

    def _ask(self) -> Callable[[], int]:
        """Ask all processes for their signal; return what reads the answer."""
        own = torch.tensor(float(self._number), device=self._fabric.device)
        found = self._fabric.all_reduce(own, reduce_op='max')
        assert isinstance(found, Tensor)
        if not self._has_gpu:
            return lambda: int(found)
        host = torch.empty((), pin_memory=True).copy_(found, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()

        def answer() -> int:
            copied.synchronize()
            return int(host)

        return answer

    @property
    def _has_gpu(self) -> bool:
        return self._fabric.device.type == 'cuda'

    def _tell(self, number: int, step: int) -> None:
        name = signal.Signals(number).name
        self._say(f'dgss: ended by {name} after step {step}; go on from there with --resume.')

    def _say(self, line: str) -> None:
        if self._fabric.is_global_zero:
            # Not print: a signal may interrupt another print.
            os.write(2, f'{line}\n'.encode())
