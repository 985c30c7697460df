"""Bags in both storages: read by this package and by the reader of rosbags, and damaged."""

import shutil

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from dgss_core import bags
from dgss_core.bags import BagRecorder, bag_info, read_bag, read_messages, write_bag
from dgss_core.bags.interfaces import typestore
from dgss_core.errors import DgssError
from dgss_core.images.frames import FIRST_STAMP_NS, Frame
from dgss_core.inputs import read_frames

STRING = 'std_msgs/msg/String'
storages = pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])


def drive(count=9, labelled=3):
    """Frames at 10 Hz; every `labelled`-th has labels; the condition changes every 4 frames."""
    rng = np.random.default_rng(0)
    return [
        Frame(
            name=f'{i:06d}',
            image=rng.integers(0, 256, (20, 30, 3), np.uint8),
            stamp_ns=FIRST_STAMP_NS + i * 10**8,
            labels=np.full((20, 30), i, np.uint8) if i % labelled == 0 else None,
            condition=('day', 'night', 'day')[i // 4],
        )
        for i in range(count)
    ]


def assert_same(read, written):
    assert [f.name for f in read] == [f.name for f in written]
    assert [f.stamp_ns for f in read] == [f.stamp_ns for f in written]
    assert [f.condition for f in read] == [f.condition for f in written]
    for ours, theirs in zip(read, written, strict=True):
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.labels, theirs.labels)


@storages
@pytest.mark.parametrize('labelled', [1, 3, 100])
def test_frames_come_back_as_they_went_in(tmp_path, storage, labelled):
    frames = drive(labelled=labelled)
    write_bag(tmp_path / 'bag', frames, storage=storage)
    assert_same(list(read_bag(tmp_path / 'bag')), frames)


@storages
def test_compressed_images_lose_little(tmp_path, storage):
    y, x = np.mgrid[:48, :64]
    image = np.stack([x * 4, y * 5, x + y], axis=-1).astype(np.uint8)
    info = write_bag(
        tmp_path / 'bag', [Frame('a', image, FIRST_STAMP_NS)], storage=storage, compressed=True
    )
    assert '/camera/image_raw/compressed' in [t.name for t in info.topics]
    (back,) = read_bag(tmp_path / 'bag')
    assert np.abs(back.image.astype(int) - image).mean() < 3


@storages
def test_info_counts_topics(tmp_path, storage):
    info = write_bag(tmp_path / 'bag', drive(), storage=storage)
    assert info == bag_info(tmp_path / 'bag')
    assert info.storage == storage
    assert info.start_ns == FIRST_STAMP_NS
    assert info.duration_ns == 8 * 10**8
    assert info.size == sum(f.stat().st_size for f in (tmp_path / 'bag').iterdir())
    found = {t.name: (t.msgtype, t.count, t.latched) for t in info.topics}
    assert found == {
        '/camera/image_raw': ('sensor_msgs/msg/Image', 9, False),
        '/camera/camera_info': ('sensor_msgs/msg/CameraInfo', 9, False),
        '/camera/labels': ('sensor_msgs/msg/Image', 3, False),
        '/camera/condition': (STRING, 3, True),
    }
    image = next(t for t in info.topics if t.name == '/camera/image_raw')
    assert image.rate == pytest.approx(10)


