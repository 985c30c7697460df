"""Launch files as `ros2 launch` runs them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from camera import TIMEOUT_S


def launch(file: str | Path, **arguments: object) -> list[str]:
    """The command for one of our launch files by its name, or for another by its path."""
    named = [f'{name}:={value}' for name, value in arguments.items()]
    found = [str(file)] if isinstance(file, Path) else ['dgss_ros', f'{file}.launch.py']
    return ['ros2', 'launch', *found, *named]


@contextmanager
def launched(log: Path, file: str | Path = 'segment', **arguments: object) -> Iterator[None]:
    with open(log, 'w') as output:
        process = subprocess.Popen(
            launch(file, **arguments),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT_S) == 0, log.read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert 'Traceback' not in log.read_text(), log.read_text()
    assert 'process has finished cleanly' in log.read_text()


def finished(file: str | Path, **arguments: object) -> subprocess.CompletedProcess:
    """Run a launch file to its end; no process of it is left, and nothing is a traceback."""
    done = subprocess.run(
        launch(file, **arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    assert 'Traceback' not in done.stdout, done.stdout
    for pid in re.findall(r'process started with pid \[(\d+)\]', done.stdout):
        assert not Path('/proc', pid).exists(), done.stdout
    return done
