"""Ctrl-C at a verb whose library call does not return."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from endless import endless_bundle


def cpu_s(pid: int) -> float:
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_repeated_interrupts_end_a_verb_that_hangs(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'image.png'), np.zeros((48, 64, 3), np.uint8))
    bundle = endless_bundle(tmp_path / 'endless')
    command = [sys.executable, '-m', 'dgss_core', 'segment', str(tmp_path / 'image.png')]
    options = ['--bundle', str(bundle), '--backend', 'onnxruntime', '--threads', '1']
    output = tmp_path / 'out'
    with subprocess.Popen(
        [*command, *options, '--output', str(output)], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            # The page is written when the network is loaded; after it only the network computes.
            while not (output / 'index.html').exists():
                assert process.poll() is None, 'nothing was written'
                time.sleep(0.1)
            loaded = cpu_s(process.pid)
            while cpu_s(process.pid) < loaded + 1:
                assert process.poll() is None, 'the network returned'
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1.5)
            while process.poll() is None:
                process.send_signal(signal.SIGINT)
                time.sleep(0.5)
            assert process.returncode == 130
            *before, last = process.stderr.read().splitlines()
            assert last.startswith('dgss: ')
            assert any(line.endswith('Two more Ctrl-C end it at once.') for line in before)
        finally:
            process.kill()
