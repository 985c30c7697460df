"""Long runs, scaled down: memory reaches a level and stays there."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from camera import Camera, DiagnosticsReader
from probe import write_probe_bundle
from streams import images_at

from dgss_ros.client.process import resident_mib

pytestmark = pytest.mark.ros
WARM_UP_S = 3.0
SOAK_MIB = 20.0
LOOPS_MIB = 16.0
WARM_UP_LOOPS = 3

short_and_long = pytest.mark.parametrize(
    'seconds', [7, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(400)])]
)


@short_and_long
def test_memory_stays_level_while_frames_flow(
    start_node,
    probe_bundle: Path,
    camera: Camera,
    diagnostics: DiagnosticsReader,
    seconds: int,
) -> None:
    node = start_node(bundle=probe_bundle, autostart=True, fresh=True)
    camera.subscribe('mask', 'confidence', 'overlay')
    picture = np.random.default_rng(0).integers(0, 256, (360, 640, 3)).astype(np.uint8)
    camera.connect(picture)
    with images_at(camera, 30.0, picture) as stamps:
        time.sleep(WARM_UP_S)
        before = resident_mib(node.process.pid)
        time.sleep(seconds)
        growth = resident_mib(node.process.pid) - before
    assert growth < SOAK_MIB
    values = diagnostics.wait(
        'frames', lambda _, v: int(v['received']) == int(v['processed']) + int(v['dropped'])
    )
    # A busy machine may drop some.
    assert int(values['processed']) > len(stamps) / 2


@pytest.mark.parametrize(
    'loops', [15, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_the_lifecycle_gives_memory_back(
    start_node, tmp_path: Path, camera: Camera, loops: int
) -> None:
    # 64 MiB, more than the loaded libraries, which stay.
    large = write_probe_bundle(tmp_path / 'large', brightest=(1 << 24) - 1)
    node = start_node(bundle=large, fresh=True)
    camera.subscribe('mask')
    picture = np.zeros((360, 640, 3), np.uint8)

    def level() -> float:
        return resident_mib(node.process.pid)

    assert node.lifecycle.state == 'unconfigured'
    base = level()
    cleaned = []
    for _ in range(loops):
        node.lifecycle.configure()
        node.lifecycle.activate()
        camera.connect(picture)
        camera.answer(picture)
        active = level()
        node.lifecycle.deactivate()
        node.lifecycle.cleanup()
        camera.received['mask'].clear()
        cleaned.append(level())
    assert cleaned[-1] - base < (active - base) / 2
    assert cleaned[-1] < cleaned[WARM_UP_LOOPS] + LOOPS_MIB, cleaned
