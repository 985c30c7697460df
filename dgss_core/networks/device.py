"""The device that networks run on, and how a process on a CPU keeps its memory."""

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
