"""Bags are whole or absent; only bags are replaced; their names may hold any character."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_bags import assert_same, drive, entries, storages

from dgss_core.bags import bag_info, read_bag, write_bag
from dgss_core.cli import main
from dgss_core.errors import DgssError

KILLED = """
import os, sys
from pathlib import Path
from dgss_core.bags import write_bag
from test_bags import drive
def frames():
    for frame in drive(9):
        yield frame
        if frame.name == sys.argv[3]:
            print('here', flush=True)
            sys.stdin.read()
write_bag(Path(sys.argv[1]), frames(), storage=sys.argv[2], overwrite=True)
"""


@storages
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_next_run_removes_what_a_killed_one_left(tmp_path, storage, number):
    write_bag(tmp_path / 'bag', drive(2), storage=storage)
    process = subprocess.Popen(
        [sys.executable, '-c', KILLED, tmp_path / 'bag', storage, '000004'],
        env={
            **os.environ,
            'PYTHONPATH': os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout.readline() == b'here\n'
    process.send_signal(number)
    process.wait()
    process.communicate()
    assert len(list(read_bag(tmp_path / 'bag'))) == 2, 'the old bag is whole'
    write_bag(tmp_path / 'other', drive(1), storage=storage)
    assert entries(tmp_path) == ['bag', 'other']


@storages
@pytest.mark.parametrize('name', ['a#b', 'a?b=c', 'a%23b', 'a b', '#', 'ü'])
def test_a_name_may_hold_any_character(tmp_path, storage, name):
    folder = tmp_path / name
    folder.mkdir()
    frames = drive(3)
    write_bag(folder / name, frames, storage=storage)
    write_bag(folder / name, frames, storage=storage, overwrite=True)
    assert entries(tmp_path) == [name]
    assert entries(folder) == [name]
    assert_same(list(read_bag(folder / name)), frames)
    (folder / name / 'metadata.yaml').unlink()
    assert_same(list(read_bag(folder / name)), frames)


def test_a_flipped_bit_in_our_bags_is_found(tmp_path):
    write_bag(tmp_path / 'bag', drive(3))
    (file,) = (tmp_path / 'bag').glob('*.mcap')
    data = bytearray(file.read_bytes())
    image = drive(3)[1].image[..., ::-1].tobytes()
    data[data.index(image) + 100] ^= 1
    file.write_bytes(data)
    with pytest.raises(DgssError, match='its checksum is wrong'):
        list(read_bag(tmp_path / 'bag'))


def test_only_a_bag_that_holds_nothing_else_is_replaced(tmp_path):
    write_bag(tmp_path / 'bag', drive(2))
    (tmp_path / 'bag' / 'notes.txt').write_text('mine')
    with pytest.raises(DgssError, match=r'is not a bag \(it holds notes.txt\)'):
        write_bag(tmp_path / 'bag', drive(3), overwrite=True)
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home' / 'metadata.yaml').write_text('title: letters')
    with pytest.raises(DgssError, match='is not a bag'):
        write_bag(tmp_path / 'home', drive(3), overwrite=True)
    (tmp_path / 'link').symlink_to('bag')
    with pytest.raises(DgssError, match='is a link'):
        write_bag(tmp_path / 'link', drive(3), overwrite=True)
    assert (tmp_path / 'bag' / 'notes.txt').read_text() == 'mine'
    assert bag_info(tmp_path / 'bag').topics[0].count == 2


def test_a_bag_is_not_written_over_its_own_source(tmp_path, capsys, monkeypatch):
    write_bag(tmp_path / 'bag', drive(2))
    (tmp_path / 'bag' / 'labels').mkdir()
    before = {path: path.read_bytes() for path in (tmp_path / 'bag').iterdir() if path.is_file()}
    command = ['bag', 'write', str(tmp_path / 'bag'), '--overwrite', '--output']
    assert main([*command, str(tmp_path / 'bag')]) == 2
    (tmp_path / 'bag' / 'labels').rmdir()
    assert main([*command, str(tmp_path / 'bag')]) == 2
    monkeypatch.chdir(tmp_path / 'bag')
    assert main(['bag', 'write', 'synthetic', '--overwrite', '--output', '.']) == 2
    assert capsys.readouterr().err.count('\n') == 3
    assert {path: path.read_bytes() for path in (tmp_path / 'bag').iterdir()} == before


def test_a_full_disk_keeps_the_old_bag(tmp_path):
    import resource

    write_bag(tmp_path / 'bag', drive(2))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limit[1]))
    try:
        with pytest.raises(DgssError, match='cannot be written'):
            write_bag(tmp_path / 'bag', drive(9), overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert len(list(read_bag(tmp_path / 'bag'))) == 2
    assert entries(tmp_path) == ['bag']
