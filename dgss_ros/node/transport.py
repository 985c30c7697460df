"""What a process needs to pass camera images around: call `prepare_process` before rclpy.init.

    export FASTRTPS_DEFAULT_PROFILES_FILE=$(python -m dgss_ros.node.transport)

gives the same transport to a camera driver or any other process that uses Fast DDS.
"""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = Path('/dev/shm')
ROOMY = 256 << 20
"""Bytes of shared memory from which on each process may take 64 MB of it."""
# Fast DDS 2 reads the first name, Fast DDS 3 the second.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
# glibc otherwise maps and clears fresh pages for every picture: half of the latency at 1280x720.
# 32 MB is the most that every glibc takes.
MMAP_THRESHOLD, TRIM_THRESHOLD = 32 << 20, 256 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Variables that give the transport and the heap setting to processes started with them.

    `given`: the environment they have already; a choice of the user's in there is left alone.
    """
    heap = {
        'MALLOC_MMAP_THRESHOLD_': str(MMAP_THRESHOLD),
        'MALLOC_TRIM_THRESHOLD_': str(TRIM_THRESHOLD),
    }
    return _transport(given) | {name: heap[name] for name in heap.keys() - given.keys()}


def prepare_process() -> None:
    """Shared memory large enough for images, and image buffers that stay on the heap."""
    os.environ.update(_transport(os.environ))
    _glibc('mallopt', M_MMAP_THRESHOLD, MMAP_THRESHOLD)
    _glibc('mallopt', M_TRIM_THRESHOLD, TRIM_THRESHOLD)


def return_memory() -> None:
    """Give back to the system what was freed, which `prepare_process` else keeps for pictures."""
    gc.collect()
    _glibc('malloc_trim', 0)


def _glibc(function: str, *arguments: int) -> None:
    """Call a function that only glibc has, where it is the C library."""
    with suppress(AttributeError, OSError, TypeError):
        getattr(ctypes.CDLL(None), function)(*arguments)


def fastdds_profile(shared_memory: Path = SHARED_MEMORY) -> Path:
    """The profile for the shared memory of this machine or container."""
    try:
        roomy = shutil.disk_usage(shared_memory).total >= ROOMY
    except OSError:
        roomy = False
    return Path(__file__).parent / ('fastdds.xml' if roomy else 'fastdds_small.xml')


def _transport(given: Mapping[str, str]) -> dict[str, str]:
    if any(name in given for name in (*PROFILE_VARIABLES, 'FASTDDS_BUILTIN_TRANSPORTS')):
        return {}
    return dict.fromkeys(PROFILE_VARIABLES, str(fastdds_profile()))


if __name__ == '__main__':
    print(fastdds_profile())
