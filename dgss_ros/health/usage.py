"""What the process of the node takes of the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

STATM = Path('/proc/self/statm')
MIB = 1 << 20


class Usage:
    """Measures since the call before; the first call measures since this object was made."""

    def __init__(self) -> None:
        self._before = time.monotonic(), time.process_time()

    def measure(self) -> dict[str, object]:
        """`cpu_percent`: 100 is one core. `memory_mib`: resident; missing where Linux is not."""
        now = time.monotonic(), time.process_time()
        wall, busy = (new - old for new, old in zip(now, self._before, strict=True))
        self._before = now
        found: dict[str, object] = {'cpu_percent': f'{100 * busy / max(wall, 1e-3):.0f}'}
        if STATM.is_file():
            pages = int(STATM.read_text().split()[1])
            found['memory_mib'] = f'{pages * os.sysconf("SC_PAGE_SIZE") / MIB:.0f}'
        return found
