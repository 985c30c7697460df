"""What a process needs to pass camera images around: call `prepare_process` before rclpy.init.

    export FASTRTPS_DEFAULT_PROFILES_FILE=$(python -m dgss_ros.transport)

gives the same transport to a camera driver or any other process that uses Fast DDS.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

FASTDDS_PROFILE = Path(__file__).parent / 'fastdds.xml'
# Fast DDS 2 reads the first name, Fast DDS 3 the second.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def prepare_process() -> None:
    """Shared memory large enough for images, and image buffers that stay on the heap.

    Leaves the transport alone where the user has chosen one. The heap setting is for glibc, which
    otherwise maps and clears fresh pages for every picture (half of the latency at 1280x720).
    """
    if not any(name in os.environ for name in (*PROFILE_VARIABLES, 'FASTDDS_BUILTIN_TRANSPORTS')):
        os.environ.update(dict.fromkeys(PROFILE_VARIABLES, str(FASTDDS_PROFILE)))
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # not glibc
    mallopt(M_MMAP_THRESHOLD, 64 << 20)
    mallopt(M_TRIM_THRESHOLD, 256 << 20)


if __name__ == '__main__':
    print(FASTDDS_PROFILE)
