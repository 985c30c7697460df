"""Prepares a process to exchange camera images: call `prepare_process` before rclpy.init.

    export FASTRTPS_DEFAULT_PROFILES_FILE=$(python -m dgss_ros.node.transport)

gives the same transport to a camera driver or any other process that uses Fast DDS.
"""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dgss_core.errors import DgssError, one_line

SHARED_MEMORY = Path('/dev/shm')
ROOMY = 256 << 20
"""Size of the shared memory, in bytes, from which each process may take 64 MB of it."""
# Fast DDS 2 reads the first name, Fast DDS 3 the second.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
# By default glibc maps and clears fresh pages for every image: half of the latency at 1280x720.
# 32 MB is the maximum that every glibc accepts.
MMAP_THRESHOLD, TRIM_THRESHOLD = 32 << 20, 256 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that set the transport and the heap of a child process.

    `given`: its environment so far; variables that the user has set there are not replaced.
    """
    heap = {
        'MALLOC_MMAP_THRESHOLD_': str(MMAP_THRESHOLD),
        'MALLOC_TRIM_THRESHOLD_': str(TRIM_THRESHOLD),
    }
    return _transport(given) | {name: heap[name] for name in heap.keys() - given.keys()}


def init_ros(**options: Any) -> None:
    """Call rclpy.init. Raises DgssError if ROS 2 cannot start, as `starting_ros` does."""
    import rclpy

    with starting_ros():
        rclpy.init(**options)


@contextmanager
def starting_ros() -> Iterator[None]:
    """Raise DgssError if ROS 2 cannot start in the block, for its environment or its folders.

    The errors of rclpy for ROS arguments pass.
    """
    from rclpy._rclpy_pybind11 import RCLError, RCLInvalidROSArgsError, UnknownROSArgsError

    try:
        yield
    except (RCLInvalidROSArgsError, UnknownROSArgsError):
        raise
    except RCLError as error:
        # rcl appends the locations in its C code.
        reason = one_line(str(error).split(', at /')[0].strip())
        raise DgssError(f'ROS 2 cannot start ({reason}); {_start_remedy(reason)}.') from error


def _start_remedy(reason: str) -> str:
    if 'initialize logging' in reason:
        return 'set ROS_LOG_DIR to a folder that you can write to'
    if 'ROS_DOMAIN_ID' in reason:
        return 'set ROS_DOMAIN_ID to a number from 0 to 101'
    if 'resolve peer' in reason:
        return 'name hosts that exist in ROS_STATIC_PEERS'
    if os.environ.get('ROS_SECURITY_ENABLE') == 'true':
        return (
            'set ROS_SECURITY_KEYSTORE to a keystore with the enclave of the node '
            '(docs/security.md), or unset ROS_SECURITY_ENABLE'
        )
    return 'check the variables ROS_* and RMW_IMPLEMENTATION'


def prepare_process() -> None:
    """Set up shared memory large enough for images, and keep image buffers on the heap."""
    os.environ.update(_transport(os.environ))
    _glibc('mallopt', M_MMAP_THRESHOLD, MMAP_THRESHOLD)
    _glibc('mallopt', M_TRIM_THRESHOLD, TRIM_THRESHOLD)


def return_memory() -> None:
    """Return freed memory to the system; `prepare_process` makes glibc keep it for images."""
    gc.collect()
    _glibc('malloc_trim', 0)


def _glibc(function: str, *arguments: int) -> None:
    """Call a function of glibc; do nothing with another C library."""
    with suppress(AttributeError, OSError, TypeError):
        getattr(ctypes.CDLL(None), function)(*arguments)


def fastdds_profile(shared_memory: Path = SHARED_MEMORY) -> Path:
    """Return the Fast DDS profile for the shared memory of this machine or container."""
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
