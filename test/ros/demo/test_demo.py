"""A small demo from end to end, with the command of the user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera import TIMEOUT_S
from in_process import dgss

from dgss_core.bags import bag_info
from dgss_core.cli import main
from dgss_core.synthetic import CONDITIONS
from dgss_ros.client.session import wait_until

pytestmark = pytest.mark.ros
DGSS = [sys.executable, '-m', 'dgss_core']


def write_camvid(root: Path) -> None:
    """Write three frames in the layout of CamVid, with every pixel labelled as road."""
    for folder in ('images', 'labels_cs19', 'splits'):
        (root / folder).mkdir(parents=True)
    names = [f'0001TP_{index:06d}' for index in range(3)]
    (root / 'splits' / 'dusk.txt').write_text('\n'.join(names) + '\n')
    for name in names:
        cv2.imwrite(str(root / 'images' / f'{name}.jpg'), np.full((120, 160, 3), 5, np.uint8))
        cv2.imwrite(str(root / 'labels_cs19' / f'{name}.png'), np.zeros((120, 160), np.uint8))


def test_the_demo_leaves_bags_a_sheet_and_a_report(tmp_path: Path, probe_bundle: Path) -> None:
    write_camvid(tmp_path / 'data' / 'camvid')
    output = tmp_path / 'out'
    options = ['--data', str(tmp_path / 'data'), '--bundle', str(probe_bundle)]
    command = [*DGSS, 'demo', '--output', str(output), *options, '--frames', '2']
    # The command replaces the files of the first run.
    first = dgss('demo', '--output', str(output), *options, '--frames', '1')
    second = subprocess.run(command, capture_output=True, text=True, timeout=140)
    for done in (first, second):
        assert done.returncode == 0, done.stderr
        assert 'Traceback' not in done.stderr

    report = json.loads((output / 'report.json').read_text())
    frames = 3 + 2 * len(CONDITIONS)
    assert report['frames'] == {'sent': frames, 'received': frames, 'dropped': 0}
    assert 0 < report['latency_ms']['p50'] <= report['latency_ms']['p95']
    legs = report['conditions']
    assert [(leg['condition'], leg['source']) for leg in legs] == [
        *((condition, 'synthetic') for condition in CONDITIONS),
        ('dusk', 'CamVid'),
    ]
    # The mask of the probe bundle is 0, road, for dark red: every CamVid pixel is correct.
    assert legs[-1] == {
        'condition': 'dusk',
        'source': 'CamVid',
        'label_set': 'camvid11',
        'sent': 3,
        'received': 3,
        'miou': 1.0,
    }
    assert all(0 <= leg['miou'] < 0.3 for leg in legs[:-1])
    counts = {topic.name: topic.count for topic in bag_info(output / 'masks').topics}
    assert counts['/dgss/mask'] == counts['/dgss/confidence'] == frames
    counts = {topic.name: topic.count for topic in bag_info(output / 'drive').topics}
    assert counts['/camera/image_raw'] == counts['/camera/labels'] == frames
    sheet = cv2.imread(str(output / 'contact_sheet.png'))
    assert sheet.shape[0] > 7 * 100
    for condition in CONDITIONS:
        assert condition in done.stdout
    assert f'sent {frames}   received {frames}   dropped 0' in done.stdout
    assert 'autostart:=true' in done.stdout


def test_an_interrupted_demo_leaves_no_node_behind(tmp_path: Path, slow_bundle: Path) -> None:
    log = tmp_path / 'node.log'
    process = subprocess.Popen(
        [*DGSS, 'demo', '--output', str(tmp_path), '--frames', '3', '--bundle', str(slow_bundle)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {'DGSS_DATA': ''},
    )
    try:
        assert wait_until(lambda: log.exists() and 'Takes images' in log.read_text(), 200)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.strip().endswith('dgss: interrupted')
    assert 'Traceback' not in err + log.read_text()
    assert wait_until(lambda: not running(str(slow_bundle)), TIMEOUT_S)


def running(argument: str) -> list[str]:
    """Return the command lines that contain `argument`, of all processes."""
    found = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            command = path.read_text()
        except OSError:
            continue
        if argument in command:
            found.append(command)
    return found


def test_the_node_ends_when_the_demo_is_killed(tmp_path: Path, probe_bundle: Path) -> None:
    if sys.platform != 'linux':
        pytest.skip('needs the parent death signal of Linux')
    code = (
        'import sys, time\n'
        'from dgss_ros.client.process import node_process\n'
        f'with node_process("-p", "bundle:={probe_bundle}"):\n'
        '    time.sleep(60)\n'
    )
    process = subprocess.Popen([sys.executable, '-c', code])
    assert wait_until(lambda: len(running(f'bundle:={probe_bundle}')) == 2, TIMEOUT_S)
    time.sleep(1.0)
    process.kill()
    process.wait()
    assert wait_until(lambda: not running(f'bundle:={probe_bundle}'), TIMEOUT_S)


def test_wrong_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / 'out'
    for arguments, sentence in [
        (['--frames', '0'], 'frames is 0'),
        (['--data', str(tmp_path)], 'holds no camvid/'),
        (['--bundle', str(tmp_path)], 'There is no bundle at'),
    ]:
        assert main(['demo', '--output', str(output), *arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ''
        assert sentence in printed.err
        assert not output.exists()


def test_files_of_others_are_not_overwritten(
    tmp_path: Path, probe_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['demo', '--bundle', str(probe_bundle), '--output']
    for name in ('drive', 'masks', 'node.log', 'contact_sheet.png', 'report.json', 'notes'):
        output = tmp_path / f'with {name}'
        output.mkdir()
        (output / name).write_text('mine')
        assert main([*arguments, str(output)]) == 2
        assert f'{output} is not a demo (it has no .dgss-demo)' in capsys.readouterr().err
        assert [path.read_text() for path in output.iterdir()] == ['mine']
    command = [*DGSS, *arguments, str(output / name / 'below')]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    assert 'cannot be written' in done.stderr
    assert done.stderr.count('\n') == 1
