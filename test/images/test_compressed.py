"""The `format` of a compressed image message: order of channels, mosaics, depth."""

from __future__ import annotations

import struct
from io import BytesIO

import cv2
import numpy as np
import pytest
from clips import coded, picture
from PIL import Image

from dgss_core.errors import DgssError
from dgss_core.images.compressed import encode_jpeg, encode_png, open_compressed, shareable_jpeg
from dgss_core.images.encodings import decode_image

SCENE = picture(3)


@pytest.mark.parametrize('declared', ['', 'jpeg', 'bgr8; jpeg compressed bgr8', 'rgb8; png'])
def test_the_usual_formats_are_read_as_they_are(declared: str) -> None:
    data = encode_png(SCENE)
    assert np.array_equal(open_compressed(data, declared=declared).rgb, SCENE)


@pytest.mark.parametrize(
    'declared',
    ['rgb8; png compressed rgb8', 'bgr8; jpeg compressed rgb8', 'rgba8; png compressed rgba8 '],
)
def test_the_format_may_name_another_order_of_the_channels(declared: str) -> None:
    """As image_transport reads it: the file holds what its publisher called RGB as BGR."""
    data = cv2.imencode('.png', SCENE)[1].tobytes()
    assert np.array_equal(open_compressed(data, declared=declared).rgb, SCENE)


@pytest.mark.parametrize('encoding', ['bayer_rggb8', 'bayer_gbrg16'])
def test_a_compressed_mosaic_becomes_colours(encoding: str) -> None:
    depth = np.uint16 if encoding.endswith('16') else np.uint8
    mosaic = (np.arange(24 * 32).reshape(24, 32) * 83 % 251).astype(depth)
    mosaic *= 257 if depth is np.uint16 else 1
    raw = decode_image(
        mosaic.tobytes(), width=32, height=24, step=mosaic[0].nbytes, encoding=encoding
    )
    data = cv2.imencode('.png', mosaic)[1].tobytes()
    found = open_compressed(data, declared=f'{encoding}; png compressed ').rgb
    assert np.abs(found.astype(int) - raw).max() <= 1
    colours = open_compressed(encode_png(SCENE), declared=f'{encoding}; png compressed').rgb
    assert np.array_equal(colours, SCENE), 'a driver that made the colours itself'
    with pytest.raises(DgssError, match='at least 3x3'):
        open_compressed(encode_png(np.zeros((2, 8), np.uint8)), declared=encoding)


@pytest.mark.parametrize(
    'declared', ['16UC1; compressedDepth png', '32FC1; compressedDepth', '16UC1; png compressed ']
)
def test_a_depth_image_is_no_picture(declared: str) -> None:
    header = bytes(12) if 'Depth' in declared else b''
    data = header + cv2.imencode('.png', np.full((8, 8), 1234, np.uint16))[1].tobytes()
    with pytest.raises(DgssError, match=r'depth image .*topic of a camera'):
        open_compressed(data, declared=declared)


def test_a_part_of_a_video_is_named() -> None:
    with pytest.raises(DgssError, match=r'part of a H\.264 or H\.265 video; send JPEG'):
        open_compressed(coded(count=1)[0])


