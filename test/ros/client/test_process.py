"""What is read of another process."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from dgss_core.errors import DgssError
from dgss_ros.client.process import cpu_seconds, resident_mib

BURN = (
    'import time\n'
    'while time.process_time() < 0.3: pass\n'
    'print(time.process_time(), flush=True)\n'
    'input()\n'
)


def test_the_cpu_time_of_a_process_is_its_own() -> None:
    assert cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.01)


def test_waiting_takes_no_cpu_time() -> None:
    with subprocess.Popen(
        [sys.executable, '-c', BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        burnt = float(process.stdout.readline())
        time.sleep(0.2)
        assert cpu_seconds(process.pid) == pytest.approx(burnt, abs=0.02)
        process.communicate('\n')


def test_a_process_that_has_ended_has_no_cpu_time() -> None:
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    for measure in (cpu_seconds, resident_mib):
        with pytest.raises(DgssError, match=f'process {process.pid} that is measured has ended'):
            measure(process.pid)


def test_a_process_whose_end_nobody_waits_for_has_no_memory() -> None:
    with subprocess.Popen([sys.executable, '-c', '']) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(DgssError, match='has ended'):
            resident_mib(process.pid)
