"""The executable `segment_node`, also `python -m dgss_ros`.

It imports the node only when it runs, so that a signal in that second ends it in order.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run the node with the command line until SIGINT or SIGTERM; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    from dgss_ros.segment_node import main as run

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run()
    except KeyboardInterrupt:  # before the node handles it
        return 0


def _end(number: int, frame: FrameType | None) -> None:
    # Not an exception: one amid the import of a C extension may be lost, or crash it.
    os._exit(0)


if __name__ == '__main__':
    sys.exit(main())
