"""Nodes forked from a process that has imported what they need, which is half of their start.

A node that gets another environment than that process has is started by the command line, as by a
user.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path

import rclpy
from fork_server import CONTEXT, serve, serves

from dgss_ros.client.process import end_with_parent, node_process, stop

# Not onnxruntime: the thread that its import starts would be missing after a fork.
MODULES = ('dgss_ros.segment_node', 'rosidl_generator_py')


class ForkedNode:
    """A node with the part of the interface of `subprocess.Popen` that tests use."""

    def __init__(self, arguments: tuple[str, ...], log: Path) -> None:
        self._process = CONTEXT.Process(target=_run, args=(arguments, log))
        self._process.start()
        assert self._process.pid is not None, 'it has started'
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f'node {self.pid}', timeout or 0.0)
        return self.returncode


@contextmanager
def running_node(
    *ros_args: str, log: Path, is_fresh: bool = False
) -> Iterator[subprocess.Popen | ForkedNode]:
    """Start the node, with its output in `log`, and stop it at the end of the block.

    `is_fresh`: start it by the command line in any case.
    """
    if is_fresh or not serves(*MODULES):
        with (
            open(log, 'w') as output,
            node_process(*ros_args, stdout=output, stderr=subprocess.STDOUT) as process,
        ):
            yield process
        return
    log.touch()
    node = ForkedNode(ros_args, log)
    try:
        yield node
    finally:
        stop(node)


def start_server() -> None:
    """Start the process that forks nodes, with the present environment."""
    serve(*MODULES)


def _run(arguments: tuple[str, ...], log: Path) -> None:
    # Held by a node, it would keep the server after the death of the tests.
    os.close(forkserver._forkserver._forkserver_alive_fd)
    end_with_parent()
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.close(output)
    from dgss_ros.segment_node import main

    code = main(['segment_node', '--ros-args', *arguments])
    # As at the end of an interpreter; a forked process frees nothing, and would stay in the graph.
    gc.collect()
    rclpy.get_default_context().destroy()
    sys.exit(code)
