"""Fetched files: right, or refused with one sentence; pinned, and in a place of their own."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hosting import Host

from dgss_core.errors import DgssError
from dgss_core.published.digests import digests_of
from dgss_core.published.entry import PINS, Checkpoint
from dgss_core.published.store import Store

torch = pytest.importorskip('torch', reason='examines weight files')

from dgss_core.networks.tensor_files import refuse_code  # noqa: E402


def saved(content: object) -> bytes:
    whole = io.BytesIO()
    torch.save(content, whole)
    return whole.getvalue()


WEIGHTS = saved({'state_dict': {'a': torch.arange(1000.0)}})
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


class Harmful:
    def __reduce__(self) -> tuple:
        return print, ('this must never be printed',)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / 'store')


@pytest.fixture
def entry(host: Host) -> Checkpoint:
    address = host.serve('/GTAV%2BX/w.pth', WEIGHTS)
    return Checkpoint('some', 'own', 'ours', address, 'w.pth')


def obtain(store: Store, entry: Checkpoint, given: Path | None = None) -> Path:
    fetched = store.obtain(entry, 'MIT', given=given, examine=refuse_code)
    assert fetched.sha256 == hashlib.sha256(fetched.path.read_bytes()).hexdigest()
    return fetched.path


def test_a_file_is_fetched_once_and_pinned(store: Store, entry: Checkpoint, host: Host) -> None:
    assert not store.holds(entry)
    path = obtain(store, entry)
    assert path == store.folder / 'some' / 'w.pth'
    assert path.read_bytes() == WEIGHTS
    assert store.holds(entry)
    assert obtain(store, entry) == path
    assert len(host.requests) == 1
    pins = json.loads((store.folder / PINS).read_text())['files']
    assert pins == {
        'some/w.pth': {
            'sha256': SHA256,
            'size': len(WEIGHTS),
            'address': entry.address,
            'terms': 'MIT',
        }
    }
    assert sorted(p.name for p in path.parent.iterdir()) == ['w.pth']


def test_two_files_of_one_name_have_two_places(
    store: Store, entry: Checkpoint, host: Host
) -> None:
    other = replace(entry, name='other', address=host.serve('/Y/w.pth', saved({'b': 1})))
    assert obtain(store, entry).read_bytes() != obtain(store, other).read_bytes()


def test_a_later_file_must_be_the_pinned_one(store: Store, entry: Checkpoint, host: Host) -> None:
    obtain(store, entry).unlink()
    host.serve('/GTAV%2BX/w.pth', saved({'state_dict': {'a': torch.zeros(1000)}}), tag='"2"')
    with pytest.raises(DgssError, match=r'not the file that was fetched first .*remove some'):
        obtain(store, entry)
    assert list((store.folder / 'some').iterdir()) == []
    host.serve('/GTAV%2BX/w.pth', WEIGHTS)
    obtain(store, entry)


def test_a_file_that_was_changed_here_is_noticed(store: Store, entry: Checkpoint) -> None:
    path = obtain(store, entry)
    path.write_bytes(WEIGHTS[:-1] + b'x')
    assert store.holds(entry)
    with pytest.raises(DgssError, match=r'was changed after .*; remove it and fetch it again'):
        obtain(store, entry)
    assert path.exists()


@pytest.mark.parametrize('size', [None, len(WEIGHTS)])
def test_a_damaged_file_is_replaced_from_a_good_one(
    size: int | None, store: Store, entry: Checkpoint, tmp_path: Path
) -> None:
    entry = replace(entry, size=size)
    path, good, bad = obtain(store, entry), tmp_path / 'good.pth', tmp_path / 'bad.pth'
    good.write_bytes(WEIGHTS)
    bad.write_bytes(WEIGHTS[:-1] + b'x')
    path.write_bytes(WEIGHTS[:500])
    with pytest.raises(DgssError, match=f'{path} .*; remove it and fetch it again') as refused:
        obtain(store, entry)
    assert PINS not in str(refused.value)
    with pytest.raises(DgssError, match=f'{bad} is not the file that was fetched first.*{PINS}'):
        obtain(store, entry, bad)
    assert path.read_bytes() == WEIGHTS[:500]
    assert obtain(store, entry, good).read_bytes() == WEIGHTS
    path.write_bytes(WEIGHTS[:500])
    path.unlink()
    assert obtain(store, entry).read_bytes() == WEIGHTS


DIGESTS = {
    'sha256': SHA256,
    'git_blob': hashlib.sha1(b'blob %d\0' % len(WEIGHTS) + WEIGHTS).hexdigest(),
    'md5': hashlib.md5(WEIGHTS).hexdigest(),
}


@pytest.mark.parametrize('kind', DIGESTS)
@pytest.mark.parametrize('digits', [6, 8, 64])
def test_published_digests_and_their_first_digits(
    kind: str, digits: int, store: Store, entry: Checkpoint
) -> None:
    right = DIGESTS[kind][:digits]
    wrong = right[:-1] + ('0' if right[-1] != '0' else '1')
    with pytest.raises(DgssError, match=f'is not some: its {kind} is') as refused:
        obtain(store, replace(entry, digests={kind: wrong}))
    assert '\n' not in str(refused.value)
    assert not list((store.folder / 'some').iterdir())
    assert obtain(store, replace(entry, digests={kind: right})).exists()


def test_a_git_blob_is_what_git_says(tmp_path: Path) -> None:
    path = tmp_path / 'w'
    path.write_bytes(WEIGHTS)
    said = subprocess.run(
        ['git', 'hash-object', '--no-filters', path], capture_output=True, text=True, check=True
    ).stdout
    assert digests_of(path, 'git_blob') == {'git_blob': said.strip()}


REFUSED = {
    'code': (saved({'state_dict': {}, 'hook': Harmful()}), r'more than tensors .*print'),
    'plain pickle': (pickle.dumps(Harmful()), 'a pickle that torch.save did not write'),
    'page': (b'<html>sign in</html>', 'is an HTML page'),
    'pointer': (b'version https://git-lfs.github.com/spec/v1\noid sha256:ab\n', 'Git LFS'),
    'cut': (WEIGHTS[:-100], 'cut short or damaged'),
    'nothing': (b'', 'is empty'),
    'zeros': (bytes(5000), 'never written'),
    'text': (b'epoch,loss\n1,2\n', 'not a torch weight file'),
}


@pytest.mark.parametrize('kind', REFUSED)
@pytest.mark.parametrize('by_hand', [False, True])
def test_what_is_refused(
    kind: str,
    by_hand: bool,
    store: Store,
    entry: Checkpoint,
    host: Host,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    body, says = REFUSED[kind]
    given = tmp_path / 'given.pth' if by_hand else None
    if given is not None:
        given.write_bytes(body)
    host.serve('/GTAV%2BX/w.pth', body)
    with pytest.raises(DgssError, match=says) as refused:
        obtain(store, entry, given)
    assert '\n' not in str(refused.value)
    assert str(refused.value).startswith(str(given or entry.address))
    assert not store.holds(entry)
    assert not store.path(entry).exists()
    assert 'never be printed' not in capsys.readouterr().out
    if given is not None:
        assert given.read_bytes() == body
        assert host.requests == []


def test_a_copy_is_checked_like_a_download(
    store: Store, entry: Checkpoint, tmp_path: Path
) -> None:
    mirror = Store(tmp_path / 'mirror')
    given = obtain(mirror, entry)
    assert obtain(store, entry, given).read_bytes() == WEIGHTS
    assert given.exists()
    with pytest.raises(DgssError, match='There is no'):
        obtain(store, replace(entry, name='other'), tmp_path / 'none.pth')
    with pytest.raises(DgssError, match=f'has {len(WEIGHTS)} bytes and third has 7'):
        obtain(store, replace(entry, name='third', size=7), given)


@pytest.mark.parametrize('content', ['[]', '{"files": 3}', '{"files": {"a": {}}}', '{'])
def test_pins_that_are_none_are_not_overwritten(
    content: str, store: Store, entry: Checkpoint
) -> None:
    store.folder.mkdir()
    (store.folder / PINS).write_text(content)
    with pytest.raises(DgssError, match=PINS):
        obtain(store, entry)
    assert (store.folder / PINS).read_text() == content


FETCH = """
import sys, time
from pathlib import Path
from dgss_core.errors import DgssError
from dgss_core.published.entry import Checkpoint
from dgss_core.published.store import Store