@storages
def test_rosbags_reads_the_expected_messages(tmp_path, storage):
    """Types, hashes and fields, checked by another reader."""
    frames = drive()
    write_bag(tmp_path / 'bag', frames, storage=storage, focal=25.0)
    with AnyReader([tmp_path / 'bag']) as reader:
        messages = [
            (c.topic, t, reader.deserialize(data, c.msgtype)) for c, t, data in reader.messages()
        ]
    assert [t for _, t, _ in messages] == sorted(t for _, t, _ in messages)
    by_topic = {topic: [] for topic, _, _ in messages}
    for topic, time, message in messages:
        by_topic[topic].append((time, message))
    for frame, (time, image) in zip(frames, by_topic['/camera/image_raw'], strict=True):
        assert time == frame.stamp_ns
        assert image.header.stamp.sec * 10**9 + image.header.stamp.nanosec == frame.stamp_ns
        assert image.header.frame_id == 'camera_optical_frame'
        assert (image.width, image.height, image.step, image.encoding) == (30, 20, 90, 'bgr8')
        np.testing.assert_array_equal(image.data.reshape(20, 30, 3), frame.image[..., ::-1])
    _, info = by_topic['/camera/camera_info'][0]
    assert (info.width, info.height, info.distortion_model) == (30, 20, 'plumb_bob')
    np.testing.assert_array_equal(info.k, [25, 0, 15, 0, 25, 10, 0, 0, 1])
    np.testing.assert_array_equal(info.p, [25, 0, 15, 0, 0, 25, 10, 0, 0, 0, 1, 0])
    assert not info.d.any()
    _, labels = by_topic['/camera/labels'][1]
    assert (labels.encoding, labels.step, set(labels.data)) == ('mono8', 30, {3})
    conditions = [(t, m.data) for t, m in by_topic['/camera/condition']]
    starts = [frames[i].stamp_ns for i in (0, 4, 8)]
    assert conditions == list(zip(starts, ['day', 'night', 'day'], strict=True))


@storages
def test_recording_raw_messages_again_gives_the_same_bag(tmp_path, storage):
    frames = drive()
    write_bag(tmp_path / 'first', frames, storage=storage)
    with BagRecorder(tmp_path / 'second', storage, latched={'/camera/condition'}) as recorder:
        for message in read_messages(tmp_path / 'first'):
            assert message.data[:4] == b'\0\1\0\0'
            recorder.record(message.topic, message.msgtype, message.stamp_ns, message.data)
    assert recorder.count == 9 + 9 + 3 + 3
    assert bag_info(tmp_path / 'second').topics == bag_info(tmp_path / 'first').topics
    assert_same(list(read_bag(tmp_path / 'second')), frames)


@storages
def test_labels_that_come_late_or_early_still_find_their_image(tmp_path, storage):
    frames = drive(labelled=1)
    write_bag(tmp_path / 'first', frames, storage=storage)
    with BagRecorder(tmp_path / 'second', storage) as recorder:
        for i, message in enumerate(read_messages(tmp_path / 'first')):
            late = message.topic == '/camera/labels'
            delay = (250_000_000 if i % 2 else -150_000_000) if late else 0
            recorder.record(message.topic, message.msgtype, message.stamp_ns + delay, message.data)
    assert_same(list(read_bag(tmp_path / 'second')), frames)


def test_the_image_topic_is_the_only_one_or_the_named_one(tmp_path):
    frames = drive(2)
    write_bag(tmp_path / 'front', frames, image_topic='/front/image')
    write_bag(tmp_path / 'rear', frames, image_topic='/rear/image', compressed=True)
    with BagRecorder(tmp_path / 'both') as recorder:
        for path in ('front', 'rear'):
            for m in read_messages(tmp_path / path):
                recorder.record(m.topic, m.msgtype, m.stamp_ns, m.data)
    assert read_frames(tmp_path / 'front').length == 2
    assert len(list(read_frames(tmp_path / 'both', '/front/image'))) == 2
    rear = list(read_frames(tmp_path / 'both', '/rear/image/compressed'))
    np.testing.assert_array_equal(rear[0].labels, frames[0].labels)
    with pytest.raises(DgssError, match='several image topics; name one of /front/image, '):
        read_frames(tmp_path / 'both')
    with pytest.raises(DgssError, match=r'no image topic /left; it has /front/image'):
        read_frames(tmp_path / 'both', '/left')
    with BagRecorder(tmp_path / 'text') as recorder:
        recorder.record('/note', STRING, 1, text('hello'))
    with pytest.raises(DgssError, match='holds no images'):
        read_frames(tmp_path / 'text')


def text(content):
    return typestore().serialize_cdr(typestore().types[STRING](content), STRING)


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


