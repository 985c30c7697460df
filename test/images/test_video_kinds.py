"""Damage in further kinds of videos: nothing is lost silently, and names stay those of frames."""

from __future__ import annotations

import random
from pathlib import Path

import av
import numpy as np
import pytest
from clips import coded, draw, packets, picture, read, with_hole, write_video
from PIL import Image

from dgss_core.errors import DgssError
from dgss_core.images.asf import BROADCAST, FILE_PROPERTIES, FLAGS
from dgss_core.images.asf import COUNT as COUNT_OF_PACKETS
from dgss_core.images.chain import Chain, Coded
from dgss_core.images.frames import Frame

COUNT = 36
Failed = list[tuple[str, DgssError]]


def told(failed: Failed) -> int:
    return sum(getattr(error, 'missing', 0) or 1 for _, error in failed)


def check_names(frames: list[Frame], whole: list[Frame]) -> None:
    """Every frame is that of its name in the whole video."""
    for frame in frames:
        same = whole[int(frame.name)]
        assert np.abs(same.image.astype(int) - frame.image).mean() < 2, frame.name
        assert same.stamp_ns == frame.stamp_ns


@pytest.mark.parametrize(('codec', 'name'), [('wmv2', 'a.wmv'), ('msmpeg4', 'a.asf')])
def test_a_hole_in_a_wmv_is_told(codec: str, name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, codec, COUNT, gop=12, draw=draw)
    whole, failed = read(path)
    assert (len(whole), failed) == (COUNT, [])
    for share in (0.3, 0.5, 0.7):
        frames, failed = read(with_hole(path, int(share * path.stat().st_size), 6400))
        assert failed
        assert len(frames) + told(failed) >= COUNT
        check_names(frames, whole)


