"""Memory that this machine can still give to a training."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LIMITS = (('memory.max', 'memory.current'), ('memory.limit_in_bytes', 'memory.usage_in_bytes'))
"""Files of a control group of version 2 and of version 1: its limit and its use in bytes."""


def free_memory(proc: Path = Path('/proc'), groups: Path = Path('/sys/fs/cgroup')) -> int:
    """Free bytes, within the limits of the control groups of this process (of a container, say).

    Linux counts what it can take back from its caches (`MemAvailable`); a group does not, so
    there it is rather too little. Without `proc` the unused pages count; 0 if nobody knows them.
    """
    return max(0, min([available(proc), *_left_in_groups(proc, groups)]))


def available(proc: Path) -> int:
    """Free bytes of the machine."""
    with suppress(OSError):
        found = re.search(r'^MemAvailable:\s*(\d+) kB', (proc / 'meminfo').read_text(), re.M)
        if found is not None:
            return int(found[1]) * 1024
    with suppress(OSError, ValueError):
        return os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return 0


def _left_in_groups(proc: Path, groups: Path) -> Iterator[int]:
    """What each control group of this process that has a limit has left."""
    with suppress(OSError):
        for line in (proc / 'self' / 'cgroup').read_text().splitlines():
            _, kinds, name = line.split(':', 2)
            if kinds and 'memory' not in kinds.split(','):
                continue
            root = groups / 'memory' if kinds else groups
            inner = root / name.lstrip('/')
            # In a container the name may be that outside; its own group is then the root.
            for folder in {inner, *inner.parents} - {*root.parents}:
                for limit, used in LIMITS:
                    # 'max' is no limit. A kernel without memory groups has no such files.
                    with suppress(OSError, ValueError):
                        yield int((folder / limit).read_text()) - int((folder / used).read_text())
