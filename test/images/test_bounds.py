"""Images that say one size and have another, or a size that would fill the memory."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dgss_core.errors import DgssError
from dgss_core.images import view
from dgss_core.images.compressed import decode_compressed, encode_jpeg, encode_png
from dgss_core.images.encodings import check_size, decode_image
from dgss_core.images.frames import read_image, read_labels
from dgss_core.images.label_files import decode_ids
from dgss_core.images.paint import contact_sheet, fitted
from dgss_core.images.view import nearest

SEGMENTS = {
    'TEM': b'\xff\x01',
    'RST0': b'\xff\xd0',
    'RST7': b'\xff\xd7',
    'fill': b'\xff\xff\xff',
    'stuffed': b'\xff\x00',
    'garbage': b'\x12\x34',
}


def jpeg(*, width: int, height: int, before: bytes = b'') -> bytes:
    """A small JPEG whose header says another size.

    A comment after `before` holds the header of an 8x8 image, where a parser arrives that takes
    what follows `before` for a length.
    """
    data = bytearray(encode_jpeg(np.full((8, 8, 3), 90, np.uint8)))
    at = data.index(b'\xff\xc0')
    data[at + 5 : at + 9] = struct.pack('>HH', height, width)
    fake = b'\xff\xc0\x00\x11\x08\x00\x08\x00\x08' * 40
    comment = b'\xff\xfe' + struct.pack('>H', len(fake) + 2) + fake
    return bytes(data[:2]) + before + comment + bytes(data[2:])


def png(*, width: int, height: int) -> bytes:
    """A grey PNG of that size, all zero, in a few kilobytes at most."""
    packer = zlib.compressobj(9)
    row = bytes(width + 1)
    body = b''.join(packer.compress(row) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack('>I', len(content)) + checked + struct.pack('>I', zlib.crc32(checked))

    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    parts = (
        b'\x89PNG\r\n\x1a\n',
        chunk(b'IHDR', header),
        chunk(b'IDAT', body),
        chunk(b'IEND', b''),
    )
    return b''.join(parts)


@pytest.mark.parametrize('before', SEGMENTS.values(), ids=SEGMENTS)
def test_the_size_that_a_decoder_finds_is_the_one_that_is_checked(
    before: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('the image was decoded'))
    with pytest.raises(DgssError, match='The image says it is'):
        decode_compressed(jpeg(width=32767, height=32767, before=before))


@pytest.mark.parametrize('before', [b'', b'\xff\xff\xff', b'\xff\x01', b'\xff\xd3'])
def test_a_whole_jpeg_with_markers_without_a_length_is_read(before: bytes) -> None:
    image = np.zeros((24, 40, 3), np.uint8)
    data = encode_jpeg(image)
    found = cv2.imdecode(np.frombuffer(data[:2] + before + data[2:], np.uint8), 1)
    if found is None:
        pytest.skip('this OpenCV refuses the marker')
    assert decode_compressed(data[:2] + before + data[2:]).shape == image.shape


@pytest.mark.parametrize('size', [(70_000, 100), (1, 65_501), (10_000, 10_000)], ids=str)
@pytest.mark.parametrize('read', [read_image, read_labels, lambda p: decode_ids(p.read_bytes())])
def test_a_picture_beyond_the_bounds_is_refused_before_it_is_decoded(
    read: Callable[[Path], object], size: tuple[int, int], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / 'wide.png'
    path.write_bytes(png(width=size[0], height=size[1]))
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('the image was decoded'))
    monkeypatch.setattr(cv2, 'imread', lambda *_: pytest.fail('the image was decoded'))
    with pytest.raises(DgssError, match=f'says it is {size[0]}x{size[1]}'):
        read(path)


def with_long_chunk(place: str, length: int) -> bytes:
    """A PNG with a chunk that says it has `length` bytes."""
    whole, chunk = png(width=8, height=8), struct.pack('>I', length)
    header, rest, end = whole[:33], whole[33:], whole[-12:]
    return {
        'text': header + chunk + b'tEXt' + rest,
        'pixels': header + chunk + rest[4:],
        'end': whole[:-12] + chunk + end[4:],
        'after an end before the pixels': header + end + chunk + b'tEXt' + rest,
    }[place]


@pytest.mark.parametrize('length', [100, (1 << 31) - 1, (1 << 32) - 1])
@pytest.mark.parametrize('place', ['text', 'pixels', 'end', 'after an end before the pixels'])
def test_a_chunk_that_is_longer_than_its_file_takes_no_memory(
    place: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenCV makes room for a chunk before it reads it.
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('the image was decoded'))
    with pytest.raises(DgssError, match='is damaged or cut short'):
        decode_compressed(with_long_chunk(place, length))


def test_a_whole_png_is_read_whatever_follows_it() -> None:
    data = encode_png(np.full((8, 8, 3), 90, np.uint8))
    text = struct.pack('>I', 1) + b'tEXta' + struct.pack('>I', zlib.crc32(b'tEXta'))
    for whole in (data, data[:33] + text + data[33:], data + bytes(5), data + b'\xff' * 40):
        assert np.array_equal(decode_compressed(whole), np.full((8, 8, 3), 90))


def test_a_message_with_a_side_beyond_the_bounds_is_refused() -> None:
    data = bytes(1 << 23)
    for width, height in ((1 << 23, 1), (1, 1 << 23)):
        with pytest.raises(DgssError, match='at most 65500 pixels a side'):
            decode_image(data, width=width, height=height, step=width, encoding='mono8')


def test_a_long_encoding_is_cut() -> None:
    with pytest.raises(DgssError, match="Unknown image encoding 'e") as caught:
        decode_image(b'', width=1, height=1, step=1, encoding='e' * 10_000_000)
    assert len(str(caught.value)) < 700
    with pytest.raises(DgssError, match='did you mean bgr8'):
        decode_image(b'', width=1, height=1, step=1, encoding='bgr88')


@pytest.mark.parametrize('side', [8, 100, 5000])
@pytest.mark.parametrize('width', [8, 16, 100])
def test_rows_that_are_dropped_are_not_widened(width: int, side: int) -> None:
    plane = np.random.default_rng(0).integers(0, 256, (300, 8), np.uint8)
    found = nearest(plane, width=width, height=side)
    rows = nearest(plane, width=8, height=side)
    assert np.array_equal(found, nearest(rows, width=width, height=side))
    out = np.empty((side, width), np.uint8)
    assert nearest(plane, width=width, height=side, out=out) is out
    assert np.array_equal(out, found)


def test_a_wide_mask_costs_a_few_times_its_size() -> None:
    program = """