@storages
def test_a_failed_write_leaves_nothing_behind(tmp_path, storage):
    def breaks():
        yield from drive(3)
        raise RuntimeError('camera unplugged')

    with pytest.raises(RuntimeError, match='unplugged'):
        write_bag(tmp_path / 'bag', breaks(), storage=storage)
    with pytest.raises(DgssError, match='no frames'):
        write_bag(tmp_path / 'bag', [], storage=storage)
    assert entries(tmp_path) == []


@storages
def test_a_live_recording_keeps_its_messages_after_an_error(tmp_path, storage):
    def record_until_interrupted():
        with BagRecorder(tmp_path / 'bag', storage, keep_partial=True) as recorder:
            recorder.record('/note', STRING, 5, text('hello'))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_until_interrupted()
    assert entries(tmp_path) == ['bag']
    assert [m.stamp_ns for m in read_messages(tmp_path / 'bag')] == [5]


def test_an_existing_path_is_replaced_only_when_asked_and_only_a_bag(tmp_path):
    write_bag(tmp_path / 'bag', drive(2))
    with pytest.raises(DgssError, match=r'already exists.*--overwrite'):
        write_bag(tmp_path / 'bag', drive(3))
    assert write_bag(tmp_path / 'bag', drive(4), overwrite=True).topics[0].count == 4
    (tmp_path / 'photos').mkdir()
    with pytest.raises(DgssError, match='is not a bag'):
        write_bag(tmp_path / 'photos', drive(2), overwrite=True)
    assert entries(tmp_path) == ['bag', 'photos']


def test_unknown_storage_and_type_are_refused(tmp_path):
    with pytest.raises(DgssError, match='mcap, sqlite3'):
        BagRecorder(tmp_path / 'bag', 'rosbag1')
    with pytest.raises(DgssError, match='not a standard'), BagRecorder(tmp_path / 'bag') as bag:
        bag.record('/x', 'my_msgs/msg/Own', 0, b'\0\1\0\0')
    assert entries(tmp_path) == []


@storages
def test_a_folder_whose_metadata_is_gone_is_still_read(tmp_path, storage):
    frames = drive()
    write_bag(tmp_path / 'bag', frames, storage=storage)
    (tmp_path / 'bag' / 'metadata.yaml').unlink()
    assert_same(list(read_frames(tmp_path / 'bag')), frames)


def test_one_bad_message_is_reported_and_the_others_are_read(tmp_path):
    frames = drive(5, labelled=1)
    write_bag(tmp_path / 'good', frames)
    with BagRecorder(tmp_path / 'bag') as recorder:
        for m in read_messages(tmp_path / 'good'):
            cut = m.topic == '/camera/image_raw' and m.stamp_ns == frames[2].stamp_ns
            data = m.data[:200] if cut else m.data
            recorder.record(m.topic, m.msgtype, m.stamp_ns, data)
    failed = []
    read = list(read_frames(tmp_path / 'bag', on_error=lambda *failure: failed.append(failure)))
    assert [f.name for f in read] == ['000000', '000001', '000003', '000004']
    assert [name for name, _ in failed] == ['000002']
    with pytest.raises(DgssError, match='damaged'):
        list(read_frames(tmp_path / 'bag'))


def test_labels_of_another_size_are_reported(tmp_path):
    (frame,) = drive(1)
    odd = Frame(frame.name, frame.image, frame.stamp_ns, np.zeros((5, 5), np.uint8))
    write_bag(tmp_path / 'bag', [odd])
    with pytest.raises(DgssError, match='are 5x5 and its image 30x20'):
        list(read_bag(tmp_path / 'bag'))


def test_a_missing_or_cut_off_bag_is_named(tmp_path):
    with pytest.raises(DgssError, match='There is no bag'):
        bag_info(tmp_path / 'gone')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DgssError, match='holds no recording'):
        bag_info(tmp_path / 'empty')
    write_bag(tmp_path / 'bag', drive(1))
    shutil.copy(tmp_path / 'bag' / 'metadata.yaml', tmp_path / 'empty')
    with pytest.raises(DgssError, match=r"'bag\.mcap' of metadata\.yaml is missing"):
        bag_info(tmp_path / 'empty')


def test_the_package_exports_its_names():
    assert all(name in vars(bags) for name in bags.__all__)
