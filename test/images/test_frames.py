"""Frames from real files of every kind, and the message for every wrong source."""

import sys

import cv2
import numpy as np
import pytest

from dgss_core.bags import write_bag
from dgss_core.errors import DgssError
from dgss_core.images.frames import FIRST_STAMP_NS, Frame
from dgss_core.inputs import read_frames


def save(path, value, size=(24, 32)):
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in (1, 2, 10):
        save(folder / f'frame_{number}.png', number)
    (folder / 'notes.txt').write_text('not an image')
    return folder


def test_a_folder_gives_its_images_in_natural_order(folder):
    source = read_frames(folder, fps=4)
    frames = list(source)
    assert [f.name for f in frames] == ['frame_1', 'frame_2', 'frame_10']
    assert [int(f.image[0, 0, 0]) for f in frames] == [1, 2, 10]
    assert [f.stamp_ns - FIRST_STAMP_NS for f in frames] == [0, 250_000_000, 500_000_000]
    assert source.kind == 'folder'
    assert source.length == 3
    assert len(list(source)) == 3, 'a source can be read again'


def test_images_are_rgb(tmp_path):
    cv2.imwrite(str(tmp_path / 'red.png'), np.full((4, 4, 3), (0, 0, 255), np.uint8))
    (frame,) = read_frames(tmp_path / 'red.png')
    assert tuple(frame.image[0, 0]) == (255, 0, 0)
    assert frame.name == 'red'


def test_equal_stems_get_names_of_their_own(tmp_path):
    for name in ('a.png', 'a.jpg', 'a_png.bmp', 'b.png'):
        save(tmp_path / name, 0)
    names = [f.name for f in read_frames(tmp_path)]
    assert sorted(names) == ['a_jpg', 'a_png', 'a_png_', 'b']


def test_labels_are_found_by_stem(folder, tmp_path):
    labels = tmp_path / 'labels'
    labels.mkdir()
    cv2.imwrite(str(labels / 'frame_2.png'), np.full((24, 32), 7, np.uint8))
    frames = list(read_frames(folder, labels=labels))
    assert [f.labels is not None for f in frames] == [False, True, False]
    assert frames[1].labels.shape == (24, 32)
    assert np.unique(frames[1].labels) == [7]


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.zeros((24, 31), np.uint8), '31x24 and its image 32x24'),
        (np.eye(24, 32)[..., None] * np.uint8([0, 9, 99]), r'frame_1\.png .*holds colours'),
        (np.full((24, 32), 300, np.uint16), 'the id 300; ids are 0 to 255'),
    ],
)
def test_labels_that_do_not_fit_are_refused(folder, tmp_path, labels, message):
    (tmp_path / 'labels').mkdir()
    cv2.imwrite(str(tmp_path / 'labels' / 'frame_1.png'), labels)
    with pytest.raises(DgssError, match=message):
        list(read_frames(folder, labels=tmp_path / 'labels'))


def test_a_bad_image_raises_or_is_reported_and_left_out(folder):
    (folder / 'frame_2.png').write_bytes((folder / 'frame_2.png').read_bytes()[:50])
    with pytest.raises(DgssError, match=r'frame_2\.png cannot be read'):
        list(read_frames(folder))
    failed = []
    frames = list(read_frames(folder, on_error=lambda name, error: failed.append(name)))
    assert [f.name for f in frames] == ['frame_1', 'frame_10']
    assert failed == ['frame_2']


def test_a_video_keeps_its_rate_and_is_read_lazily(tmp_path):
    path = tmp_path / 'drive.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25, (64, 48))
    for value in range(0, 250, 25):
        writer.write(np.full((48, 64, 3), (value, 0, 0), np.uint8))
    writer.release()
    source = read_frames(path)
    frames = list(source)
    assert source.kind == 'video'
    assert source.length == len(frames) == 10
    assert frames[3].name == '000003'
    assert frames[3].stamp_ns - FIRST_STAMP_NS == 120_000_000
    assert abs(int(frames[3].image[20, 20, 2]) - 75) < 8, 'blue stays blue'
    assert next(iter(source)).name == '000000'


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_folder_and_its_storage_file(tmp_path, storage):
    image = np.zeros((4, 6, 3), np.uint8)
    write_bag(tmp_path / 'bag', [Frame('a', image, FIRST_STAMP_NS)], storage=storage)
    (file,) = [f for f in (tmp_path / 'bag').iterdir() if f.name != 'metadata.yaml']
    for path in (tmp_path / 'bag', file):
        source = read_frames(path)
        assert source.kind == 'bag'
        assert source.length == 1
        assert next(iter(source)).stamp_ns == FIRST_STAMP_NS


def test_wrong_sources_are_named(folder, tmp_path):
    (tmp_path / 'empty').mkdir()
    save(tmp_path / 'one.png', 0)
    cases = [
        ({'source': tmp_path / 'gone'}, 'There is no .*gone'),
        ({'source': tmp_path / 'empty'}, 'holds no images'),
        ({'source': folder, 'topic': '/camera'}, 'is not a bag'),
        ({'source': folder, 'fps': 0}, 'not a frame rate'),
        ({'source': folder, 'labels': tmp_path / 'gone'}, 'There is no labels folder'),
        ({'source': folder, 'labels': tmp_path / 'empty'}, 'has the stem of an image'),
    ]
    for arguments, message in cases:
        with pytest.raises(DgssError, match=message):
            read_frames(**arguments)


def test_a_text_that_is_named_like_a_video_is_named(tmp_path):
    pytest.importorskip('av')
    (tmp_path / 'text.mp4').write_text('not a video')
    with pytest.raises(DgssError, match='nor a video'):
        read_frames(tmp_path / 'text.mp4')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'#ROSBAG V2.0\n', 'is a ROS 1 bag; convert it'),
        (b'\0\0\0\x18ftypmp42', 'run pip install av'),
    ],
)
def test_only_a_video_asks_for_pyav(tmp_path, monkeypatch, content, message):
    monkeypatch.setitem(sys.modules, 'av', None)
    (tmp_path / 'drive').write_bytes(content)
    with pytest.raises(DgssError, match=message):
        read_frames(tmp_path / 'drive')


def test_camvid_frames_carry_their_labels(shared):
    camvid = shared / 'data' / 'camvid'
    source = read_frames(camvid / 'images', labels=camvid / 'labels_cs19')
    assert source.length == 639
    frame = next(iter(source))
    assert frame.image.shape == (*frame.labels.shape, 3)
    assert set(np.unique(frame.labels)) <= {*range(19), 255}
