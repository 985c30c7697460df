"""No path that a user gives ends in a traceback or a wait: it is told in one sentence, code 2."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dgss_core import cli
from dgss_core.cli import main
from dgss_core.documents import read_json, read_yaml
from dgss_core.errors import DgssError, cause
from dgss_core.files import append_line
from dgss_core.images.compressed import encode_png
from dgss_core.paths import missing, scratch_folder
from dgss_core.synthetic import StreetDrive

LONG = 'a' * 300


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / 'images' / '1.png'
    path.parent.mkdir()
    path.write_bytes(encode_png(StreetDrive(height=32, width=64).frame(0).image))
    return path


def told(capsys: pytest.CaptureFixture, *arguments: str | Path) -> str:
    """What a verb says of a mistake, which is one line."""
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith('dgss: error: ')
    assert error.count('\n') == 1
    assert 'Errno' not in error
    assert 'Traceback' not in error
    return error


@pytest.mark.parametrize(
    'arguments',
    [
        ('segment', LONG, '--output', 'out'),
        ('segment', '{picture}', '--output', LONG),
        ('bag', 'write', '{picture}', '--output', LONG),
        ('bag', 'info', LONG),
        ('evaluate', '--bag', '{picture}', '--output', LONG),
        ('evaluate', '--bag', LONG, '--output', 'out'),
        ('evaluate', '--bag', '{picture}', '--predictions', LONG, '--output', 'out'),
        ('evaluate', '--bag', '{picture}', '--criteria', LONG, '--output', 'out'),
        ('compare', LONG, LONG),
        ('data', 'check', 'kitti', LONG),
        ('engine', 'list', '--cache-dir', LONG),
        ('engine', 'prune', '--cache-dir', LONG),
    ],
)
def test_a_name_that_is_too_long(
    picture: Path, capsys: pytest.CaptureFixture, arguments: tuple[str, ...]
) -> None:
    error = told(capsys, *(text.format(picture=picture.parent) for text in arguments))
    assert LONG in error
    assert 'File name too long' in error


def test_an_error_that_no_verb_expects_is_told_too(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / '.dgss-staging-x' / 'new' / 'model.onnx'

    def fail(*_: object) -> None:
        path.read_bytes()

    monkeypatch.setattr(cli, 'run_verb', fail)
    error = told(capsys, 'models')
    assert f'{tmp_path}/model.onnx cannot be used (No such file or directory)' in error


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.mp4', 'a.db3', 'a'])
@pytest.mark.parametrize('kind', ['pipe', 'socket'])
def test_what_is_no_file_is_no_source(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str, kind: str
) -> None:
    path = tmp_path / name
    if kind == 'pipe':
        os.mkfifo(path)
    else:
        socket.socket(socket.AF_UNIX).bind(str(path))
    for verb in (('segment',), ('bag', 'write')):
        assert f'{path} is ' in told(capsys, *verb, path, '--output', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_file_without_an_end_or_a_beginning(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert 'is a device' in told(capsys, 'segment', '/dev/zero', '--output', tmp_path / 'out')
    error = told(capsys, 'segment', '/proc/self/mem', '--output', tmp_path / 'out')
    assert '/proc/self/mem cannot be read (Input/output error)' in error


@pytest.mark.parametrize('read', [read_yaml, read_json])
def test_a_pipe_without_a_writer_is_not_waited_for(tmp_path: Path, read: object) -> None:
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(DgssError, match='a pipe that nobody writes to'):
        read(tmp_path / 'pipe')


def test_a_pipe_that_does_not_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('dgss_core.paths.PIPE_S', 0.2)
    reading, writing = os.pipe()
    os.write(writing, b'a: 1')
    with pytest.raises(DgssError, match=r'a pipe that did not end in 0\.2 s'):
        read_yaml(Path(f'/dev/fd/{reading}'))
    os.close(reading)
    os.close(writing)


def test_the_pipe_of_a_shell_is_a_document() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        for part in (b'a: ', b'1\n'):
            os.write(writing, part)
        os.close(writing)

    threading.Thread(target=write).start()
    assert read_yaml(Path(f'/dev/fd/{reading}')) == {'a': 1}
    os.close(reading)


@pytest.mark.parametrize('option', ['--criteria', '--conditions'])
def test_a_pipe_in_place_of_a_document(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture, option: str
) -> None:
    os.mkfifo(tmp_path / 'pipe')
    given = ('--bag', picture.parent, '--output', tmp_path / 'out')
    assert 'nobody writes' in told(capsys, 'evaluate', *given, option, tmp_path / 'pipe')


def test_lines_are_appended_to_files_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(OSError):  # noqa: PT011 - without a reader or with one
        append_line(tmp_path / 'pipe', '{}')


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    def text(path: Path) -> str:
        return str(missing('bank', path, 'make it'))

    assert text(tmp_path / 'a') == f'There is no bank {tmp_path}/a; make it.'
    assert text(tmp_path) == f'{tmp_path} is a folder, not a file; make it.'
    (tmp_path / 'loop').symlink_to('loop')
    assert 'is a link that leads back to itself' in text(tmp_path / 'loop')


def test_the_cause_of_an_error_has_no_number_and_no_name_of_our_own() -> None:
    assert cause(OSError(28, 'No space left on device', 'x')) == 'No space left on device'
    assert cause(ValueError('I/O error: full (os error 28)')) == 'I/O error: full'
    text = "[Errno 17] File exists: '/a/.dgss-staging-1x/new/b'"
    assert cause(ValueError(text)) == "File exists: '/a/b'"


def test_a_user_without_a_name_can_import_torch() -> None:
    code = (
        'import os, pwd\n'
        'pwd.getpwuid = lambda _: (_ for _ in ()).throw(KeyError("uid not found"))\n'
        'from dgss_core.cli import main\n'
        'main(["--version"])\n'
        'import getpass\n'
        'assert getpass.getuser() == str(os.getuid())\n'
    )
    names = ('LOGNAME', 'USER', 'LNAME', 'USERNAME', 'HOME')
    environment = {key: value for key, value in os.environ.items() if key not in names}
    subprocess.run([sys.executable, '-c', code], check=True, env=environment)


def test_a_full_folder_of_temporary_files_is_told() -> None:
    made = []
    full = pytest.raises(DgssError, match='temporary files cannot be written')
    with full, scratch_folder() as folder:
        made.append(folder)
        raise OSError(28, 'No space left on device', str(folder / 'fp32' / 'model.onnx'))
    assert not made[0].exists()
