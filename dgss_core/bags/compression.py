"""Decompression with a bound: no more memory or disk is taken than the bound allows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import lz4.frame
import zstandard

from dgss_core.errors import DgssError, cause, plain, shown
from dgss_core.images.encodings import MAX_PIXELS

LARGEST = 8 * MAX_PIXELS + (1 << 20)
"""Bytes of a message, or of a chunk of messages: the largest image in rgba16, and its header."""
ZSTD = b'\x28\xb5\x2f\xfd'
"""How data compressed with zstd begins; the CDR of a message begins with a zero."""
LONGEST_HEADER = 18
"""Bytes of the header of a zstd frame."""
BLOCK = 1 << 22
"""Bytes that are unpacked at once."""
SPARE = 1 << 30
"""Bytes of the disk that stay free."""


class UnpackError(Exception):
    """Data that cannot be unpacked within the bound, and why."""


def check_length(size: int) -> None:
    """Raise UnpackError for a message or a chunk that is larger than `LARGEST`."""
    if size > LARGEST:
        raise UnpackError(f'{size} bytes, more than the {LARGEST} of the largest image')


def unpack_chunk(data: bytes, compression: str, size: int) -> bytes:
    """Unpack the records of an mcap chunk that declares `size` bytes.

    Raises UnpackError if it holds another size, or more than `LARGEST`.
    """
    check_length(size)
    try:
        if compression == 'zstd':
            unpacked = _unpack_zstd(data, size)
        elif compression == 'lz4':
            unpacked = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1)
        elif not compression:
            unpacked = data
        else:
            raise UnpackError(f'compressed by {shown(compression)}, which is unknown')
    except (RuntimeError, ValueError, zstandard.ZstdError) as error:
        raise UnpackError(str(error)) from error
    if len(unpacked) != size:
        raise UnpackError(f'it declares {size} bytes and holds another number')
    return unpacked


def unpack_part(data: bytes, compression: str, size: int) -> bytes:
    """What can be unpacked of a chunk that is cut off, at most `size` bytes.

    Raises UnpackError if they are more than `LARGEST`.
    """
    check_length(size)
    if not compression:
        return data[:size]
    try:
        if compression == 'lz4':
            return lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size)
        return next(_blocks(data, size), b'') if compression == 'zstd' else b''
    except (RuntimeError, zstandard.ZstdError):
        return b''


def unpack_message(data: Any) -> bytes:
    """A message as it was sent; rosbag2 compresses each on its own where it is told to.

    Raises UnpackError if it is no bytes, damaged, or larger than `LARGEST`.
    """
    if not isinstance(data, bytes):
        raise UnpackError('is not there or no data')
    if not data.startswith(ZSTD):
        return data
    try:
        size = zstandard.frame_content_size(data)
        unpacked = _unpack_zstd(data, size if size >= 0 else LARGEST)
    except zstandard.ZstdError as error:
        raise UnpackError(str(error)) from error
    return unpacked


def unpack_file(path: Path, folder: Path) -> tuple[Path, str]:
    """Unpack a zstd file into `folder`; returns the new file and what is wrong with the old one.

    Raises DgssError if less than `SPARE` bytes would stay free there.
    """
    target = folder / path.name.removesuffix('.zstd')
    with path.open('rb') as packed, target.open('wb') as file:
        try:
            size = zstandard.frame_content_size(packed.read(LONGEST_HEADER))
            _check_disk(path, folder, size)
            packed.seek(0)
            for block in _blocks(packed):
                _check_disk(path, folder, len(block))
                file.write(block)
        except zstandard.ZstdError as error:
            return (
                target,
                f'{plain(path.name)} cannot be unpacked to its end ({cause(error)}); '
                'copy it again',
            )
    return target, ''


def _check_disk(path: Path, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < SPARE + size:
        raise DgssError(
            f'{path.parent / plain(path.name)} does not fit into {folder} unpacked, where '
            f'{free >> 20} MiB are free; let TMPDIR name a larger disk, or unpack it with zstd -d.'
        )


def _unpack_zstd(data: bytes, size: int) -> bytes:
    """Unpack at most `size` bytes. Raises UnpackError for more, before they are allocated."""
    check_length(size)
    declared = zstandard.frame_content_size(data)
    if declared > size:
        raise UnpackError(f'it holds {declared} bytes and not {size}')
    if declared == size:
        return zstandard.ZstdDecompressor(max_window_size=LARGEST).decompress(data)
    blocks, total = [], 0
    for block in _blocks(data):
        blocks.append(block)
        total += len(block)
        if total > size:
            raise UnpackError(f'it holds more than {size} bytes')
    return b''.join(blocks)


def _blocks(packed: bytes | IO[bytes], length: int = BLOCK) -> Iterator[bytes]:
    reader: Any = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
    while block := reader.read(length):
        yield block