def test_a_wmv_that_was_broadcast_counts_nothing(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.wmv', 'wmv2', 10, draw=draw)
    data = bytearray(path.read_bytes())
    at = data.index(FILE_PROPERTIES)
    data[at + COUNT_OF_PACKETS : at + COUNT_OF_PACKETS + 8] = (900).to_bytes(8, 'little')
    path.write_bytes(data)
    assert 'it is cut short' in str(read(path)[1][-1][1])
    data[at + FLAGS] |= BROADCAST
    path.write_bytes(data)
    frames, failed = read(path)
    assert (len(frames), failed) == (10, [])


def animation(path: Path, count: int = 6) -> Path:
    images = [Image.fromarray(draw(index)) for index in range(count)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    return path


def test_a_gif_that_is_cut_or_has_a_hole_says_so(tmp_path: Path) -> None:
    path = animation(tmp_path / 'a.gif')
    whole, failed = read(path)
    assert (len(whole), failed) == (6, [])
    data, cut = path.read_bytes(), tmp_path / 'cut.gif'
    for start, size in packets(path)[2:]:
        cut.write_bytes(data[: start + size // 2])
        for damaged in (cut, with_hole(path, start + size // 2, 600)):
            frames, failed = read(damaged)
            assert 0 < len(frames) < 6
            assert 'it is cut short' in str(failed[-1][1])
            check_names(frames, whole)
    cut.write_bytes(data[: packets(path)[3][0]])
    assert 'it is cut short' in str(read(cut)[1][-1][1])


@pytest.mark.parametrize('after', [b';', b'!\xfe\5hello\0;', b';\n\0more'])
def test_a_gif_may_end_with_more_than_its_pictures(after: bytes, tmp_path: Path) -> None:
    path = animation(tmp_path / 'a.gif')
    path.write_bytes(path.read_bytes()[:-1] + after)
    frames, failed = read(path)
    assert (len(frames), failed) == (6, [])


@pytest.mark.parametrize(('codec', 'name'), [('libx264', 'a.h264'), ('libx265', 'a.hevc')])
@pytest.mark.parametrize('b_frames', [0, 3])
@pytest.mark.parametrize('damaged', [12, 13, 17])
def test_names_after_damage_in_a_stream_without_stamps(
    codec: str, name: str, b_frames: int, damaged: int, tmp_path: Path
) -> None:
    parts = coded(codec, 36, gop=12, b_frames=b_frames, draw=draw)
    path = tmp_path / name
    path.write_bytes(b''.join(parts))
    whole, failed = read(path)
    assert (len(whole), failed) == (36, [])
    start = sum(map(len, parts[:damaged])) + 2 * len(parts[damaged]) // 3
    frames, failed = read(with_hole(path, start, len(parts[damaged]) // 4))
    assert failed
    assert len(frames) + told(failed) == 36
    assert frames[-1].name == '000035'
    # Within the damage the order of the pictures is not known.
    check_names([frame for frame in frames if not 12 <= int(frame.name) < 24], whole)


def test_fields_in_a_packet_each_are_no_damage_without_stamps() -> None:
    chain, shown = Chain(is_timed=False), []
    for number in range(20):
        chain.send(Coded(number))
        if number % 2:
            frame = av.VideoFrame(16, 16, 'yuv420p')
            frame.pts = number - 1
            chain.came(frame)
        shown += chain.decided()
    chain.end()
    shown += chain.decided()
    assert [coded.pts for coded in shown if coded.picture is not None] == [*range(0, 20, 2)]
    assert not any(coded.fault for coded in shown)


@pytest.mark.parametrize(
    ('codec', 'name'),
    [
        ('h264', 'a.ts'),
        ('h264', 'a.m2ts'),
        ('mpeg2video', 'a.ts'),
        ('mjpeg', 'a.mjpeg'),
        ('rawvideo', 'a.y4m'),
    ],
)
def test_a_file_without_a_count_that_is_cut_says_so(codec: str, name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, codec, COUNT)
    whole, failed = read(path)
    assert (len(whole), failed) == (COUNT, [])
    data, cut = path.read_bytes(), path.with_name(f'cut{path.suffix}')
    for share in (0.4, 0.6, 0.8):
        cut.write_bytes(data[: int(share * len(data)) | 1])
        frames, failed = read(cut)
        assert 0 < len(frames) < COUNT
        assert 'it is cut short' in str(failed[-1][1])
        check_names(frames, whole)


@pytest.mark.parametrize('name', ['a.mkv', 'a.flv'])
def test_a_picture_between_others_that_is_lost_has_a_name(name: str, tmp_path: Path) -> None:
    """What was decoded before a hole may be shown after what is lost in it."""
    path = write_video(tmp_path / name, 'h264', COUNT, gop=36, draw=draw)
    whole, _ = read(path)
    with av.open(str(path)) as container:
        parts = [(p.pos, p.size, p.pts, p.dts) for p in container.demux(video=0) if p.size]
    for start, size, pts, dts in parts[5:-5]:
        if pts == dts:  # Nothing that follows it in the file is shown before it.
            continue
        damaged = with_hole(path, start - 20, size + 20)
        frames, failed = read(damaged)
        assert failed
        check_names(frames, whole)
        path_cut = tmp_path / f'cut{path.suffix}'
        path_cut.write_bytes(path.read_bytes()[: start + size // 2])
        check_names(read(path_cut)[0], whole)


@pytest.mark.parametrize('name', ['a.mkv', 'a.mp4'])
@pytest.mark.parametrize('rate', [10, 1000])
def test_damage_makes_up_no_frames_in_a_video_that_pauses(
    name: str, rate: int, tmp_path: Path
) -> None:
    """Recorders without a rate write that of their clock, 1000, and durations of one tick."""
    times = [100 * index + 3000 * (index // 4) for index in range(COUNT)]
    path = write_video(tmp_path / name, 'h264', COUNT, rate=rate, times=times, gop=6, draw=draw)
    whole, failed = read(path)
    assert (len(whole), failed) == (COUNT, [])
    for start, size in packets(path)[6::7]:
        frames, failed = read(with_hole(path, start + size // 2, size // 4))
        assert failed
        assert len(frames) + told(failed) == COUNT
        check_names(frames, whole)


@pytest.mark.parametrize(('codec', 'name'), [('libvpx-vp9', 'a.webm'), ('ffv1', 'a.mkv')])
def test_a_picture_at_whose_end_other_bytes_begin_is_damaged(
    codec: str, name: str, tmp_path: Path
) -> None:
    path = write_video(tmp_path / name, codec, COUNT, draw=draw)
    whole, _ = read(path)
    for start, size in packets(path)[5:-5:6]:
        data, middle = bytearray(path.read_bytes()), start + size // 2
        data[middle : middle + size] = random.Random(1).randbytes(size)
        (tmp_path / f'bad{path.suffix}').write_bytes(data)
        frames, failed = read(tmp_path / f'bad{path.suffix}')
        assert failed
        check_names(frames, whole)


def test_a_damaged_stamp_does_not_make_up_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.ivf', 'libvpx-vp9', COUNT, draw=draw)
    start, size = packets(path)[15]
    data = bytearray(path.read_bytes())
    data[start + size // 2 : start + size + 300] = random.Random(1).randbytes(size // 2 + 300)
    path.write_bytes(data)
    frames, failed = read(path)
    assert len(frames) + told(failed) == COUNT


def test_the_pictures_here_are_those_of_their_number() -> None:
    assert not np.array_equal(picture(1), picture(2))
