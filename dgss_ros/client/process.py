"""The segmentation node in a process of its own, for commands that need one to talk to."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.node import Node

from dgss_core.errors import DgssError
from dgss_ros.client.lifecycle import LifecycleClient
from dgss_ros.client.session import ros_session

STOP_S = 10.0
PR_SET_PDEATHSIG = 1


@contextmanager
def node_process(*ros_args: str, **popen_options: Any) -> Iterator[subprocess.Popen]:
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
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class ActiveNode:
    """`process` runs the node, which logs to the file `log`; `ros` is a node of our own."""

    process: subprocess.Popen
    log: Path
    ros: Node
    lifecycle: LifecycleClient

    def check(self) -> None:
        """Raise DgssError when the process has ended."""
        if self.process.poll() is not None:
            raise DgssError(
                f'The node ended with code {self.process.returncode}; look at its log {self.log}.'
            )


@contextmanager
def active_node(
    bundle: Path | None,
    log: Path,
    image_topic: str = '/camera/image_raw',
    **parameters: object,
) -> Iterator[ActiveNode]:
    """Start a node on a bundle (None for the embedded one), configure it and activate it."""
    arguments = ['-r', f'~/image:={image_topic}']
    if bundle is not None:
        parameters['bundle'] = Path(bundle).resolve()
    for name, value in parameters.items():
        arguments += ['-p', f'{name}:={value}']
    with (
        open(log, 'w') as output,
        ros_session('dgss_client') as ros,
        node_process(*arguments, stdout=output, stderr=output) as process,
    ):
        node = ActiveNode(process, log, ros, LifecycleClient(ros))
        node.lifecycle.configure()
        node.lifecycle.activate()
        yield node


def resident_mib(pid: int) -> float:
    """Memory of a process that is in RAM, in MiB, without what it shares of /dev/shm (Linux)."""
    status = Path(f'/proc/{pid}/status').read_text()
    fields = dict(line.split(':', 1) for line in status.splitlines())
    return sum(int(fields[name].split()[0]) for name in ('RssAnon', 'RssFile')) / 1024


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
