"""Picture files of every usual format: alone and in a folder, upright, bounded, whole."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import LEFT, RIGHT, heic, picture
from damage import Changes, changes, damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dgss_core.errors import DgssError
from dgss_core.images.frames import read_image
from dgss_core.images.stills import IMAGE_SUFFIXES, decode_still, format_of, is_turned
from dgss_core.inputs import read_frames

LOSSY = ('.jpg', '.jpeg', '.jpe', '.jfif', '.webp', '.avif', '.jp2', '.j2k', '.heic')
BY_PILLOW = {
    **{'.jfif': 'JPEG', '.jpe': 'JPEG', '.dib': 'BMP', '.tif': 'TIFF'},
    **{'.jp2': 'JPEG2000', '.j2k': 'JPEG2000', '.avif': 'AVIF'},
}
SMALL = picture()[:32, 32:64]


def encoded(suffix: str, image: np.ndarray = SMALL) -> bytes:
    """A file of that suffix, as another program writes it."""
    if suffix in ('.heic', '.heif', '.hif'):
        return heic()
    if suffix in BY_PILLOW:
        file = io.BytesIO()
        options = {'no_jp2': True} if suffix == '.j2k' else {}
        Image.fromarray(image).save(file, BY_PILLOW[suffix], **options)
        return file.getvalue()
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if suffix in ('.pgm', '.pbm'):
        pixels = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.imencode('.ppm' if suffix == '.pnm' else suffix, pixels)[1].tobytes()


@pytest.mark.parametrize('suffix', IMAGE_SUFFIXES)
def test_every_format_is_read_alike_alone_and_in_a_folder(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f'cam.1{suffix.upper()}'
    path.write_bytes(encoded(suffix))
    (alone,), (inside,) = read_frames(path), read_frames(tmp_path)
    assert alone.name == inside.name == 'cam.1'
    assert np.array_equal(alone.image, inside.image)
    if suffix in ('.heic', '.heif', '.hif'):
        assert alone.image.shape == (64, 128, 3), 'all the tiles'
        assert np.abs(alone.image[30, 20] - np.array(LEFT)).max() < 8
        assert np.abs(alone.image[30, 100] - np.array(RIGHT)).max() < 8
    elif suffix not in ('.pgm', '.pbm'):
        assert alone.image.shape == SMALL.shape
        worst = np.abs(alone.image[10:].astype(int) - SMALL[10:]).mean()
        assert worst < (8 if suffix in LOSSY else 0.001)
    else:
        assert np.array_equal(alone.image[..., 0], alone.image[..., 2])


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    for name in ('photo', '1700000000.25'):
        (tmp_path / name).write_bytes(encoded('.jpg'))
        (frame,) = read_frames(tmp_path / name)
        assert frame.name == name
    (tmp_path / 'a.jpg').write_bytes(encoded('.tiff'))
    assert np.array_equal(read_image(tmp_path / 'a.jpg'), SMALL)


@pytest.mark.parametrize('suffix', ['.tiff', '.jp2', '.pgm', '.png'])
def test_16_bits_are_scaled_to_8(suffix: str) -> None:
    grey = np.repeat(np.array([[0, 257, 0x8080, 0xFFFF]], np.uint16), 32, 0).repeat(8, 1)
    image = decode_still(cv2.imencode(suffix, grey)[1].tobytes())
    assert np.abs(image[0, ::8, 0].astype(int) - [0, 1, 128, 255]).max() <= 1


def test_12_bits_are_scaled_to_8() -> None:
    levels = [0, 1000, 2048, 4095]
    data = int(''.join(f'{level:012b}' for level in levels), 2).to_bytes(6, 'big')
    tags = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1), (279, 6)]
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags)
    tiff = (b'II*\0' + struct.pack('<IH', 8, len(tags)) + entries).ljust(122, b'\0') + data
    pgm = b'P5 4 1 4095\n' + np.array(levels, '>u2').tobytes()
    for content in (tiff, pgm):
        assert decode_still(content)[0, :, 0].tolist() == [0, 62, 128, 255]


@pytest.mark.parametrize('name', ['TIFF', 'AVIF', 'JPEG'])
def test_an_orientation_turns_a_file(name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned to the left; shown, it is turned to the right.
    file = io.BytesIO()
    Image.fromarray(SMALL).save(file, name, exif=exif)
    (tmp_path / 'a').write_bytes(file.getvalue())
    turned = read_image(tmp_path / 'a').astype(int)
    assert np.abs(turned - np.rot90(SMALL, -1)).mean() < 8
    assert is_turned(file.getvalue())
    if name == 'TIFF':
        with pytest.raises(DgssError, match='has an orientation'):
            decode_still(file.getvalue())
    else:
        assert decode_still(file.getvalue()).shape == SMALL.shape


@pytest.mark.parametrize('name', ['TIFF', 'AVIF', 'WEBP', 'PNG'])
def test_a_file_of_several_pictures_is_refused(name: str) -> None:
    file = io.BytesIO()
    pages = [Image.fromarray(SMALL + index) for index in range(3)]
    pages[0].save(file, name, save_all=True, append_images=pages[1:])
    with pytest.raises(DgssError, match=r'holds 3 pictures; save each|is an animation; save each'):
        decode_still(file.getvalue())


@pytest.mark.parametrize('shape', [(4, 4), (4, 4, 3)])
@pytest.mark.parametrize(('kind', 'bits'), [(np.float32, 32), (np.float64, 64)])
def test_samples_without_a_scale_are_refused(
    shape: tuple[int, ...], kind: type, bits: int
) -> None:
    data = cv2.imencode('.tiff', np.ones(shape, kind))[1].tobytes()
    with pytest.raises(DgssError, match=f'have {bits} bits'):
        decode_still(data)
    with pytest.raises(DgssError, match='damaged or cut short'):
        decode_still(data[: len(data) // 2])


def test_a_tiff_that_is_not_read_need_not_be_damaged() -> None:
    file = io.BytesIO()
    Image.fromarray(SMALL).save(file, 'TIFF')
    data = bytearray(file.getvalue())
    at = data.index(struct.pack('<HHI', 262, 3, 1)) + 8
    data[at : at + 2] = struct.pack('<H', 32_844)  # LogL, a kind of light and not of colour.
    with pytest.raises(DgssError, match=r'damaged or cut short, or of a kind that is not read'):
        decode_still(bytes(data))


def test_the_size_is_refused_before_memory_is_taken() -> None:
    tags = [(256, 60_000), (257, 60_000), (258, 8), (259, 1), (262, 1), (273, 8), (279, 8)]
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags)
    tiff = b'II*\0' + struct.pack('<IH', 8, len(tags)) + entries + bytes(4)
    for data in (tiff, b'P5 60000 60000 255\n'):
        with pytest.raises(DgssError, match=r'60000x60000|more than \d+ pixels'):
            decode_still(data)
    wide = heic().replace(struct.pack('>II', 128, 64), struct.pack('>II', 60_000, 60_000))
    with pytest.raises(DgssError, match=r'60000x60000|damaged|more than'):
        decode_still(wide)


@pytest.mark.parametrize(
    ('data', 'message'),
    [(b'', 'empty'), (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull')],
)
def test_what_is_no_picture_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / 'a.png').write_bytes(data)
    with pytest.raises(DgssError, match=rf'a\.png cannot be read: .*{message}'):
        read_image(tmp_path / 'a.png')


@pytest.mark.parametrize(
    ('suffix', 'module', 'packages'),
    [('.heic', 'pi_heif', 'pillow pi-heif'), ('.tiff', 'PIL', 'pillow')],
)
def test_without_a_library_one_sentence_says_what_to_install(
    suffix: str, module: str, packages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(suffix)
    monkeypatch.setitem(sys.modules, module, None)
    remedy = f'{module}, which is not installed; run pip install {packages}, or save'
    with pytest.raises(DgssError, match=remedy):
        decode_still(data)


ORIGINALS = [encoded(suffix) for suffix in ('.png', '.jpg', '.tiff', '.webp', '.bmp', '.ppm')]


@settings(max_examples=150, deadline=None)
@given(
    data=st.sampled_from(ORIGINALS),
    cut=st.floats(0.05, 1),
    made=changes(4),
    upright=st.booleans(),
)
def test_changed_bytes_give_an_image_or_one_sentence(
    data: bytes, cut: float, made: Changes, upright: bool
) -> None:
    try:
        image = decode_still(damaged(data, cut, made), upright=upright)
    except DgssError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3


@given(st.binary(max_size=64))
def test_any_first_bytes_are_of_a_known_format_or_of_none(head: bytes) -> None:
    assert (format_of(head) is not None) <= (len(head) >= 2)


def test_a_heic_that_is_cut_is_named_without_an_address() -> None:
    with pytest.raises(DgssError, match='The HEIF image is damaged or cut short') as caught:
        decode_still(heic()[:200])
    assert ' at 0x' not in str(caught.value)
