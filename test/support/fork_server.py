"""The fork server of this process, from which tests fork processes that have their imports done.

`multiprocessing` has one server in a process, with the imports and the environment of its start.
"""

from __future__ import annotations

import os
import signal
from multiprocessing import forkserver, get_context

CONTEXT = get_context('forkserver')
_modules: tuple[str, ...] = ()
_environment: dict[str, str] = {}


def serve(*modules: str) -> None:
    """Let the server have imported `modules`: one with other imports is started anew."""
    global _modules
    if modules == _modules:
        return
    server = forkserver._forkserver
    if server._forkserver_pid is not None:
        # A process that it has forked may keep it from ending by itself.
        os.kill(server._forkserver_pid, signal.SIGKILL)
        os.waitid(os.P_PID, server._forkserver_pid, os.WEXITED | os.WNOWAIT)
    _modules = modules
    _environment.clear()
    _environment.update(_present_environment())
    CONTEXT.set_forkserver_preload([*modules])
    forkserver.ensure_running()


def serves(*modules: str) -> bool:
    """Whether a process that is forked now has imported `modules`, with our environment."""
    return modules == _modules and _present_environment() == _environment


def _present_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != 'PYTEST_CURRENT_TEST'}
