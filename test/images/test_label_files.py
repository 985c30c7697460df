"""Label files as tools save them: ids in every kind of PNG, and colours that mean classes."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from damage import Changes, changes, damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from miniature import indexed
from PIL import Image

from dgss_core.errors import DgssError
from dgss_core.images.compressed import encode_jpeg
from dgss_core.images.label_files import RED, decode_colors, decode_ids

IDS = np.array([[0, 1], [2, 3]], np.uint8).repeat(4, 0).repeat(4, 1)
ROAD, CAR = (128, 64, 128), (0, 0, 142)


def png(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, 'PNG', **options)
    return file.getvalue()


def grey_of_few_bits(ids: np.ndarray, depth: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits: that of a palette of the same bits, declared as grey."""
    palette = np.zeros((2**depth, 3), np.uint8)
    data = bytearray(indexed(ids, palette, depth))
    import struct
    import zlib

    data[25] = 0
    struct.pack_into('>I', data, 29, zlib.crc32(data[12:29]))
    at = data.index(b'PLTE') - 4
    del data[at : at + 12 + len(palette) * 3]
    return bytes(data)


@pytest.mark.parametrize('depth', [1, 2, 4])
def test_grey_levels_of_few_bits_are_the_ids(depth: int) -> None:
    ids = IDS % 2**depth
    data = grey_of_few_bits(ids, depth)
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown.max() > 3, 'OpenCV scales them'
    assert np.array_equal(decode_ids(data), ids)


def test_a_palette_with_transparency_gives_indices() -> None:
    image = Image.fromarray(IDS, 'P')
    image.putpalette([*ROAD, *CAR, 1, 2, 3, 4, 5, 6])
    file = io.BytesIO()
    image.save(file, 'PNG', transparency=0)
    assert np.array_equal(decode_ids(file.getvalue()), IDS)


def test_16_bits_hold_ids_up_to_255() -> None:
    assert np.array_equal(decode_ids(png(IDS.astype(np.uint16))), IDS)
    with pytest.raises(DgssError, match=r'the id 26001; ids are 0 to 255, .* file of the classes'):
        decode_ids(png(IDS.astype(np.uint16) + 25998))


@pytest.mark.parametrize('kind', ['L', 'P', '1', 'I;16'])
def test_tiff_labels(kind: str) -> None:
    ids = IDS % 2 if kind == '1' else IDS
    array = {'1': ids.astype(bool), 'I;16': ids.astype(np.uint16)}.get(kind, ids)
    image = Image.fromarray(array, 'P') if kind == 'P' else Image.fromarray(array)
    if kind == 'P':
        image.putpalette([*ROAD, *CAR] * 2)
    assert image.mode == kind
    file = io.BytesIO()
    image.save(file, 'TIFF')
    assert np.array_equal(decode_ids(file.getvalue()), ids)


@pytest.mark.parametrize(
    ('array', 'says'),
    [
        (np.dstack([IDS] * 3), 'its colours are all grey; .* channel: red'),
        (np.dstack([IDS, IDS + 9]), 'its colours are all grey; .* channel: red'),
        (np.dstack([IDS, IDS, IDS + 1]), 'holds colours .*colors in the dataset file'),
    ],
    ids=['equal', 'opacity', 'colours'],
)
def test_other_channels_than_one_are_named(array: np.ndarray, says: str) -> None:
    with pytest.raises(DgssError, match=says):
        decode_ids(png(array), is_described=True)
    with pytest.raises(DgssError, match=r'all grey|holds colours') as caught:
        decode_ids(png(array))
    assert 'dataset file' not in str(caught.value)
    assert np.array_equal(decode_ids(png(array), RED), IDS)


def test_a_pointer_in_the_place_of_labels_has_one_remedy() -> None:
    with pytest.raises(DgssError) as caught:
        decode_ids(b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n')
    assert 'a Git LFS pointer, not the file; run git lfs pull.' in str(caught.value)
    assert 'copy it again' not in str(caught.value)


def test_jpeg_and_fractions_are_no_labels() -> None:
    with pytest.raises(DgssError, match='a JPEG, which changes ids'):
        decode_ids(encode_jpeg(np.dstack([IDS] * 3)))
    file = io.BytesIO()
    Image.fromarray(IDS.astype(np.float32)).save(file, 'TIFF')
    with pytest.raises(DgssError, match='fractions'):
        decode_ids(file.getvalue())


@pytest.mark.parametrize('has_palette', [False, True])
def test_colours_become_classes(has_palette: bool) -> None:
    ids = IDS % 2
    data = png(np.array([ROAD, CAR], np.uint8)[ids])
    if has_palette:
        image = Image.fromarray(ids, 'P')
        image.putpalette([*ROAD, *CAR])
        file = io.BytesIO()
        image.save(file, 'PNG')
        data = file.getvalue()
    assert np.array_equal(decode_colors(data, {CAR: 13, ROAD: 0}), np.where(ids, 13, 0))
    with pytest.raises(DgssError, match=r'50\.00% .* the first is \[0, 0, 142\]; add it'):
        decode_colors(data, {ROAD: 0})


ORIGINALS = [
    png(IDS),
    png(IDS.astype(np.uint16)),
    grey_of_few_bits(IDS, 2),
    indexed(IDS, np.zeros((4, 3), np.uint8), 4),
]


@settings(max_examples=150, deadline=None)
@given(
    data=st.sampled_from(ORIGINALS),
    cut=st.floats(0.05, 1),
    made=changes(3),
    channel=st.sampled_from([None, RED]),
)
def test_changed_bytes_give_ids_or_one_sentence(
    data: bytes, cut: float, made: Changes, channel: int | None
) -> None:
    try:
        ids = decode_ids(damaged(data, cut, made), channel)
    except DgssError:
        return
    assert ids.dtype == np.uint8
    assert ids.ndim == 2
