"""Videos that lack a part in the middle: no frame is wrong, and none is lost without a word."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from clips import HEIGHT, WIDTH, coded, draw, packets, read, with_hole, write_video

from dgss_core.cli import main
from dgss_core.images.bitstream import Checker
from dgss_core.images.matroska import Structure

COUNT = 36
KINDS = [
    ('h264', 'a.mp4'),
    ('h264', 'a.mkv'),
    ('h264', 'a.ts'),
    ('libx265', 'a.mp4'),
    ('libx265', 'a.mkv'),
    ('libvpx', 'a.webm'),
    ('libvpx-vp9', 'a.webm'),
    ('libvpx-vp9', 'a.mp4'),
    ('libsvtav1', 'a.mp4'),
    ('mpeg4', 'a.avi'),
    ('mpeg2video', 'a.ts'),
    ('mjpeg', 'a.avi'),
]


@pytest.mark.parametrize(('codec', 'name'), KINDS)
def test_a_hole_gives_no_wrong_frame_and_loses_none_silently(
    codec: str, name: str, tmp_path: Path
) -> None:
    path = write_video(tmp_path / name, codec, COUNT, gop=12, draw=draw)
    whole, failed = read(path)
    assert len(whole) == COUNT
    assert not failed
    by_stamp = {frame.stamp_ns: frame.image.astype(int) for frame in whole}
    size = path.stat().st_size
    longest = max(size for _, size in packets(path))
    for share, length in ((0.35, 300), (0.5, longest), (0.7, 2 * longest)):
        frames, failed = read(with_hole(path, int(share * size), length))
        told = sum(getattr(error, 'missing', 0) or 1 for _, error in failed)
        # A hole may lie in a table that the stream repeats.
        assert failed or [f.stamp_ns for f in frames] == [*by_stamp], share
        assert len(frames) + told >= COUNT, share
        for frame in frames:
            error = np.abs(by_stamp[frame.stamp_ns] - frame.image).mean()
            assert error < 2, f'{frame.name} of a hole at {share}'
        assert all(a.stamp_ns < b.stamp_ns for a, b in pairwise(frames))
    assert frames[0].name == '000000', 'those before the last hole are given'


def test_the_exit_code_tells_of_a_hole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / 'a.mkv', 'h264', COUNT, gop=12, draw=draw)
    damaged = with_hole(path, path.stat().st_size // 2, 3000)
    assert main(['bag', 'write', str(damaged), '--output', str(tmp_path / 'bag')]) == 1
    assert 'damaged' in capsys.readouterr().err
    assert main(['bag', 'write', str(path), '--output', str(tmp_path / 'whole')]) == 0


@pytest.mark.parametrize(
    ('codec', 'name', 'options'),
    [
        ('h264', 'a.mkv', {'live': '1'}),
        ('h264', 'a.mkv', {'cluster_size_limit': '2000'}),
        ('h264', 'a.mp4', {'movflags': 'frag_keyframe+empty_moov'}),
        ('h264', 'a.ts', {'muxrate': '3000000'}),
        ('libvpx', 'a.webm', {}),
    ],
)
def test_a_whole_video_that_pauses_is_not_called_damaged(
    codec: str, name: str, options: dict[str, str], tmp_path: Path
) -> None:
    times = [100 * index + 5000 * (index // 10) for index in range(30)]
    path = write_video(tmp_path / name, codec, 30, times=times, options=options, draw=draw)
    frames, failed = read(path)
    assert len(frames) == 30
    assert not failed
    if path.suffix == '.mkv':
        assert not Structure(path).is_broken_before(path.stat().st_size)


@pytest.mark.parametrize('codec', ['libvpx', 'libvpx-vp9', 'libsvtav1', 'libx264', 'libx265'])
def test_black_pictures_are_no_holes(codec: str, tmp_path: Path) -> None:
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    path = write_video(tmp_path / 'a.mkv', codec, 20, draw=lambda index: black)
    frames, failed = read(path)
    assert len(frames) == 20
    assert not failed


@pytest.mark.parametrize(('codec', 'name'), [('libx264', 'h264'), ('libx265', 'hevc')])
def test_fill_at_the_end_of_a_picture_is_no_hole(codec: str, name: str) -> None:
    pictures = coded(codec, count=8)
    checker = Checker(name)
    assert not any(checker.fault(data + bytes(64)) for data in pictures)
    data = pictures[0]
    assert checker.fault(data[:-40] + bytes(30) + data[-10:])


def test_a_missing_picture_of_h264_is_told_by_its_number(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.mp4', 'h264', 24, gop=24, draw=draw)
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata
        data = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    assert not any(map(Checker('h264', extradata).fault, data))
    checker = Checker('h264', extradata)
    faults = [checker.fault(part) for part in data[:2] + data[4:]]
    assert 'missing' in ''.join(faults)


def test_zeros_before_a_one_are_no_start_code_behind_a_length(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.mp4', 'h264', 24, gop=24, draw=draw)
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata
    start, size = packets(path)[3]
    data = bytearray(path.read_bytes())
    data[start + size // 2 : start + size // 2 + 21] = bytes(20) + b'\1'
    assert Checker('h264', extradata).fault(bytes(data[start : start + size]))


@pytest.mark.parametrize(
    ('codec', 'name', 'options'),
    [
        ('h264', 'a.mp4', {'movflags': 'frag_keyframe+empty_moov', 'frag_duration': '500000'}),
        ('h264', 'a.mkv', {'live': '1'}),
        ('libvpx', 'a.webm', {'live': '1'}),
    ],
)
def test_a_recording_without_a_length_that_is_cut_says_so(
    codec: str, name: str, options: dict[str, str], tmp_path: Path
) -> None:
    whole = write_video(tmp_path / name, codec, COUNT, options=options, draw=draw)
    frames, failed = read(whole)
    assert (len(frames), failed) == (COUNT, [])
    data = whole.read_bytes()
    for start, size in packets(whole)[COUNT // 2 :: 5]:
        cut = tmp_path / f'cut{whole.suffix}'
        cut.write_bytes(data[: start + size // 2])
        frames, failed = read(cut)
        assert 0 < len(frames) < COUNT
        assert 'it is cut short' in str(failed[-1][1])


@pytest.mark.parametrize(
    ('name', 'options', 'part', 'offsets'),
    [
        # The name of a cluster, its size, the first elements in it, and the first block.
        ('a.mkv', {'live': '1'}, b'\x1f\x43\xb6\x75', range(1, 26)),
        # From the size of a fragment to its name.
        ('a.mp4', {'movflags': 'frag_keyframe+empty_moov'}, b'moof', range(-3, 4)),
        # From its data, which have not begun, to their name.
        ('a.mp4', {'movflags': 'frag_keyframe+empty_moov'}, b'mdat', range(-4, 4)),
    ],
)
def test_a_recording_that_is_cut_where_a_part_begins_says_so(
    name: str, options: dict[str, str], part: bytes, offsets: range, tmp_path: Path
) -> None:
    data = write_video(tmp_path / name, 'h264', COUNT, options=options, draw=draw).read_bytes()
    cut = tmp_path / f'cut{Path(name).suffix}'
    for offset in offsets:
        cut.write_bytes(data[: data.rindex(part) + offset])
        frames, failed = read(cut)
        assert 0 < len(frames) < COUNT
        assert 'it is cut short' in str(failed[-1][1]), offset
