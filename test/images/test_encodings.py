"""Every encoding against OpenCV, with padded rows; bad input raises only DgssError."""

import array

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgss_core.errors import DgssError
from dgss_core.images.encodings import ENCODINGS, decode_image, open_image
from dgss_core.runtime.segmenter import resize_to_network

WIDTH, HEIGHT = 10, 6
BAYER = {'rggb': 'RGGB', 'bggr': 'BGGR', 'gbrg': 'GBRG', 'grbg': 'GRBG'}


def reference(encoding: str, rows: np.ndarray) -> np.ndarray:
    """RGB by OpenCV from unpadded samples (rows, width * channels)."""
    channels = ENCODINGS[encoding].channels
    pixels = rows.reshape(len(rows), -1, channels) if channels > 1 else rows
    if encoding in ('rgb8', 'rgb16'):
        rgb = pixels
    elif encoding in ('bgr8', 'bgr16', '8UC3'):
        rgb = pixels[..., ::-1]
    elif encoding in ('rgba8', 'rgba16'):
        rgb = pixels[..., :3]
    elif encoding in ('bgra8', 'bgra16', '8UC4'):
        rgb = pixels[..., 2::-1]
    elif encoding in ('mono8', 'mono16', '8UC1'):
        rgb = np.repeat(pixels[..., None], 3, axis=2)
    elif encoding in ('yuv422', 'uyvy'):
        rgb = cv2.cvtColor(pixels, cv2.COLOR_YUV2RGB_UYVY)
    elif encoding in ('yuv422_yuy2', 'yuyv'):
        rgb = cv2.cvtColor(pixels, cv2.COLOR_YUV2RGB_YUYV)
    elif encoding in ('nv12', 'nv21'):
        rgb = cv2.cvtColor(pixels, getattr(cv2, f'COLOR_YUV2RGB_{encoding.upper()}'))
    elif encoding in ('i420', 'yuv420'):
        rgb = cv2.cvtColor(pixels, cv2.COLOR_YUV2RGB_I420)
    else:
        rgb = cv2.cvtColor(pixels, getattr(cv2, f'COLOR_Bayer{BAYER[encoding[6:10]]}2RGB'))
    if rgb.dtype == np.uint16:
        rgb = np.rint(rgb / 257).astype(np.uint8)
    return rgb


WITH_CHROMA_BELOW = {'nv12': (1, 2), 'nv21': (1, 2), 'i420': (2, 1), 'yuv420': (2, 1)}
"""Chroma rows per two image rows, and their bytes in halves of an image row."""


