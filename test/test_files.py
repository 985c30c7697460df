"""Whole or absent: files and folders under kill -9, links, and what is not ours."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from boxes import BOX, content, exchanges, fill, without_exchange

from dgss_core.errors import DgssError
from dgss_core.files import (
    append_line,
    refuse_file,
    refuse_replacing,
    replacing,
    replacing_folder,
    write_new,
)
from dgss_core.files.home import cache_folder, expand


@exchanges
def test_a_folder_is_replaced_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        without_exchange(monkeypatch)
    box = tmp_path / 'deep' / 'box'
    fill(box, 'old')
    (box / 'more.txt').write_text('old')
    fill(box, 'new')
    assert content(box) == {'new'}
    assert os.listdir(box.parent) == ['box']


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    box = tmp_path / 'box'
    fill(box, 'old')

    def fail() -> None:
        with replacing_folder(box, BOX) as staged:
            (staged / '0.txt').write_text('half')
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert content(box) == {'old'}
    assert os.listdir(tmp_path) == ['box']


def test_what_is_not_ours_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path / 'theirs'
    theirs.mkdir()
    refuse_replacing(theirs, BOX, overwrite=True)  # empty
    (theirs / 'letter').write_text('dear')
    with pytest.raises(DgssError, match=r'is not a box \(it has no mark\) and is not overwritten'):
        refuse_replacing(theirs, BOX, overwrite=True)
    with pytest.raises(DgssError, match='already exists'):
        refuse_replacing(theirs, BOX, overwrite=False)
    with pytest.raises(DgssError, match='is not a box'):
        refuse_replacing(theirs / 'letter', BOX, overwrite=True)
    assert (theirs / 'letter').read_text() == 'dear'


def test_a_folder_that_appears_meanwhile_is_refused(tmp_path: Path) -> None:
    box = tmp_path / 'box'

    def meanwhile() -> None:
        with replacing_folder(box, BOX):
            box.mkdir()
            (box / 'letter').write_text('dear')

    with pytest.raises(DgssError, match='is not a box'):
        meanwhile()
    assert os.listdir(tmp_path) == ['box']
    assert (box / 'letter').read_text() == 'dear'


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    fill(tmp_path / 'box', 'old')
    (tmp_path / 'link').symlink_to('box')
    (tmp_path / 'dangling').symlink_to('nowhere')
    for name in ('link', 'dangling'):
        with pytest.raises(DgssError, match='is a link'):
            refuse_replacing(tmp_path / name, BOX, overwrite=True)
    (tmp_path / 'lines').symlink_to(tmp_path / 'box' / '0.txt')
    with pytest.raises(OSError, match='symbolic links'):
        append_line(tmp_path / 'lines', 'more')
    assert content(tmp_path / 'box') == {'old'}


def test_a_link_inside_a_replaced_folder_is_removed_and_not_its_target(tmp_path: Path) -> None:
    box, truth = tmp_path / 'box', tmp_path / 'truth'
    fill(box, 'old')
    truth.mkdir()
    (truth / '0.txt').write_text('truth')
    (box / 'inside').symlink_to(truth)
    fill(box, 'new')
    assert content(truth) == {'truth'}
    assert not (box / 'inside').exists()


def test_what_holds_an_input_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = tmp_path / 'box'
    fill(box, 'old')
    (tmp_path / 'way').symlink_to(box / '0.txt')
    for path in (box, box / '0.txt', box / 'deep' / 'missing', tmp_path / 'way'):
        with pytest.raises(DgssError, match='which must stay'):
            refuse_replacing(box, BOX, overwrite=True, inputs=[path])
    (box / 'inside').mkdir()
    monkeypatch.chdir(box / 'inside')
    for path in (box, Path(), Path('..'), tmp_path):
        with pytest.raises(DgssError, match='which must stay'):
            refuse_replacing(path, BOX, overwrite=True)
    with pytest.raises(DgssError, match='which must stay'):
        refuse_file(box / '0.txt', BOX, [box / '0.txt'])


def test_a_file_is_replaced_and_its_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / 'truth').write_text('truth')
    (tmp_path / 'link').symlink_to('truth')
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / 'link') as staged:
            staged.write_text('new')
            staged.chmod(0o600)  # as some libraries write a file
    finally:
        os.umask(before)
    assert (tmp_path / 'truth').read_text() == 'truth'
    assert (tmp_path / 'link').read_text() == 'new'
    assert not (tmp_path / 'link').is_symlink()
    assert stat.S_IMODE((tmp_path / 'link').stat().st_mode) == 0o640, 'the umask counts'


@exchanges
def test_a_new_file_never_replaces_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        without_exchange(monkeypatch)
    write_new(tmp_path / 'a', b'first')
    with pytest.raises(FileExistsError):
        write_new(tmp_path / 'a', b'second')
    assert (tmp_path / 'a').read_bytes() == b'first'
    assert os.listdir(tmp_path) == ['a']


def test_contents_are_on_the_disk_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def record(handle: int) -> None:
        flushed.append(os.readlink(f'/proc/self/fd/{handle}'))
        fsync(handle)

    monkeypatch.setattr(os, 'fsync', record)
    fill(tmp_path / 'box', 'new', count=1)
    with replacing(tmp_path / 'file') as staged:
        staged.touch()
    names = [path.removeprefix(f'{tmp_path}').split('/new/')[-1] for path in flushed]
    assert sorted(names[:2]) == ['box/0.txt', 'box/mark']
    assert names[2:] == ['box', '', 'file', '']


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError('Could not determine home directory.')

    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.setattr(Path, 'home', homeless)
    folder = cache_folder('engines')
    assert not folder.exists()
    with pytest.raises(OSError, match='Not a directory'):
        folder.mkdir(parents=True)
    with pytest.raises(DgssError, match='absolute path'):
        expand('~nobody-of-this-name/x')
