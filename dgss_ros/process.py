"""The segmentation node in a process of its own, for commands that need one to talk to."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STOP_S = 10.0
PR_SET_PDEATHSIG = 1


@contextmanager
def node_process(*ros_args: str, **popen_options: object) -> Iterator[subprocess.Popen]:
    """Start the node with `--ros-args *ros_args` and stop it at the end of the block.

    It is stopped by SIGINT, and killed when that does not help. It also ends when this process
    is killed, where the kernel offers that (Linux).
    """
    command = [sys.executable, '-m', 'dgss_ros.segment_node', '--ros-args', *ros_args]
    process = subprocess.Popen(
        command,
        # Ctrl-C in the terminal is for this process, which then stops the node in order.
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == 'linux' else None,
        **popen_options,
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen) -> int:
    """Stop a process by SIGINT, or by SIGKILL after a while; returns its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