import numpy as np, resource
from dgss_core.images.view import nearest
plane = np.zeros((448, 640), np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
nearest(plane, width=65_500, height=1)
nearest(plane, width=1, height=65_500)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 28


def test_the_rows_of_tall_images_are_not_kept() -> None:
    plane = np.zeros((4, 1), np.uint8)
    view._nearest_rows.cache_clear()
    for height in range(60_000, 60_010):
        nearest(plane, width=1, height=height)
    assert view._nearest_rows.cache_info().currsize == 0
    nearest(plane, width=1, height=8)
    assert view._nearest_rows.cache_info().currsize == 1


def test_thumbnails_and_sheets_of_strips_stay_small() -> None:
    assert fitted(width=640, height=360, to_width=320) == (320, 180)
    assert fitted(width=1, height=60_000, to_width=320) == (1, 1280)
    assert fitted(width=60_000, height=1, to_width=320) == (320, 1)
    strip = np.zeros((60_000, 1, 3), np.uint8)
    assert contact_sheet([[strip, strip]], cell_width=100).shape[0] < 500


def test_a_size_that_a_format_cannot_hold_is_named() -> None:
    with pytest.raises(DgssError, match='70000x1 cannot be written'):
        encode_jpeg(np.zeros((1, 70_000, 3), np.uint8))
    assert encode_png(np.zeros((1, 70_000), np.uint8))


def test_a_folder_with_strips_and_bombs_is_segmented(tmp_path: Path) -> None:
    folder = tmp_path / 'frames'
    folder.mkdir()
    (folder / 'a.png').write_bytes(png(width=1, height=60_000))
    (folder / 'b.png').write_bytes(png(width=70_000, height=100))
    (folder / 'c.png').write_bytes(png(width=64, height=48))
    (folder / 'd.jpg').write_bytes(jpeg(width=32767, height=32767, before=b'\xff\x01'))
    command = [sys.executable, '-m', 'dgss_core', 'segment', str(folder)]
    done = subprocess.run(
        [*command, '--output', str(tmp_path / 'out')],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
    )
    assert done.returncode == 1, done.stderr
    assert 'Traceback' not in done.stderr
    assert [line.split(':')[0] for line in done.stderr.splitlines()] == ['b', 'd']
    masks = {path.name: cv2.imread(str(path), -1).shape for path in tmp_path.glob('out/masks/*')}
    assert masks == {'a.png': (60_000, 1), 'c.png': (48, 64)}
    assert (tmp_path / 'out' / 'index.html').is_file()


def test_a_size_of_nothing_is_not_called_too_large() -> None:
    with pytest.raises(DgssError, match='it is 0x0, which is no size'):
        check_size(width=0, height=0)
