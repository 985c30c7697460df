"""An evaluation as recordings for Rerun, read by Rerun."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exports import export

from dgss_core.evaluation.pictures import error_indices
from dgss_core.images.frames import FIRST_STAMP_NS
from dgss_core.runtime.bundle import Bundle

pytest.importorskip('rerun.chunk', reason='needs rerun-sdk 0.41: pip install dgss_ros[rerun]')
RECORDING = '001_drive_camera_image_raw.rrd'
LOG = """
import sys
from pathlib import Path
import dgss_core
from dgss_core.evaluation.exports.rerun_recordings import write_recordings
from dgss_core.evaluation.exports.frames import Drive
from dgss_core.labels import LabelSet
drive = Drive('drive', 'drive', False, iter(()))
write_recordings(Path(sys.argv[1]), [drive], LabelSet.load('cityscapes19'))
"""


def columns(path: Path) -> dict[str, dict[str, list[Any]]]:
    """The values of a recording, by entity and component."""
    from rerun.chunk import RrdReader

    found: dict[str, dict[str, list[Any]]] = {}
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            of_entity = found.setdefault(chunk.entity_path, {})
            if str(column.type).startswith('timestamp'):
                column = column.cast('int64')
            of_entity.setdefault(name, []).extend(column.to_pylist())
    return found


def planes(entity: dict[str, list[Any]]) -> list[np.ndarray]:
    (name,) = (key for key in entity if key.endswith(':buffer'))
    return [np.array(buffer, np.uint8).reshape(48, 64) for (buffer,) in entity[name]]


def test_a_recording_holds_every_frame(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    done = export(tmp_path, probe_bundle, capsys, 'rerun')
    folder = done.output / 'rerun'
    assert len([*folder.glob('*.rrd')]) == 2
    found = columns(folder / RECORDING)
    np.testing.assert_array_equal(planes(found['/camera/mask']), done.masks)
    np.testing.assert_array_equal(planes(found['/camera/labels']), done.labels[:3])
    errors = [error_indices(*pair) for pair in zip(done.masks[:3], done.labels[:3], strict=True)]
    np.testing.assert_array_equal(planes(found['/camera/error']), errors)
    assert (np.array(planes(found['/camera/confidence'])) == 200).all()
    stamps = [FIRST_STAMP_NS + place * 10**8 for place in range(4)]
    assert found['/camera/mask']['stamp'] == stamps
    assert found['/camera/mask']['frame'] == [0, 1, 2, 3]
    assert found['/frame']['TextLog:text'][2] == ['000002, night']
    assert len(found['/scores/miou']['Scalars:scalars']) == 3
    classes = found['/camera']['AnnotationContext:context'][0][0]
    named = {entry['class_description']['info']['label'] for entry in classes}
    assert {'road', 'car', 'none'} <= named


def test_rerun_tells_nobody(tmp_path: Path) -> None:
    for tool in ('unshare', 'strace'):
        if not shutil.which(tool):
            pytest.skip(f'needs {tool}')
    home, trace = tmp_path / 'home', tmp_path / 'trace'
    home.mkdir()
    around = ['unshare', '-rn', 'strace', '-f', '-e', 'trace=connect', '-o', str(trace)]
    if subprocess.run([*around, 'true'], capture_output=True).returncode:
        pytest.skip('this machine allows no network namespace or no strace')
    command = ['env', f'HOME={home}', sys.executable, '-c', LOG, str(tmp_path / 'rerun')]
    subprocess.run([*around, *command], check=True)
    assert re.findall(r'connect\(.*AF_INET.*', trace.read_text()) == []
    assert [*home.rglob('*')] == []
