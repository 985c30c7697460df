"""The device that networks run on, and its memory."""

from __future__ import annotations

import ctypes

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of mallopt(3)."""


def best_device() -> str:
    """'cuda' where torch finds a GPU; else 'cpu', and `keep_freed_memory` applies."""
    if torch.cuda.is_available():
        return 'cuda'
    keep_freed_memory()
    return 'cpu'


def keep_freed_memory() -> None:
    """Let this process use again what it frees, instead of asking the system for new memory.

    glibc returns large blocks at once, and the system clears each new one page by page: for large
    maps that takes up to half the time of a network. Does nothing with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def is_out_of_memory(error: Exception) -> bool:
    """Whether `error` says that the device, or the machine, has no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The allocator of the CPU raises a plain RuntimeError, numpy and OpenCV their own.
    words = ("can't allocate memory", 'not enough memory', 'Cannot allocate memory')
    return any(word in str(error) for word in (*words, 'Insufficient memory', 'bad_alloc'))
