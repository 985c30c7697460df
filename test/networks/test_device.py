"""Memory that a process on a CPU keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytest.importorskip('torch', reason='needs torch: the memory of networks')

FAULTS = """
import resource
import sys
import numpy as np
from dgss_core.networks.device import keep_freed_memory
if sys.argv[1] == 'keep':
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**24)
before = faults()
for _ in range(10):
    np.ones(2**24)
print(faults() - before)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc', reason='only the malloc of glibc can be told'
)
def test_freed_memory_is_used_again() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, '-c', FAULTS, how]
        return int(subprocess.run(command, check=True, capture_output=True).stdout)

    assert faults('keep') < faults('return') / 10
