"""The output folder of `dgss segment` when it is interrupted, killed, full, or not ours."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dgss_core.cli import main
from dgss_core.runtime.bundle import Bundle

FOLDERS = ('masks', 'overlays', 'frames', 'thumbnails')

WAIT = """
import resource, sys, time
from dgss_core.cli import main
from dgss_core.commands import segment
from dgss_core.runtime.segmenter import Segmenter
call, write = Segmenter.predict_prepared, segment._write_frame
count, written, ended = 0, 0, False
def counted(*frame):
    global written
    try:
        write(*frame)
    finally:
        written += 1
def wait(self, images):
    global count, ended
    # A frame before may never be written if the run was ended meanwhile.
    while written < count and not ended:
        time.sleep(0.002)
    if count == int(sys.argv[1]):
        print('here', flush=True)
        line = sys.stdin.readline()
        ended = not line
        if line == 'full\\n':
            resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
    count += 1
    return call(self, images)
Segmenter.predict_prepared, segment._write_frame = wait, counted
sys.exit(main(['segment', *sys.argv[2:]]))
"""
"""`dgss segment` that waits for a line before frame argv[1], when those before are written."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four images; their masks are 0, 1, 2 and 3."""
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for index in range(4):
        image = np.full((48, 64, 3), 16 * index, np.uint8)
        cv2.imwrite(str(folder / f'{index}.png'), image)
    return folder


@pytest.fixture
def command(pictures: Path, probe_bundle: Bundle, tmp_path: Path) -> list[str]:
    options = ['--output', str(tmp_path / 'out'), '--bundle', str(probe_bundle.folder)]
    # With one thread, one frame after the other is predicted.
    return [str(pictures), *options, '--backend', 'onnxruntime', '--threads', '1']


def stopped_at(index: int, command: list[str]) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, '-c', WAIT, str(index), *command],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'here\n'
    return process


def facts(output: Path) -> dict:
    text = (output / 'index.html').read_text()
    data = json.loads(re.search(r'application/json">(.*?)</script>', text, re.DOTALL)[1])
    return {**dict(data['facts']), 'names': data['frames']}


def masks(output: Path) -> dict[str, list[int]]:
    """The values of every mask; each must be readable and have its three pictures."""
    found = {}
    for path in sorted((output / 'masks').iterdir()):
        found[path.stem] = np.unique(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)).tolist()
        for name in FOLDERS[1:]:
            assert cv2.imread(str(output / name / f'{path.stem}.jpg')) is not None
    return found


WHOLE = {str(index): [index] for index in range(4)}


def test_ctrl_c_before_the_first_frame_leaves_nothing(tmp_path: Path, command: list[str]) -> None:
    process = stopped_at(0, command)
    process.send_signal(signal.SIGINT)
    assert 'interrupted' in process.communicate()[1]
    assert process.returncode == 130
    assert not (tmp_path / 'out').exists()
    (tmp_path / 'out').mkdir()
    process = stopped_at(0, command)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert os.listdir(tmp_path / 'out') == []
    assert main(['segment', *command]) == 0


def test_ctrl_c_keeps_the_finished_frames_and_says_so(tmp_path: Path, command: list[str]) -> None:
    process = stopped_at(2, command)
    process.send_signal(signal.SIGINT)
    errors = process.communicate()[1]
    assert process.returncode == 130
    assert f'Finished 2 frames: {tmp_path / "out" / "index.html"}' in errors
    assert masks(tmp_path / 'out') == {'0': [0], '1': [1]}
    assert facts(tmp_path / 'out')['names'] == ['0', '1']
    assert 'a part' in facts(tmp_path / 'out')['frames']
    assert main(['segment', *command, '--overwrite']) == 0
    assert masks(tmp_path / 'out') == WHOLE
    assert facts(tmp_path / 'out')['frames'] == '4 of a folder'


@pytest.mark.parametrize('index', [0, 2])
def test_after_a_kill_the_folder_can_be_used_again(
    tmp_path: Path, command: list[str], index: int, capsys
) -> None:
    process = stopped_at(index, command)
    process.kill()
    process.communicate()
    assert list(masks(tmp_path / 'out')) == [str(i) for i in range(index)]
    assert 'a part' in facts(tmp_path / 'out')['frames']
    assert main(['segment', *command]) == 2
    assert '--overwrite' in capsys.readouterr().err
    assert main(['segment', *command, '--overwrite']) == 0
    assert masks(tmp_path / 'out') == WHOLE
    assert sorted(os.listdir(tmp_path / 'out')) == sorted([*FOLDERS, 'index.html'])