@pytest.mark.parametrize('padding', [0, 1, 6, 7])
@pytest.mark.parametrize('is_bigendian', [False, True])
@pytest.mark.parametrize('encoding', [name for name in ENCODINGS if name != 'nv24'])
def test_encoding_equals_opencv_with_any_step(encoding, is_bigendian, padding):
    layout = ENCODINGS[encoding]
    order = f'{">" if is_bigendian else "<"}u{layout.depth}'
    rng = np.random.default_rng(1)
    chroma_rows, halves = WITH_CHROMA_BELOW.get(encoding, (0, 2))
    if halves == 1 and padding % 2:
        pytest.skip('half-size chroma has no odd step')
    rows = HEIGHT * (2 + chroma_rows * halves // 2) // 2
    samples = rng.integers(0, 256**layout.depth, (rows, WIDTH * layout.channels))
    lines = [row.astype(order).tobytes() + b'\xaa' * padding for row in samples[:HEIGHT]]
    chroma = samples[HEIGHT:].reshape(-1, WIDTH * halves // 2)
    lines += [row.astype(np.uint8).tobytes() + b'\xaa' * (padding * halves // 2) for row in chroma]
    image = decode_image(
        b''.join(lines),
        width=WIDTH,
        height=HEIGHT,
        step=len(lines[0]),
        encoding=encoding,
        is_bigendian=is_bigendian,
    )
    native = samples.astype(np.uint8 if layout.depth == 1 else np.uint16)
    np.testing.assert_array_equal(image, reference(encoding, native))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable


@pytest.mark.parametrize('padding', [0, 5])
def test_nv24_has_the_colours_of_nv12_at_full_resolution(padding):
    """With constant chroma in blocks of 2x2 pixels, NV12 gives the same image."""
    rng = np.random.default_rng(2)
    luma = rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    chroma = rng.integers(0, 256, (HEIGHT // 2, WIDTH // 2, 2), np.uint8)
    nv12 = np.vstack([luma, chroma.reshape(HEIGHT // 2, WIDTH)])
    full = chroma.repeat(2, axis=0).repeat(2, axis=1).reshape(HEIGHT, 2 * WIDTH)
    data = b''.join(row.tobytes() + b'\xaa' * padding for row in luma)
    data += b''.join(row.tobytes() + b'\xaa' * 2 * padding for row in full)
    step = WIDTH + padding
    image = decode_image(data, width=WIDTH, height=HEIGHT, step=step, encoding='nv24')
    expected = cv2.cvtColor(nv12, cv2.COLOR_YUV2RGB_NV12)
    assert np.abs(image.astype(int) - expected).max() <= 1
    data = data[: len(data) - 2 * padding]
    last = decode_image(data, width=WIDTH, height=HEIGHT, step=step, encoding='nv24')
    np.testing.assert_array_equal(last, image)
    with pytest.raises(DgssError, match='truncated'):
        decode_image(data[:-1], width=WIDTH, height=HEIGHT, step=step, encoding='nv24')


@pytest.mark.parametrize(
    ('encoding', 'top_left'),
    [
        ('bayer_rggb8', 'R'),
        ('bayer_bggr8', 'B'),
        ('bayer_gbrg8', 'G'),
        ('bayer_grbg8', 'G'),
    ],
)
def test_bayer_names_the_first_pixel_of_a_red_scene(encoding, top_left):
    """In red light only the red pixels of the mosaic are bright."""
    mosaic = np.zeros((8, 8), np.uint8)
    pattern = encoding[6:10]
    y, x = divmod(pattern.index('r'), 2)
    mosaic[y::2, x::2] = 200
    assert pattern[0].upper() == top_left
    image = decode_image(mosaic.tobytes(), width=8, height=8, step=8, encoding=encoding)
    assert tuple(image[4, 4]) == (200, 0, 0)


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', '8UC3', '8UC4'])
@pytest.mark.parametrize('size', [(64, 48), (32, 24), (20, 20), (10, 7), (100, 90)])
def test_channels_put_in_order_after_resizing_are_the_same(encoding, padding, size):
    """The conversion to RGB gives the same result before and after the resize."""
    rng = np.random.default_rng(3)
    row_bytes = 64 * ENCODINGS[encoding].channels
    rows = rng.integers(0, 256, (48, row_bytes + padding), np.uint8)
    picture = open_image(
        rows.tobytes(), width=64, height=48, step=row_bytes + padding, encoding=encoding
    )
    assert picture.size == (64, 48)
    width, height = size
    late = resize_to_network(picture.pixels, height=height, width=width)
    late = late if picture.to_rgb is None else cv2.cvtColor(late, picture.to_rgb)
    early = resize_to_network(np.ascontiguousarray(picture.rgb), height=height, width=width)
    np.testing.assert_array_equal(late, early)


@pytest.mark.parametrize('make', [bytes, bytearray, memoryview, lambda b: array.array('B', b)])
def test_any_buffer_is_taken_and_the_result_does_not_share_it(make):
    data = make(bytes(range(12)))
    image = decode_image(data, width=2, height=2, step=6, encoding='rgb8')
    np.testing.assert_array_equal(image.ravel(), range(12))
    image[:] = 0
    assert bytes(data) == bytes(range(12))


def test_last_row_may_come_without_its_padding():
    data = bytes(range(6)) + b'\0\0' + bytes(range(6))
    image = decode_image(data, width=2, height=2, step=8, encoding='rgb8')
    np.testing.assert_array_equal(image[0], image[1])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'encoding': 'rgb88'}, "Unknown image encoding 'rgb88'; did you mean rgb8"),
        ({'encoding': 'infrared'}, 'Supported are rgb8, bgr8'),
        (
            {'encoding': '16UC1'},
            r"is a depth image \('16UC1'\), which has no colours; name the topic",
        ),
        ({'encoding': '32FC1'}, 'name the topic of a camera'),
        ({'width': 0}, 'says it is 0x4'),
        ({'height': 0}, 'says it is 4x0'),
        ({'height': -4}, 'says it is 4x-4'),
        ({'width': 70_000}, 'Crop or scale it'),
        ({'step': 11}, 'takes 12 bytes'),
        ({'data': bytes(47)}, '47 bytes, and 4x4 rgb8 with step 12 needs 48'),
        ({'data': b''}, '0 bytes'),
        ({'width': 2**16, 'height': 2**16}, 'header is damaged'),
        ({'encoding': 'yuyv', 'width': 3}, 'even width'),
        ({'encoding': 'nv12', 'height': 3}, 'even width and height'),
        ({'encoding': 'i420', 'step': 13}, 'even step'),
        ({'encoding': 'bayer_rggb8', 'width': 2}, 'at least 3x3'),
    ],
)
def test_a_wrong_header_is_named(change, message):
    good = {'data': bytes(48), 'width': 4, 'height': 4, 'step': 12, 'encoding': 'rgb8'}
    arguments = good | change
    with pytest.raises(DgssError, match=message):
        decode_image(arguments.pop('data'), **arguments)


@pytest.mark.parametrize('encoding', ['16UC3', '32FC3', 'mono12', 'bayer_rggb12'])
def test_another_number_of_bits_is_no_misspelling(encoding):
    with pytest.raises(DgssError, match='Unknown image encoding') as caught:
        decode_image(b'', width=1, height=1, step=1, encoding=encoding)
    assert 'did you mean' not in str(caught.value)


@given(
    data=st.binary(max_size=400),
    width=st.integers(0, 30) | st.integers(0, 2**32 - 1),
    height=st.integers(0, 30) | st.integers(0, 2**32 - 1),
    step=st.integers(0, 120) | st.integers(0, 2**32 - 1),
    encoding=st.sampled_from([*ENCODINGS, '', 'bgr8; jpeg', '16UC1', 'BGR8']),
    is_bigendian=st.booleans(),
)
@settings(max_examples=600, deadline=None)
def test_any_message_gives_an_image_or_a_dgss_error(
    data, width, height, step, encoding, is_bigendian
):
    try:
        image = decode_image(
            data,
            width=width,
            height=height,
            step=step,
            encoding=encoding,
            is_bigendian=is_bigendian,
        )
    except DgssError:
        return
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize(
    ('encoding', 'rows', 'width'), [('rgb8', 64, 96), ('mono16', 64, 96), ('nv12', 96, 96)]
)
def test_data_of_more_rows_than_the_height_is_refused(encoding, rows, width):
    step = {'rgb8': 3, 'mono16': 2, 'nv12': 1}[encoding] * width
    fields = {'width': width, 'height': 64, 'step': step, 'encoding': encoding}
    exact = bytes(step * rows)
    decode_image(exact, **fields)
    decode_image(exact + bytes(step - 1), **fields)
    with pytest.raises(DgssError, match=rf'has {step * (rows + 1)} bytes, but 64 rows of step'):
        decode_image(exact + bytes(step), **fields)
