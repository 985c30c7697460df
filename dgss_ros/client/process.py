"""Runs the segmentation node as a child process."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.node import Node

from dgss_core.errors import DgssError
from dgss_core.files import no_link
from dgss_ros.client.lifecycle import LifecycleClient
from dgss_ros.client.node_watch import NodeWatch
from dgss_ros.client.session import ros_session

STOP_S = 10.0
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
"""Loaded at the import: a child that is just forked from threads must not wait for the loader."""


@contextmanager
def node_process(*ros_args: str, **popen_options: Any) -> Iterator[subprocess.Popen]:
    """Start the node with `--ros-args *ros_args` and stop it at the end of the block.

    It is stopped by SIGINT, and killed if it does not end within 10 s. On Linux it also ends when
    this process is killed.
    """
    command = [sys.executable, '-m', 'dgss_ros.segment_node', '--ros-args', *ros_args]
    process = subprocess.Popen(
        command,
        # Ctrl-C in the terminal must reach only this process, which then stops the node.
        start_new_session=True,
        preexec_fn=end_with_parent if sys.platform == 'linux' else None,
        **popen_options,
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen) -> None:
    """Stop a node by SIGINT, and kill it if it does not end within `STOP_S`."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class ActiveNode:
    """A running node: its process, its log file, a client node `ros`, a lifecycle client and a
    watch.
    """

    process: subprocess.Popen
    log: Path
    ros: Node
    lifecycle: LifecycleClient
    watch: NodeWatch

    def activate(self) -> None:
        self.lifecycle.activate()
        self.watch.begin()

    def check(self) -> None:
        """Raise DgssError when the process has ended, hangs or is no longer active."""
        check_process(self.process, self.log)
        self.watch.check()


@contextmanager
def active_node(
    bundle: Path | None,
    log: Path,
    image_topic: str = '/camera/image_raw',
    **parameters: object,
) -> Iterator[ActiveNode]:
    """Start a node with a bundle (None: the embedded bundle), configure and activate it."""
    arguments = ['-r', f'~/image:={image_topic}']
    if bundle is not None:
        parameters['bundle'] = Path(bundle).resolve()
    for name, value in parameters.items():
        arguments += ['-p', f'{name}:={value}']
    with (
        open(log, 'w', opener=no_link) as output,
        ros_session('dgss_client') as ros,
        node_process(*arguments, stdout=output, stderr=output) as process,
    ):
        lifecycle = LifecycleClient(ros, check=partial(check_process, process, log))
        lifecycle.configure()
        node = ActiveNode(process, log, ros, lifecycle, NodeWatch(ros, '/dgss'))
        node.activate()
        yield node


def check_process(process: subprocess.Popen, log: Path) -> None:
    """Raise DgssError when the process of a node has ended."""
    if process.poll() is not None:
        raise DgssError(f'The node ended with code {process.returncode}; see its log {log}.')


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB, without shared memory (Linux only).

    Raises DgssError for a process that has ended.
    """
    try:
        status = Path(f'/proc/{pid}/status').read_text()
        fields = dict(line.split(':', 1) for line in status.splitlines())
        return sum(int(fields[name].split()[0]) for name in ('RssAnon', 'RssFile')) / 1024
    except (OSError, KeyError) as error:  # a zombie has no memory
        raise _ended(pid) from error


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, user and system, of all its threads.

    Raises DgssError for a process that has ended.
    """
    clock = ctypes.c_int()
    # To the nanosecond; /proc/PID/stat counts in hundredths of a second.
    if _libc.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise _ended(pid)
    try:
        return time.clock_gettime(clock.value)
    except OSError as error:
        raise _ended(pid) from error


def _ended(pid: int) -> DgssError:
    return DgssError(
        f'The process {pid} that is measured has ended; see what it said, and repeat.'
    )


def end_with_parent() -> None:
    """Let this process, a child, get SIGTERM when its parent ends (Linux only)."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