folder, address = Path(sys.argv[1]), sys.argv[2]

def examine(path):
    (folder / 'examining').touch()
    while not (folder / 'go').exists():
        time.sleep(0.01)

try:
    entry = Checkpoint('some', 'own', 'ours', address, 'w.pth')
    print(Store(folder / 'store').obtain(entry, 'MIT', examine=examine).sha256)
except DgssError as error:
    print(error)
"""


def test_two_processes_that_want_one_file(entry: Checkpoint, host: Host, tmp_path: Path) -> None:
    """While one examines its download, the other waits for nothing and breaks nothing."""
    command = [sys.executable, '-c', FETCH, str(tmp_path), entry.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        try:
            while first.poll() is None and not (tmp_path / 'examining').exists():
                time.sleep(0.01)
            second = subprocess.run(command, capture_output=True, text=True, check=True)
            assert 'is being fetched by another process; wait for it.' in second.stdout
        finally:
            (tmp_path / 'go').touch()
        assert first.communicate(timeout=240)[0].strip() == SHA256
    third = subprocess.run(command, capture_output=True, text=True, check=True)
    assert third.stdout.strip() == SHA256
    assert len(host.requests) == 1
    assert [path.name for path in (tmp_path / 'store' / 'some').iterdir()] == ['w.pth']


def test_a_file_that_another_process_fetched_meanwhile(
    store: Store, entry: Checkpoint, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    from dgss_core.published import store as module

    @contextmanager
    def late(part: Path):
        """The other process ends between the first look and the lock."""
        store.path(entry).write_bytes(WEIGHTS)
        with held(part) as file:
            yield file

    held = module.held
    store.path(entry).parent.mkdir(parents=True)
    monkeypatch.setattr(module, 'held', late)
    assert obtain(store, entry).read_bytes() == WEIGHTS
    assert host.requests == []
    assert [path.name for path in store.path(entry).parent.iterdir()] == ['w.pth']
