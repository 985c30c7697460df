"""A backend plugin that waits and fails on command, for nodes in their own processes.

`gated:FOLDER` answers like the probe bundle: mask = red // 16, confidence = green. What it does is
decided by files in FOLDER, for a bundle NAME:

    hold-load-NAME, hold-run-NAME   the load, or a run, waits while the file exists
    hold-red-NAME                   a run of an image waits whose red is at least the file's
    refuse-run-NAME, crash-run-NAME a run raises DgssError, or RuntimeError
    refuse-warm-up-NAME             the first run of a load raises DgssError

and what it has done so far stands in FOLDER/events, a line for each: `load NAME`, `loaded NAME`,
`run NAME`, `held NAME` (by its red), `ran NAME`, `close NAME`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dgss_ros.client.session import wait_until

CODE = """
import time
from pathlib import Path

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.bundle import CONFIDENCE, MASK


class Gated:
    key, sha256 = None, ''

    def __init__(self, bundle, options):
        self.name, self.identity = options.name, 'gated'
        self._folder = Path(options.name.partition(':')[2])
        self._bundle = bundle.manifest.name
        self._warm = False
        self._note('load')
        self._hold('load')
        self._note('loaded')

    def run(self, images):
        if self._warm:
            self._note('run')
            self._hold('run')
            self._hold_red(images)
            if (self._folder / f'refuse-run-{self._bundle}').exists():
                raise DgssError('The device refuses the network.')
            if (self._folder / f'crash-run-{self._bundle}').exists():
                raise RuntimeError('The device is lost.')
            self._note('ran')
        elif (self._folder / f'refuse-warm-up-{self._bundle}').exists():
            raise DgssError('The device is full.')
        self._warm = True
        return {MASK: images[..., 0] // 16, CONFIDENCE: images[..., 1].copy()}

    def close(self):
        self._note('close')

    def _hold(self, step):
        while (self._folder / f'hold-{step}-{self._bundle}').exists():
            time.sleep(0.01)

    def _hold_red(self, images):
        gate = self._folder / f'hold-red-{self._bundle}'
        if gate.exists() and images[..., 0].max() >= int(gate.read_text()):
            self._note('held')
            self._hold('red')

    def _note(self, event):
        with open(self._folder / 'events', 'a') as file:
            file.write(f'{event} {self._bundle}\\n')
"""


class Gates:
    """The files that control the backend `gated:FOLDER` of nodes that are started from now on."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package, self.folder = folder / 'gated_package', folder / 'gates'
        metadata = package / 'gated-1.0.dist-info'
        metadata.mkdir(parents=True)
        self.folder.mkdir()
        (package / 'gated_backend.py').write_text(CODE)
        (metadata / 'METADATA').write_text('Metadata-Version: 2.1\nName: gated\nVersion: 1.0\n')
        (metadata / 'entry_points.txt').write_text(
            '[dgss.backends]\ngated = gated_backend:Gated\n'
        )
        monkeypatch.setenv('PYTHONPATH', str(package), prepend=':')
        self.backend = f'gated:{self.folder}'

    def close(self, gate: str, red: int | None = None) -> None:
        """Make runs or loads wait or fail from now on, as in `hold-run-first`."""
        (self.folder / gate).write_text('' if red is None else str(red))

    def open(self, gate: str) -> None:
        (self.folder / gate).unlink()

    def count(self, event: str) -> int:
        events = self.folder / 'events'
        return events.read_text().splitlines().count(event) if events.exists() else 0

    def wait(self, event: str, times: int = 1) -> None:
        """Wait until an event, as in `run first`, has happened this often."""
        assert wait_until(lambda: self.count(event) >= times, 30.0), (event, self.count(event))