@pytest.mark.parametrize('end', ['kill', 'full'])
def test_an_earlier_result_stays_until_the_new_one_is_complete(
    tmp_path: Path, command: list[str], end: str
) -> None:
    assert main(['segment', *command]) == 0
    before = {p: p.read_bytes() for p in (tmp_path / 'out').rglob('*') if p.is_file()}
    process = stopped_at(3, [*command, '--overwrite'])
    if end == 'kill':
        process.kill()
    errors = process.communicate('full\n' if end == 'full' else '')[1]
    if end == 'full':
        assert process.returncode == 2
        assert errors.count('\n') == 1
        assert 'the earlier result in it stays' in errors
    assert {p: p.read_bytes() for p in (tmp_path / 'out').rglob('*') if p.is_file()} == before
    (tmp_path / 'pictures' / '0.png').unlink()
    assert main(['segment', *command, '--overwrite']) == 0
    assert list(masks(tmp_path / 'out')) == ['1', '2', '3']
    assert not list(tmp_path.glob('.dgss*'))


def test_a_full_disk_leaves_whole_frames(tmp_path: Path, command: list[str]) -> None:
    process = stopped_at(2, command)
    errors = process.communicate('full\n')[1]
    assert process.returncode == 2
    assert errors.startswith('dgss: error:')
    assert errors.count('\n') == 1
    assert 'Errno' not in errors
    assert 'finished in it: 2 frames' in errors
    assert masks(tmp_path / 'out') == {'0': [0], '1': [1]}
    assert {len(os.listdir(tmp_path / 'out' / name)) for name in FOLDERS} == {2}
    assert main(['segment', *command, '--overwrite']) == 0


def test_links_in_the_output_are_not_followed(
    tmp_path: Path, command: list[str], pictures: Path, capsys
) -> None:
    assert main(['segment', *command]) == 0
    truth = tmp_path / 'truth'
    truth.mkdir()
    for source in pictures.iterdir():
        (truth / source.name).write_bytes(source.read_bytes())
    before = {path: path.read_bytes() for path in truth.iterdir()}
    out = tmp_path / 'out'
    for name in FOLDERS:
        (out / name).rename(tmp_path / f'old {name}')
        (out / name).symlink_to(truth)
    (out / 'index.html').rename(truth / 'page')
    (out / 'index.html').symlink_to(truth / 'page')
    before[truth / 'page'] = (truth / 'page').read_bytes()
    assert main(['segment', *command, '--overwrite']) == 0
    assert masks(out) == WHOLE
    assert not any(path.is_symlink() for path in out.rglob('*'))
    assert {path: path.read_bytes() for path in truth.iterdir()} == before
    out.rename(tmp_path / 'elsewhere')
    out.symlink_to(tmp_path / 'elsewhere')
    assert main(['segment', *command, '--overwrite']) == 2
    assert 'is a link' in capsys.readouterr().err


def test_files_of_others_stay(tmp_path: Path, command: list[str], capsys) -> None:
    assert main(['segment', *command]) == 0
    out = tmp_path / 'out'
    (out / 'notes' / 'deep').mkdir(parents=True)
    (out / 'notes' / 'deep' / 'a.txt').write_text('mine')
    (out / 'notes' / 'way').symlink_to('deep/a.txt')
    os.mkfifo(out / 'pipe')
    assert main(['segment', *command, '--overwrite']) == 0
    assert (out / 'notes' / 'deep' / 'a.txt').read_text() == 'mine'
    assert (out / 'notes' / 'way').is_symlink()
    assert (out / 'pipe').is_fifo()
    (out / 'masks' / 'notes.txt').write_text('mine')
    assert main(['segment', *command, '--overwrite']) == 2
    assert 'it holds masks/notes.txt' in capsys.readouterr().err
    assert (out / 'masks' / 'notes.txt').read_text() == 'mine'


def test_a_source_without_a_readable_frame_leaves_nothing(
    tmp_path: Path, command: list[str], pictures: Path, capsys
) -> None:
    assert main(['segment', *command]) == 0
    for path in pictures.iterdir():
        path.write_bytes(b'')
    assert main(['segment', *command, '--overwrite']) == 2
    assert 'None of 4 frames' in capsys.readouterr().err
    assert masks(tmp_path / 'out') == WHOLE
    assert main(['segment', *command[:2], str(tmp_path / 'new'), *command[3:]]) == 2
    assert not (tmp_path / 'new').exists()
