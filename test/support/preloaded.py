"""Processes of their own that have imported what trains: they are forked after the imports.

`python -m dgss_core train` imports for seconds. A test that wants another process, and not the
command itself, takes one of these.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from fork_server import CONTEXT, serve

MODULES = ('dgss_core.training.loop', 'dgss_core.commands.parser')


def start(function: Callable[..., Any], *arguments: Any, output: Path) -> ForkServerProcess:
    """Call a function of a module in a process; `output` is the file of all that it prints."""
    serve(*MODULES)
    process = CONTEXT.Process(target=_call, args=(output, function, *arguments), daemon=True)
    process.start()
    return process


def _call(output: Path, function: Callable[..., Any], *arguments: Any) -> None:
    with output.open('wb') as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    function(*arguments)