JPEGS = {
    'plain': (),
    'restarts': (cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    'progressive': (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    'own codes': (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
}


def jpeg(options: tuple[int, ...], image: np.ndarray | None = None) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    return cv2.imencode('.jpg', noise if image is None else image, options)[1].tobytes()


@pytest.mark.parametrize('kind', ['plain', 'restarts'])
@pytest.mark.parametrize('share', [0.4, 0.6, 0.8])
def test_a_jpeg_with_a_hole_is_damaged(kind: str, share: float) -> None:
    data = jpeg(JPEGS[kind])
    start = int(share * len(data))
    with pytest.raises(DgssError, match='damaged or cut short'):
        open_compressed(data[:start] + bytes(600) + data[start + 600 :])


def test_a_jpeg_that_lacks_a_part_or_has_another_in_it_is_damaged() -> None:
    data = jpeg(JPEGS['restarts'])
    start = data.index(b'\xff\xd2')
    for part in (data[:start] + data[start + 400 :], data[:start] + b'\xff\x42' + data[start:]):
        with pytest.raises(DgssError, match='damaged or cut short'):
            open_compressed(part)


@pytest.mark.parametrize('kind', JPEGS)
def test_what_follows_a_jpeg_does_not_count(kind: str) -> None:
    """A motion photo has a video behind its end, in which the start of a scan may stand."""
    data = jpeg(JPEGS[kind])
    whole = open_compressed(data).rgb
    assert np.array_equal(open_compressed(data + b'ftyp\xff\xda' + bytes(99)).rgb, whole)
    filled = data[:-2] + bytes(99) + data[-2:]
    assert np.array_equal(open_compressed(filled).rgb, whole)
    with pytest.raises(DgssError, match='damaged or cut short'):
        open_compressed(data[:-300])


@pytest.mark.parametrize('kind', JPEGS)
@pytest.mark.parametrize('grey', [0, 128, 255])
def test_even_jpegs_have_no_hole(kind: str, grey: int) -> None:
    image = np.full((480, 640, 3), grey, np.uint8)
    found = open_compressed(jpeg(JPEGS[kind], image)).rgb
    assert np.abs(found.astype(int) - grey).max() <= 1


def test_grey_in_a_scan_of_colours_alone_is_no_hole() -> None:
    """With the usual tables, 64x64 blocks of grey are a scan of zeros, and one colour ends it."""
    usual = cv2.imencode('.jpg', np.full((8, 8, 3), 128, np.uint8))[1].tobytes()
    parts, at = b'\xff\xd8', 2
    while usual[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(usual[at + 2 : at + 4], 'big')
        parts += usual[at:end] if usual[at + 1] != 0xC0 else b''
        at = end
    parts += bytes.fromhex('ffc0 0011 08 0200 0200 03 011100 021101 031101')
    for component, block, last in ((1, *['001010'] * 2), (2, '0000', '01100'), (3, *['0000'] * 2)):
        bits = block * (64 * 64 - 1) + last
        bits += '1' * (-len(bits) % 8)
        tables = 0x00 if component == 1 else 0x11
        parts += bytes.fromhex(f'ffda 0008 01 {component:02x}{tables:02x} 003f00')
        parts += int(bits, 2).to_bytes(len(bits) // 8, 'big').replace(b'\xff', b'\xff\0')
    assert open_compressed(parts + b'\xff\xd9').rgb.shape == (512, 512, 3)


def tiff(image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode('.tiff', image, options)[1].tobytes()


@pytest.mark.parametrize('compression', [1, 5, 8, 32946])
@pytest.mark.parametrize('declared', ['bgr8; tiff compressed bgr8', 'rgb8; tiff compressed rgb8'])
def test_a_tiff_of_the_transport_is_read(compression: int, declared: str) -> None:
    stored = SCENE if declared.endswith('rgb8') else SCENE[..., ::-1]
    for image in (stored, stored.astype(np.uint16) * 257):
        data = tiff(image, cv2.IMWRITE_TIFF_COMPRESSION, compression)
        assert np.array_equal(open_compressed(data, declared=declared).rgb, SCENE)
        with pytest.raises(DgssError, match=r'damaged or cut short|ends within its header'):
            open_compressed(data[: len(data) // 2], declared=declared)
    grey = open_compressed(tiff(SCENE[..., 0]), declared='mono8; tiff compressed ').rgb
    assert np.array_equal(grey, SCENE[..., :1].repeat(3, axis=2))


def test_a_tiff_is_checked_before_it_is_decoded() -> None:
    data = bytearray(tiff(SCENE))
    for tag, new, value, message in (
        (256, 256, 70_000, 'at most 65500 pixels'),
        (258, 258, 32, 'of a kind that is read from files only'),
        (259, 259, 7, 'of a kind that is read from files only'),
        (278, 322, 1 << 20, 'of a kind that is read from files only'),
    ):
        changed = bytearray(data)
        (at,) = struct.unpack_from('<I', data, 4)
        for entry in range(at + 2, at + 2 + 12 * data[at], 12):
            if struct.unpack_from('<H', data, entry) == (tag,):
                struct.pack_into('<HHII', changed, entry, new, 4, 1, value)
        with pytest.raises(DgssError, match=message):
            open_compressed(bytes(changed))
    with pytest.raises(DgssError, match='of a kind that is read from files only'):
        open_compressed(tiff(np.ones((8, 8, 3), np.float32)))
    with pytest.raises(DgssError, match='ends within its header'):
        open_compressed(bytes(data[:8]))


def test_only_a_jpeg_that_every_viewer_shows_alike_is_shared() -> None:
    plain = encode_jpeg(SCENE)
    assert shareable_jpeg(plain) == plain
    assert shareable_jpeg(plain, 'bgr8; jpeg compressed bgr8') == plain
    assert shareable_jpeg(encode_png(SCENE)) is None
    assert shareable_jpeg(plain, 'bgr8; jpeg compressed rgb8') is None
    assert shareable_jpeg(plain, 'bayer_rggb8; jpeg compressed') is None
    turned = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SCENE).save(turned, 'JPEG', exif=exif)
    assert shareable_jpeg(turned.getvalue()) is None
    inks = BytesIO()
    Image.fromarray(SCENE).convert('CMYK').save(inks, 'JPEG')
    assert shareable_jpeg(inks.getvalue()) is None


@pytest.mark.parametrize('plane', [np.zeros((1, 1)), np.eye(37, 501), np.full((300, 2), 255)])
def test_a_plane_is_the_same_after_packing(plane: np.ndarray) -> None:
    ids = plane.astype(np.uint8)
    found = cv2.imdecode(np.frombuffer(encode_png(ids), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, ids)
