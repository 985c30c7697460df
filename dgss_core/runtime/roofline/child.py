"""A module of this package run as a program, by the Python of this process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = str(Path(__file__).parents[3])
START = """
import sys
sys.path[:] = sys.argv.pop(1).splitlines()
import runpy
runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)
"""
"""`python -m` would import from the working folder first, where others may have put a numpy.py."""


def run_module(
    name: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the module `name` with the search path of this process, and wait for its end.

    `environment`: added to that of this process.
    """
    path = [folder for folder in sys.path if folder]
    command = [sys.executable, '-c', START, '\n'.join([*path, ROOT]), name, *arguments]
    return subprocess.run(
        command, env=os.environ | dict(environment or {}), capture_output=True, text=True
    )


def last_line(result: subprocess.CompletedProcess[str]) -> str:
    """What a process that failed said last."""
    return (result.stderr.strip().splitlines() or ['it was killed'])[-1]
