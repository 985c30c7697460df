"""A size that a bag declares is checked before anything is allocated."""

from __future__ import annotations

import resource
import struct
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from foreign_bags import images, mcap, packed, sqlite
from mcap.writer import CompressionType

from dgss_core.bags import compression, read_messages
from dgss_core.bags.compression import LARGEST
from dgss_core.errors import DgssError

GIB = 1 << 30


@pytest.fixture(autouse=True)
def _no_growth() -> Iterator[None]:
    """Fails if the memory of the process has grown by more than a quarter of a bomb."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 << 10, f'{grown} KiB'


@cache
def bomb(size: int, declares: bool = True) -> bytes:
    """Zstd data that unpacks to `size` zeros, 2 MiB at a time; `declares`: says so."""
    block = zstandard.ZstdCompressor(write_content_size=declares).compress(bytes(1 << 21))
    if not declares:
        return block * (size >> 21)
    packer = zstandard.ZstdCompressor().compressobj(size=size)
    parts = [packer.compress(bytes(1 << 21)) for _ in range(size >> 21)]
    return b''.join([*parts, packer.flush()])


def with_chunk(path: Path, data: bytes, size: int, kind: CompressionType) -> Path:
    """Replace the only chunk of an mcap file without a summary by `data` that declares `size`."""
    whole = mcap(path, compression=kind, enable_crcs=False).read_bytes()
    start = whole.index(b'\x06', 30)
    name = {CompressionType.NONE: b'', CompressionType.ZSTD: b'zstd'}.get(kind, b'lz4')
    chunk = struct.pack('<QQQII', 0, 0, size, 0, len(name)) + name
    chunk += struct.pack('<Q', len(data)) + data
    path.write_bytes(whole[:start] + struct.pack('<BQ', 6, len(chunk)) + chunk)
    return path


@pytest.mark.parametrize(
    ('kind', 'make', 'size'),
    [
        (CompressionType.ZSTD, partial(bomb, GIB), GIB),
        (CompressionType.ZSTD, partial(bomb, GIB), 100),
        (CompressionType.ZSTD, partial(bomb, GIB), LARGEST),
        (CompressionType.ZSTD, partial(bomb, GIB, declares=False), 1 << 20),
        (CompressionType.LZ4, partial(lz4.frame.compress, bytes(1 << 26)), 1 << 20),
        (CompressionType.LZ4, partial(lz4.frame.compress, bytes(100)), 1 << 62),
        (CompressionType.NONE, bytes, 1 << 62),
    ],
)
def test_a_chunk_that_unpacks_to_more_is_refused(
    kind: CompressionType, make: Callable[[], bytes], size: int, tmp_path: Path
) -> None:
    path = with_chunk(tmp_path / 'a.mcap', make(), size, kind)
    with pytest.raises(DgssError, match=r'is damaged at byte \d+ \(.*bytes'):
        list(read_messages(path))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_message_that_unpacks_to_more_is_refused(storage: str, tmp_path: Path) -> None:
    sent = images()
    sent[2] = sent[2][0], bomb(GIB)
    path = tmp_path / ('a.mcap' if storage == 'mcap' else 'a.db3')
    if storage == 'mcap':
        mcap(path, sent)
    else:
        sqlite(path, sent).close()
    told: list[DgssError] = []
    assert len([*read_messages(path, on_short=told.append)]) == 5
    assert 'more than the' in str(told[0])


def test_a_message_that_is_larger_than_any_image_is_refused(tmp_path: Path) -> None:
    with sqlite(tmp_path / 'a.db3') as file:
        # Zeros take no place in memory as long as nobody asks for them.
        file.execute(f'UPDATE messages SET data = zeroblob({LARGEST + 1}) WHERE id = 2')
        file.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    file.close()
    told: list[DgssError] = []
    assert len([*read_messages(tmp_path / 'a.db3', on_short=told.append)]) == 5
    assert 'larger than any image' in str(told[0])


def test_a_file_is_unpacked_only_where_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    path = packed(mcap(tmp_path / 'a.mcap'))
    monkeypatch.setattr(compression, 'SPARE', 1 << 60)
    with pytest.raises(DgssError, match=r'does not fit into .* let TMPDIR name'):
        list(read_messages(path))
    monkeypatch.undo()
    (tmp_path / 'b.mcap.zstd').write_bytes(
        zstandard.ZstdCompressor().compressobj(size=1 << 61).compress(b'') + bytes(40)
    )
    with pytest.raises(DgssError):
        list(read_messages(tmp_path / 'b.mcap.zstd'))
