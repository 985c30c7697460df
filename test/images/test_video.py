"""Videos: their own time stamps, turn and count, and what is said of one that is damaged."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from clips import HEIGHT, LEFT, RIGHT, WIDTH, packets, picture, row_of_bar, write_video
from damage import Changes, changes, damaged
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dgss_core.errors import DgssError, IncompleteError
from dgss_core.images.frames import FIRST_STAMP_NS, Frame
from dgss_core.inputs import read_frames

FAST_START = {'movflags': 'faststart'}
PAUSES = [0, 100, 200, 2200, 2300, 2400, 4400, 4500]


def read(path: Path, fps: float | None = None) -> tuple[list[Frame], list[tuple[str, DgssError]]]:
    failed: list[tuple[str, DgssError]] = []
    source = read_frames(path, fps=fps, on_error=lambda *failure: failed.append(failure))
    assert source.kind == 'video'
    return list(source), failed


def times_ms(frames: list[Frame]) -> list[int]:
    return [round((frame.stamp_ns - FIRST_STAMP_NS) / 1e6) for frame in frames]


@pytest.mark.parametrize(
    ('codec', 'name'),
    [
        ('h264', 'a.mp4'),
        ('h264', 'a.mkv'),
        ('h264', 'a.ts'),
        ('h264', 'a.h264'),
        ('mpeg4', 'a.avi'),
        ('mjpeg', 'a.mov'),
        ('libvpx', 'a.webm'),
        ('mpeg2video', 'a.mpg'),
        ('flv', 'a.flv'),
    ],
)
def test_every_frame_comes_once_and_in_order(codec: str, name: str, tmp_path: Path) -> None:
    frames, failed = read(write_video(tmp_path / name, codec, 20))
    assert not failed
    assert [frame.name for frame in frames] == [f'{index:06d}' for index in range(20)]
    assert [row_of_bar(frame.image) for frame in frames] == [*range(20)]
    assert times_ms(frames) == [100 * index for index in range(20)]
    assert np.abs(frames[0].image[HEIGHT // 2, 5] - np.array(LEFT)).max() < 20, 'RGB'


@pytest.mark.parametrize(('codec', 'name'), [('h264', 'a.mp4'), ('libvpx', 'a.webm')])
def test_stamps_are_those_of_the_video(codec: str, name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, codec, len(PAUSES), times=PAUSES)
    frames, failed = read(path)
    assert times_ms(frames) == PAUSES
    assert not failed
    given, _ = read(path, fps=4)
    assert times_ms(given) == [250 * index for index in range(len(PAUSES))], '--fps is heeded'


def test_frames_that_are_shown_again_are_not_missing(tmp_path: Path) -> None:
    """An AVI has empty places where nothing new came, and counts them."""
    path = write_video(tmp_path / 'a.avi', 'mjpeg', 5, times=[0, 1, 2, 6, 7], tick=10)
    frames, failed = read(path)
    assert times_ms(frames) == [0, 100, 200, 600, 700]
    assert not failed


@pytest.mark.parametrize('codec', ['mpeg4', 'h264'])
def test_b_frames_in_an_avi_have_their_own_stamps(codec: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.avi', codec, 20, b_frames=2)
    frames, failed = read(path)
    assert [row_of_bar(frame.image) for frame in frames] == [*range(20)]
    # FFmpeg starts at the time of decoding, one frame earlier.
    assert times_ms(frames) == [100 * index + 100 for index in range(20)]
    assert not failed


def test_a_stream_of_jpegs_is_no_picture(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.avi', 'mjpeg', 5)
    with av.open(path) as container:
        stream = b''.join(bytes(packet) for packet in container.demux(video=0))
    (tmp_path / 'cam.mjpeg').write_bytes(stream)
    assert len([*read_frames(tmp_path / 'cam.mjpeg')]) == 5
    one = stream[: stream.index(b'\xff\xd9') + 2]
    (tmp_path / 'photo').write_bytes(one)
    assert read_frames(tmp_path / 'photo').kind == 'image'


def test_frames_that_an_edit_list_leaves_out_are_not_missing(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.mp4', count=90)
    data = bytearray(path.read_bytes())
    # The length of the part that is shown, in ms, follows version and count.
    struct.pack_into('>I', data, data.index(b'elst') + 12, 1000)
    path.write_bytes(data)
    frames, failed = read(path)
    assert times_ms(frames) == [100 * index for index in range(10)]
    assert not failed


def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / 'a.mp4', count=3).rename(tmp_path / '12:30:00.mp4')
    monkeypatch.chdir(tmp_path)
    assert len(read(Path('12:30:00.mp4'))[0]) == 3


@pytest.mark.parametrize(
    ('codec', 'name', 'options'),
    [
        ('h264', 'a.mp4', FAST_START),
        ('h264', 'a.mkv', {}),
        ('mjpeg', 'a.avi', {}),
    ],
)
def test_a_video_that_is_cut_short_says_what_is_missing(
    codec: str, name: str, options: dict[str, str], tmp_path: Path
) -> None:
    path = write_video(tmp_path / name, codec, 40, options=options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 8 // 10])
    frames, failed = read(path)
    ((_, error),) = failed
    assert isinstance(error, IncompleteError)
    assert str(error).startswith(f'{path} ends after {len(frames)} of 40 frames; it is cut short')
    assert 5 < len(frames) == 40 - error.missing
    assert [row_of_bar(frame.image) for frame in frames] == [*range(len(frames))]


@pytest.mark.parametrize(('codec', 'name'), [('mpeg4', 'a.mp4'), ('h264', 'a.mp4')])
def test_frames_after_damage_keep_their_names_and_stamps(
    codec: str, name: str, tmp_path: Path
) -> None:
    path = write_video(tmp_path / name, codec, 30, gop=6)
    data = bytearray(path.read_bytes())
    start, size = packets(path)[13]
    data[start + size // 4 : start + size] = random.Random(1).randbytes(size - size // 4)
    path.write_bytes(data)
    frames, failed = read(path)
    assert 0 < len(failed) < 12
    assert len(frames) + len(failed) == 30
    assert {frame.name for frame in frames}.isdisjoint(name for name, _ in failed)
    for frame in frames:
        assert row_of_bar(frame.image) == int(frame.name)
        assert times_ms([frame]) == [100 * int(frame.name)]
    assert all('damaged' in str(error) for _, error in failed)


ONE = 1 << 16


@pytest.mark.parametrize(
    ('matrix', 'expected'),
    [
        ((0, ONE, -ONE, 0), lambda image: np.rot90(image, -1)),
        ((-ONE, 0, 0, -ONE), lambda image: np.rot90(image, 2)),
        ((0, -ONE, ONE, 0), lambda image: np.rot90(image)),
        ((-ONE, 0, 0, ONE), np.fliplr),
        ((ONE, 0, 0, -ONE), np.flipud),
        ((ONE // 2, ONE // 2, -ONE // 2, ONE // 2), lambda image: image),
    ],
    ids=['right', 'half', 'left', 'mirrored', 'upside down', 'askew'],
)
def test_a_turned_video_is_read_upright(matrix, expected, tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.mp4', count=2)
    stored = read(path)[0][1].image
    data = bytearray(path.read_bytes())
    # The matrix follows 40 bytes of times, layer and volume in the header of the track.
    a, b, c, d = matrix
    struct.pack_into('>9i', data, data.index(b'tkhd') + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    assert np.array_equal(read(path)[0][1].image, expected(stored))


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    write_video(tmp_path / 'a.ts', count=3)
    playlist = tmp_path / 'list.m3u8'
    playlist.write_text('#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n')
    with pytest.raises(DgssError, match='nor a video'):
        read(playlist)


def test_a_video_with_pictures_that_are_too_large_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.avi', 'mjpeg', 2)
    data = path.read_bytes()
    # The size stands in the start of each JPEG, the header of the video says the small one.
    size = struct.pack('>HH', HEIGHT, WIDTH)
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, struct.pack('>HH', 60_000, 60_000)))
    with pytest.raises(DgssError, match=r'pixels; scale|damaged'):
        list(read_frames(path))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'<!DOCTYPE html><html>', 'an HTML page'),
        (b'', 'empty'),
        (b'something else entirely', 'nor a video'),
        (b'\x1a\x45\xdf\xa3' + bytes(40), 'a video that is damaged or cut short'),
    ],
)
def test_what_is_no_video_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / 'a.mp4').write_bytes(content)
    with pytest.raises(DgssError, match=message):
        read(tmp_path / 'a.mp4')


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / 'a.mkv'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=8000)
        frame = av.AudioFrame(format='s16', layout='mono', samples=800)
        frame.rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(DgssError, match='no pictures'):
        read(path)


def test_without_pyav_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / 'a.mp4', count=1)
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(DgssError, match='pip install av'):
        read(path)


@pytest.fixture(scope='module')
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('videos')
    for name, codec in KINDS.items():
        write_video(folder / name, codec, 4)
    return folder


KINDS = {
    **{'a.mp4': 'h264', 'a.mkv': 'mpeg4', 'a.avi': 'mjpeg', 'a.ts': 'h264'},
    **{'a.wmv': 'wmv2', 'a.h264': 'h264', 'a.flv': 'flv'},
}


@example(name='a.mp4', cut=1.0, made=[(1.0, b'\x80')])  # A text that is not UTF-8.
@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from([*KINDS]),
    cut=st.floats(0.2, 1),
    made=changes(4, longest=6),
)
def test_changed_bytes_give_frames_or_one_sentence(
    name: str,
    cut: float,
    made: Changes,
    originals: Path,
) -> None:
    path = originals / f'changed{Path(name).suffix}'
    path.write_bytes(damaged((originals / name).read_bytes(), cut, made))
    failed: list[tuple[str, DgssError]] = []
    try:
        frames = list(read_frames(path, on_error=lambda *failure: failed.append(failure)))
    except DgssError:
        return
    names = [frame.name for frame in frames]
    assert len({*names, *(name for name, _ in failed)}) == len(names) + len(failed)
    assert all(a.stamp_ns < b.stamp_ns for a, b in pairwise(frames))


def test_the_pictures_of_these_tests_differ() -> None:
    assert [row_of_bar(picture(index)) for index in range(30)] == [*range(30)]
    assert picture()[HEIGHT - 1, -1].tolist() == [*RIGHT]


def test_pictures_and_their_threads_are_freed_without_a_search_for_cycles(tmp_path: Path) -> None:
    code = """
import gc, os, sys
from dgss_core.inputs import read_frames
gc.disable()
threads = [len(os.listdir('/proc/self/task')) for _ in read_frames(sys.argv[1])]
print(max(threads[1:]) - threads[1])
"""
    path = write_video(tmp_path / 'a.mp4', count=40)
    command = [sys.executable, '-c', code, str(path)]
    assert int(subprocess.run(command, check=True, capture_output=True).stdout) <= 2
