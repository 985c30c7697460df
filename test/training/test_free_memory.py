"""Free memory as Linux, control groups of both versions, and a system without /proc tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dgss_core.training.memory import free_memory


def test_free_memory_is_that_of_the_machine_and_its_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc, groups = tmp_path / 'proc', tmp_path / 'groups'
    (proc / 'self').mkdir(parents=True)

    def group(folder: Path, files: tuple[str, str], limit: object, used: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in zip(files, (limit, used), strict=True):
            (folder / name).write_text(f'{value}\n')

    monkeypatch.setattr('os.sysconf', {'SC_AVPHYS_PAGES': 7, 'SC_PAGE_SIZE': 3}.get)
    assert free_memory(proc, groups) == 21
    (proc / 'meminfo').write_text('MemTotal:  90 kB\nMemFree:  8 kB\nMemAvailable:   64 kB\n')
    assert free_memory(proc, groups) == 64 * 1024
    (proc / 'self' / 'cgroup').write_text('3:cpu,memory:/old\n2:cpu:/other\n0::/job/step\n')
    assert free_memory(proc, groups) == 64 * 1024
    new, old = ('memory.max', 'memory.current'), ('memory.limit_in_bytes', 'memory.usage_in_bytes')
    group(groups / 'job' / 'step', new, 'max', 10)
    group(groups / 'memory' / 'other', old, 1, 0)
    assert free_memory(proc, groups) == 64 * 1024
    group(groups / 'job', new, 5000, 1000)
    assert free_memory(proc, groups) == 4000
    group(groups / 'memory', old, 3000, 1000)
    assert free_memory(proc, groups) == 2000
    group(groups / 'job', new, 5000, 6000)
    assert free_memory(proc, groups) == 0
