"""The `dgss` command in the process of the tests, which has imported what it needs."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess

from dgss_core.cli import main


def dgss(*arguments: str) -> CompletedProcess:
    """Run `dgss` with `arguments`; returns its exit code and what it printed."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as errors:
        code = main(list(arguments))
    return CompletedProcess(['dgss', *arguments], code, out.getvalue(), errors.getvalue())
