"""Topics of compressed video: every message becomes its frame, or is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import coded, draw, row_of_bar
from foreign_bags import Mcap, stamps
from hypothesis import given, settings
from hypothesis import strategies as st

from dgss_core.bags import image_topic
from dgss_core.bags.interfaces import COMPRESSED, FFMPEG_PACKET, FOXGLOVE_VIDEO, typestore
from dgss_core.bags.reader import decode_message, deserialized
from dgss_core.bags.stored import BagMessage
from dgss_core.bags.video_messages import Place, VideoMessages
from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_core.images.frames import Frame
from dgss_core.inputs import read_frames

TOPIC = '/camera/image_raw/video'


def message(kind: str, stamp_ns: int, declared: str, data: bytes) -> bytes:
    types = typestore().types
    stamp = types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    header = types['std_msgs/msg/Header'](stamp=stamp, frame_id='camera')
    array = np.frombuffer(data, np.uint8)
    content = {
        FOXGLOVE_VIDEO: lambda: types[kind](stamp, 'camera', array, declared),
        FFMPEG_PACKET: lambda: types[kind](header, 96, 64, declared, 7, 1, False, array),
        COMPRESSED: lambda: types[kind](header, declared, array),
    }[kind]()
    return bytes(typestore().serialize_cdr(content, kind))


def bag(
    path: Path,
    data: list[bytes],
    kind: str = FOXGLOVE_VIDEO,
    declared: str = 'h264',
    **options: Any,
) -> Path:
    pairs = zip(stamps(len(data)), data, strict=True)
    # Recorded 5 ms after the picture was taken.
    messages = [(stamp + 5_000_000, message(kind, stamp, declared, part)) for stamp, part in pairs]
    return Mcap(path / 'a.mcap', **options).add(messages, TOPIC, kind).close()


def read(path: Path) -> tuple[list[Frame], dict[str, str]]:
    failed: dict[str, str] = {}
    source = read_frames(path, on_error=lambda name, error: failed.update({name: str(error)}))
    return list(source), failed


@pytest.mark.parametrize(
    ('kind', 'declared', 'codec'),
    [
        (FOXGLOVE_VIDEO, 'h264', 'libx264'),
        (FOXGLOVE_VIDEO, 'h265', 'libx265'),
        (FOXGLOVE_VIDEO, 'vp9', 'libvpx-vp9'),
        (FOXGLOVE_VIDEO, 'av1', 'libsvtav1'),
        (FFMPEG_PACKET, 'h264;yuv420p;bgr8;rgb8', 'libx264'),
        (FFMPEG_PACKET, 'hevc_nvenc', 'libx265'),
        (COMPRESSED, 'h264', 'libx264'),
    ],
)
def test_every_message_is_a_frame_with_its_stamp(
    kind: str, declared: str, codec: str, tmp_path: Path
) -> None:
    frames, failed = read(bag(tmp_path, coded(codec), kind, declared))
    assert not failed
    assert [frame.name for frame in frames] == [f'{index:06d}' for index in range(12)]
    assert [row_of_bar(frame.image) for frame in frames] == [*range(12)]
    assert [frame.stamp_ns for frame in frames] == stamps(12)


def test_pictures_that_come_late_keep_the_stamp_of_their_message(tmp_path: Path) -> None:
    frames, failed = read(bag(tmp_path, coded(b_frames=2, count=10)))
    assert not failed
    assert [row_of_bar(frame.image) for frame in frames] == [*range(10)]
    assert sorted(frame.name for frame in frames) == [f'{index:06d}' for index in range(10)]
    assert {frame.name: frame.stamp_ns for frame in frames} == {
        f'{index:06d}': stamp for index, stamp in enumerate(stamps(10))
    }


def test_messages_before_the_first_key_frame_and_damaged_ones_are_named(tmp_path: Path) -> None:
    data = coded(count=24)
    data[8] = data[8][: len(data[8]) // 3] + b'\xa5' * 40
    data[15] = b''
    frames, failed = read(bag(tmp_path, data[2:]))
    found = {int(frame.name) + 2: row_of_bar(frame.image) for frame in frames}
    assert all(row == index for index, row in found.items())
    assert {*range(2, 6), 8, 15}.isdisjoint(found)
    assert {6, 7, 12, 13, 14, *range(18, 24)} <= {*found}
    assert len(found) + len(failed) == 22
    assert 'before a key frame' in failed['000000']
    assert 'empty' in failed['000013']


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    frames, failed = read(bag(tmp_path, [b'\0\0\1x'] * 2, declared='theora'))
    assert not frames
    assert "has the format 'theora'; h264," in failed['000001']


def test_video_becomes_images_by_bag_write(tmp_path: Path) -> None:
    path = bag(tmp_path, coded())
    assert main(['bag', 'write', str(path), '--output', str(tmp_path / 'images')]) == 0
    assert [row_of_bar(frame.image) for frame in read_frames(tmp_path / 'images')] == [*range(12)]
    with pytest.raises(DgssError, match=r'compressed video .* dgss bag write'):
        image_topic(path)


def test_one_message_of_a_video_is_no_picture_by_itself() -> None:
    data = message(FOXGLOVE_VIDEO, 5, 'h264', coded(count=2)[1])
    with pytest.raises(DgssError, match='only in the order of the messages'):
        decode_message(BagMessage(TOPIC, FOXGLOVE_VIDEO, 5, data))


MESSAGES = coded(count=4, gop=2)


@settings(max_examples=40, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 3), st.floats(0, 1), st.binary(max_size=6)), max_size=4
    ),
    order=st.permutations(range(4)),
)
def test_changed_messages_give_pictures_or_sentences(
    changes: list[tuple[int, float, bytes]], order: list[int]
) -> None:
    data = [bytearray(part) for part in MESSAGES]
    for which, share, new in changes:
        at = int(share * len(data[which]))
        data[which][at : at + len(new)] = new
    video, came = VideoMessages(), []
    for index in order:
        try:
            came += video.take(Place(str(index), 1, 1), 'h264', data[index])
        except DgssError:
            came.append((Place(str(index), 1, 1), None))
    came += video.rest()
    assert sorted(place.name for place, _ in came) == ['0', '1', '2', '3']


def test_a_damaged_message_is_named_as_compressed_video() -> None:
    message = BagMessage('/camera', 'foxglove_msgs/msg/CompressedVideo', 5, bytes(40))
    with pytest.raises(DgssError, match=r'compressed video \(foxglove_msgs/msg/CompressedVideo\)'):
        deserialized(message)


@pytest.mark.parametrize(
    ('declared', 'codec', 'b_frames'),
    [('h264', 'libx264', 0), ('h264', 'libx264', 2), ('h265', 'libx265', 2)],
)
def test_a_message_that_is_missing_gives_no_wrong_picture(
    declared: str, codec: str, b_frames: int
) -> None:
    data = coded(codec, 24, gop=8, b_frames=b_frames)
    whole = decoded(data, declared)
    assert len(whole) == 24
    for lost in (5, 9, 12):
        pictures = decoded([*data[:lost], None, *data[lost + 1 :]], declared)
        assert {*range(5), *range(17, 24)} <= {*pictures} < {*whole}
        for name, image in pictures.items():
            assert np.abs(whole[name].astype(int) - image).mean() < 2, (lost, name)


def decoded(data: list[bytes | None], declared: str) -> dict[int, np.ndarray]:
    """The good pictures by the number of their message. None: a message that is not there."""
    video, came = VideoMessages(), []
    for index, part in enumerate(data):
        if part is not None:
            came += video.take(Place(str(index), index, index), declared, part)
    came += video.rest()
    assert len(came) == len(data) - data.count(None)
    return {int(p.name): image for p, image in came if not isinstance(image, DgssError)}


@pytest.mark.parametrize('start', [0, 30])
def test_zeros_in_a_message_spoil_it_up_to_the_next_key_frame(start: int) -> None:
    data = coded(count=24, gop=8)
    data[10] = data[10][:start] + bytes(24) + data[10][start + 24 :]
    assert {*decoded([*data], 'h264')} == {*range(10), *range(17, 24)}


@pytest.mark.parametrize(
    ('declared', 'codec'), [('vp9', 'libvpx-vp9'), ('vp8', 'libvpx'), ('h265', 'libx265')]
)
def test_what_is_predicted_from_a_message_in_a_damaged_chunk_is_not_given(
    declared: str, codec: str, tmp_path: Path
) -> None:
    data = coded(codec, 24, gop=8, draw=draw)
    path = bag(tmp_path, data, declared=declared, chunk_size=1000)
    whole = {frame.name: frame.image.astype(int) for frame in read(path)[0]}
    assert len(whole) == 24
    content = bytearray(path.read_bytes())
    content[content.index(data[10]) + len(data[10]) // 2] ^= 1
    path.write_bytes(content)
    frames, failed = read(path)
    assert 'its checksum is wrong' in ' '.join(failed.values())
    for frame in frames:
        assert np.abs(whole[frame.name] - frame.image).mean() < 2, frame.name
    assert {f'{number:06d}' for number in (*range(10), *range(16, 24))} <= {f.name for f in frames}
