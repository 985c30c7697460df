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
def test_the_third_interrupt_ends_a_verb_that_hangs(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'image.png'), np.zeros((48, 64, 3), np.uint8))
    bundle = endless_bundle(tmp_path / 'endless')
    command = [sys.executable, '-m', 'dgss_core', 'segment', str(tmp_path / 'image.png')]
    options = ['--bundle', str(bundle), '--backend', 'onnxruntime', '--threads', '1']
    with subprocess.Popen([*command, *options, '--output', str(tmp_path / 'out')]) as process:
        try:
            # Loading takes a few seconds of CPU; the loop takes them for ever.
            while cpu_s(process.pid) < 8:
                assert process.poll() is None, 'the network returned'
                time.sleep(0.1)
            for _ in range(2):
                process.send_signal(signal.SIGINT)
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.5)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        finally:
            process.kill()
