"""Small videos and HEIC files, encoded by the test that reads them."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.images.frames import Frame

HEIGHT, WIDTH = 64, 96
LEFT, RIGHT = (200, 30, 30), (30, 60, 200)
"""Colours of the two halves of every picture."""


def picture(index: int = 0, *, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Red on the left, blue on the right, and a white bar that moves down by two rows a frame."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = LEFT, RIGHT
    image[2 * index % height :][:2] = 255
    return image


def row_of_bar(image: np.ndarray) -> int:
    """The frame number that `picture` drew."""
    return round(float(np.argmax(image[..., 1].mean(axis=1))) / 2 - 0.25)


@contextmanager
def usual_priority() -> Iterator[None]:
    """SVT-AV1 gives the thread that opens it the highest real-time priority, if that is root's."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


@usual_priority()
def write_video(
    path: Path,
    codec: str = 'h264',
    count: int = 10,
    *,
    rate: int = 10,
    times: list[int] | None = None,
    tick: int = 1000,
    gop: int = 12,
    b_frames: int | None = None,
    options: dict[str, str] | None = None,
    draw: Callable[[int], np.ndarray] = picture,
) -> Path:
    """A video of `count` pictures, every 1/`rate` s, or at `times` in 1/`tick` s.

    It has B-frames where that is usual, or at most `b_frames` in a row.
    """
    with av.open(str(path), 'w', options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
        if times is not None:
            stream.codec_context.time_base = Fraction(1, tick)
        stream.codec_context.gop_size = gop
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(draw(index), format='rgb24')
            frame.pts = index if times is None else times[index]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def packets(path: Path) -> list[tuple[int, int]]:
    """Place and length of every video packet in a file."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(video=0) if p.size]


TEXTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
BLOCKS = TEXTURE.repeat(4, axis=0).repeat(4, axis=1)


def draw(index: int) -> np.ndarray:
    """A picture that fills its packet: it moves, and a part of it is new each time."""
    image = np.roll(BLOCKS, (index, 2 * index), axis=(0, 1))
    image[:16] = np.random.default_rng(index).integers(0, 256, (16, WIDTH, 3))
    return image


def read(path: Path) -> tuple[list[Frame], list[tuple[str, DgssError]]]:
    """The frames of a source, and what is reported of it."""
    from dgss_core.inputs import read_frames  # Needs the libraries of bags.

    failed: list[tuple[str, DgssError]] = []
    return list(read_frames(path, on_error=lambda *failure: failed.append(failure))), failed


def with_hole(path: Path, start: int, size: int) -> Path:
    """A copy of a file with zeros in the place of `size` bytes."""
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    damaged = path.with_name(f'hole{path.suffix}')
    damaged.write_bytes(data)
    return damaged


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b''.join(parts)
    return struct.pack('>I', 8 + len(body)) + kind + body


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack('>I', version << 24 | flags), *parts)


def heic(side: int = 64) -> bytes:
    """A HEIC of 2*side x side: two tiles, red and blue, joined by a grid as phones do it."""
    tiles = [_tile(colour, side) for colour in (LEFT, RIGHT)]
    grid = struct.pack('>BBBBHH', 0, 0, 0, 1, 2 * side, side)
    head = box(b'ftyp', b'heic\0\0\0\0mif1heic')
    start = len(head) + len(_meta(0, tiles, grid, side)) + 8
    data = [data for _, data in tiles]
    return head + _meta(start, tiles, grid, side) + box(b'mdat', *data, grid)


def _tile(colour: tuple[int, int, int], side: int) -> tuple[bytes, bytes]:
    """The decoder configuration and the data of one HEVC picture."""
    file = io.BytesIO()
    with av.open(file, 'w', format='mp4') as container:
        stream: Any = container.add_stream(
            'libx265', rate=1, options={'x265-params': 'log-level=0'}
        )
        stream.width = stream.height = side
        stream.pix_fmt = 'yuv420p'
        image = np.full((side, side, 3), colour, np.uint8)
        frame = av.VideoFrame.from_ndarray(image, format='rgb24')
        frame.pts = 0
        for packet in stream.encode(frame) + stream.encode():
            packet.dts = packet.pts  # x265 leaves that of a single picture to chance.
            container.mux(packet)
    content = file.getvalue()
    at = content.index(b'hvcC')
    (length,) = struct.unpack_from('>I', content, at - 4)
    with av.open(io.BytesIO(content)) as container:
        data = next(bytes(packet) for packet in container.demux(video=0))
    return content[at + 4 : at - 4 + length], data


def _meta(start: int, tiles: list[tuple[bytes, bytes]], grid: bytes, side: int) -> bytes:
    sizes = [*(len(data) for _, data in tiles), len(grid)]
    places = [start + sum(sizes[:index]) for index in range(3)]
    extents = (
        struct.pack('>HHHII', index + 1, 0, 1, places[index], sizes[index]) for index in range(3)
    )
    entries = (
        full_box(b'infe', 2, hidden, struct.pack('>HH', index, 0), kind, b'\0')
        for index, kind, hidden in ((1, b'hvc1', 1), (2, b'hvc1', 1), (3, b'grid', 0))
    )
    properties = box(
        b'ipco',
        box(b'hvcC', tiles[0][0]),
        full_box(b'ispe', 0, 0, struct.pack('>II', side, side)),
        full_box(b'ispe', 0, 0, struct.pack('>II', 2 * side, side)),
    )
    links = [b'\0\x01\x02\x81\x02', b'\0\x02\x02\x81\x02', b'\0\x03\x01\x03']
    return full_box(
        b'meta',
        0,
        0,
        full_box(b'hdlr', 0, 0, b'\0\0\0\0pict' + bytes(13)),
        full_box(b'pitm', 0, 0, struct.pack('>H', 3)),
        full_box(b'iloc', 0, 0, b'\x44\0', struct.pack('>H', 3), *extents),
        full_box(b'iinf', 0, 0, struct.pack('>H', 3), *entries),
        full_box(b'iref', 0, 0, box(b'dimg', struct.pack('>HHHH', 3, 2, 1, 2))),
        box(b'iprp', properties, full_box(b'ipma', 0, 0, struct.pack('>I', 3), *links)),
    )


@usual_priority()
def coded(
    codec: str = 'libx264',
    count: int = 12,
    *,
    gop: int = 6,
    b_frames: int = 0,
    draw: Callable[[int], np.ndarray] = picture,
) -> list[bytes]:
    """Each picture as a camera sends it: Annex B, with the parameter sets before key frames."""
    encoder: Any = av.CodecContext.create(codec, 'w')
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, 'yuv420p'
    encoder.time_base, encoder.gop_size = Fraction(1, 10), gop
    encoder.max_b_frames = b_frames
    if codec == 'libx265':
        encoder.options = {'x265-params': f'log-level=0:bframes={b_frames}:keyint={gop}'}
    out = []
    for index in range(count):
        frame = av.VideoFrame.from_ndarray(draw(index), format='rgb24')
        frame.pts = index
        out += encoder.encode(frame)
    return [bytes(packet) for packet in out + encoder.encode(None)]
