"""Whatever bytes a bag holds: frames, or one sentence; no other exception, file, or growth."""

from __future__ import annotations

import resource
import tempfile
from functools import cache
from pathlib import Path

import pytest
from foreign_bags import mcap, metadata, sqlite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType

from dgss_core.bags import Bag, bag_info
from dgss_core.errors import DgssError
from dgss_core.inputs import read_frames

SIZES = [0, 1, 7, 255, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**62, 2**63, 2**64 - 1]
NUMBERS = st.sampled_from([n.to_bytes(8, 'little') for n in SIZES])
KINDS = {
    'plain.mcap': {'use_chunking': False},
    'zstd.mcap': {'compression': CompressionType.ZSTD, 'chunk_size': 200},
    'lz4.mcap': {'compression': CompressionType.LZ4, 'chunk_size': 200},
    'bare.mcap': {'chunk_size': 200, 'use_statistics': False, 'enable_crcs': False},
}


@cache
def content(kind: str) -> bytes:
    """The bytes of a good file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind
        if kind in KINDS:
            return mcap(path, **KINDS[kind]).read_bytes()
        if kind == 'metadata.yaml':
            metadata(Path(folder), ['a.mcap'], 6)
            return path.read_bytes()
        sqlite(path).close()
        return path.read_bytes()


@st.composite
def mutated(draw: st.DrawFn, kind: str) -> bytes:
    """A good file with some bytes exchanged, taken away, put in, or cut off."""
    data = bytearray(content(kind))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        new = draw(st.binary(min_size=1, max_size=9) | NUMBERS)
        end = at + draw(st.sampled_from([0, len(new), len(new), len(new), 40]))
        data[at:end] = new
    return bytes(data[: draw(st.integers(0, len(data)) | st.just(len(data)))])


def look(path: Path) -> None:
    """Read a bag in every way; nothing but DgssError may come."""
    before = {p: p.read_bytes() for p in path.iterdir()}
    for read in (bag_info, lambda p: [*Bag(p).messages()], lambda p: [*read_frames(p)]):
        try:
            read(path)
        except DgssError as error:
            sentence = str(error)
            assert sentence.endswith('.')
            assert len(sentence) < 3000
            assert sentence.isprintable()
    assert {p: p.read_bytes() for p in path.iterdir()} == before


@pytest.mark.parametrize('kind', [*KINDS, 'a.db3'])
def test_no_storage_file_breaks_the_reader(kind: str, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
    @given(data=mutated(kind))
    def check(data: bytes) -> None:
        (tmp_path / kind).write_bytes(data)
        look(tmp_path)

    check()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10


def test_no_metadata_breaks_the_reader(tmp_path: Path) -> None:
    (tmp_path / 'a.mcap').write_bytes(content('plain.mcap'))

    @settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
    @given(data=mutated('metadata.yaml'))
    def check(data: bytes) -> None:
        (tmp_path / 'metadata.yaml').write_bytes(data)
        look(tmp_path)

    check()
