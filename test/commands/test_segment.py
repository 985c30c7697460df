"""`dgss segment` and `dgss bag` on real files, with a network of known output.

The bundle has a real network that gives each pixel the class with the nearest colour in the label
set. An image in these colours has a known mask.
"""

import json
import re
import stat

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from probe import manifest_of

from dgss_core.bags import BagRecorder, bag_info, read_bag, read_messages, write_bag
from dgss_core.commands import bag
from dgss_core.commands.segment import segment
from dgss_core.errors import DgssError
from dgss_core.images.compressed import encode_jpeg
from dgss_core.images.frames import FIRST_STAMP_NS, Frame, read_image, read_labels
from dgss_core.labels import LabelSet
from dgss_core.runtime.bundle import CONFIDENCE, INPUT, MASK
from dgss_core.runtime.bundle.writing import write_bundle
from dgss_core.synthetic import StreetDrive

STREET = LabelSet.load('cityscapes19')
SIZE = (48, 64)


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    """argmax over classes of 2 p.c - c.c: the class with the colour c nearest to the pixel p."""
    colors = STREET.colors[: len(STREET)].astype(np.float32)
    constants = {
        'colors': 2 * colors.T,
        'norms': (colors**2).sum(1),
        'sure': np.array(255, np.uint8),
    }
    nodes = [
        helper.make_node('Cast', [INPUT], ['pixels'], to=TensorProto.FLOAT),
        helper.make_node('MatMul', ['pixels', 'colors'], ['products']),
        helper.make_node('Sub', ['products', 'norms'], ['scores']),
        helper.make_node('ArgMax', ['scores'], ['ids'], axis=-1, keepdims=0),
        helper.make_node('Cast', ['ids'], [MASK], to=TensorProto.UINT8),
        helper.make_node('Shape', [MASK], ['shape']),
        helper.make_node('Expand', ['sure', 'shape'], [CONFIDENCE]),
    ]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        'nearest_color',
        [tensor(INPUT, TensorProto.UINT8, ['batch', *SIZE, 3])],
        [tensor(name, TensorProto.UINT8, ['batch', *SIZE]) for name in (MASK, CONFIDENCE)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    folder = tmp_path_factory.mktemp('bundle')
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9)
    onnx.save(model, folder / 'nearest.onnx')
    manifest = manifest_of('nearest', *SIZE, label_set=STREET)
    return write_bundle(folder / 'nearest', folder / 'nearest.onnx', manifest).folder


def ids(seed=0):
    """Blocks of random classes, uint8 (48, 64)."""
    blocks = np.random.default_rng(seed).integers(0, 19, (6, 8)).astype(np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for name, seed in (('one.png', 1), ('two.png', 2), ('three #3%.png', 3)):
        cv2.imwrite(str(folder / name), STREET.colors[ids(seed)][..., ::-1])
    return folder


def page_data(output):
    text = (output / 'index.html').read_text()
    return json.loads(re.search(r'application/json">(.*?)</script>', text, re.DOTALL)[1])


def test_a_folder_becomes_masks_overlays_and_a_page(pictures, bundle, tmp_path, capsys):
    output = tmp_path / 'out'
    assert segment(pictures, output=output, bundle=bundle) == 0
    for name, seed in (('one', 1), ('two', 2), ('three #3%', 3)):
        np.testing.assert_array_equal(read_labels(output / 'masks' / f'{name}.png'), ids(seed))
        # The image has the colours of the labels: the overlay does not change it.
        painted = read_image(output / 'overlays' / f'{name}.jpg').astype(int)
        assert np.abs(painted - STREET.colors[ids(seed)]).mean() < 12
        assert read_image(output / 'frames' / f'{name}.jpg').shape == (*SIZE, 3)
        assert read_image(output / 'thumbnails' / f'{name}.jpg').shape == (240, 320, 3)
    data = page_data(output)
    assert data['frames'] == ['one', 'three #3%', 'two']
    assert (data['facts'][1][0], data['facts'][1][1][:8]) == ('bundle', 'nearest@')
    assert data['labels'][0] == ['road', 'rgb(128, 64, 128)']
    assert data['failed'] == []
    captured = capsys.readouterr()
    assert re.fullmatch(
        r'3 of 3 frames in [\d.]+ s \([\d.]+ frames/s\): \S+index\.html\n', captured.out
    )
    assert captured.err == '', 'no progress bar where there is no terminal'


def test_a_mask_has_the_size_of_its_frame(bundle, tmp_path):
    large = STREET.colors[ids()].repeat(3, 0).repeat(3, 1)
    cv2.imwrite(str(tmp_path / 'large.png'), large[..., ::-1])
    segment(tmp_path / 'large.png', output=tmp_path / 'out', bundle=bundle)
    mask = read_labels(tmp_path / 'out' / 'masks' / 'large.png')
    np.testing.assert_array_equal(mask, ids().repeat(3, 0).repeat(3, 1))


def test_a_bad_image_is_named_and_the_others_are_segmented(pictures, bundle, tmp_path, capsys):
    (pictures / 'two.png').write_bytes((pictures / 'two.png').read_bytes()[:99])
    assert segment(pictures, output=tmp_path / 'out', bundle=bundle) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith('2 of 3 frames')
    assert 'two: ' in captured.err
    data = page_data(tmp_path / 'out')
    assert data['frames'] == ['one', 'three #3%']
    assert data['failed'][0][0] == 'two'
    for name in ('one.png', 'three #3%.png'):
        (pictures / name).write_bytes(b'')
    with pytest.raises(DgssError, match='None of 3 frames'):
        segment(pictures, output=tmp_path / 'none', bundle=bundle)


def test_names_cannot_break_the_page(bundle, tmp_path):
    name = '</script><b>'.replace('/', '')
    folder = tmp_path / '<script>'
    folder.mkdir()
    cv2.imwrite(str(folder / f'{name}.png'), STREET.colors[ids()])
    segment(folder, output=tmp_path / 'out', bundle=bundle)
    data = page_data(tmp_path / 'out')
    assert data['frames'] == [name]
    assert data['title'] == '<script>'
    assert (tmp_path / 'out' / 'index.html').read_text().count('<script') == 2


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_is_segmented(bundle, tmp_path, storage):
    frames = [Frame('', STREET.colors[ids(i)], FIRST_STAMP_NS + i * 10**8) for i in range(3)]
    write_bag(tmp_path / 'bag', frames, storage=storage)
    assert segment(tmp_path / 'bag', output=tmp_path / 'out', bundle=bundle) == 0
    np.testing.assert_array_equal(read_labels(tmp_path / 'out/masks/000002.png'), ids(2))


def test_labels_of_a_bag_hinder_no_segmentation(bundle, tmp_path):
    frame = Frame('', STREET.colors[ids(0)], FIRST_STAMP_NS, labels=ids(0))
    write_bag(tmp_path / 'whole', [frame])
    with BagRecorder(tmp_path / 'bag') as recorder:
        for message in read_messages(tmp_path / 'whole'):
            damaged = message.topic == '/camera/labels'
            data = message.data[:60] if damaged else message.data
            recorder.record(message.topic, message.msgtype, message.stamp_ns, data)
    assert segment(tmp_path / 'bag', output=tmp_path / 'out', bundle=bundle) == 0
    np.testing.assert_array_equal(read_labels(tmp_path / 'out/masks/000000.png'), ids(0))


def test_a_jpeg_is_kept_and_a_large_overlay_is_made_smaller(bundle, tmp_path):
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    image = cv2.resize(STREET.colors[ids()], (1920, 1440), interpolation=cv2.INTER_NEAREST)
    (pictures / 'wide.jpg').write_bytes(encode_jpeg(image, 80))
    assert segment(pictures, output=tmp_path / 'out', bundle=bundle) == 0
    frame = (tmp_path / 'out/frames/wide.jpg').read_bytes()
    assert frame == (pictures / 'wide.jpg').read_bytes()
    assert cv2.imread(str(tmp_path / 'out/overlays/wide.jpg')).shape == (960, 1280, 3)
    assert read_labels(tmp_path / 'out/masks/wide.png').shape == (1440, 1920)


def test_an_output_folder_is_only_replaced_when_asked(pictures, bundle, tmp_path):
    output = tmp_path / 'out'
    segment(pictures, output=output, bundle=bundle)
    (output / 'notes.txt').write_text('mine')
    (pictures / 'one.png').unlink()
    with pytest.raises(DgssError, match='--overwrite'):
        segment(pictures, output=output, bundle=bundle)
    segment(pictures, output=output, bundle=bundle, overwrite=True)
    assert sorted(f.stem for f in (output / 'masks').iterdir()) == ['three #3%', 'two']
    assert (output / 'notes.txt').read_text() == 'mine'


def test_outputs_that_would_overwrite_other_files_are_refused(pictures, bundle, tmp_path):
    before = sorted(pictures.iterdir())
    cases = [
        (pictures, pictures, 'folder of its own'),
        (pictures, pictures / 'one.png', 'folder of its own'),
        (pictures, tmp_path, 'no earlier result'),
    ]
    for source, output, message in cases:
        with pytest.raises(DgssError, match=message):
            segment(source, output=output, bundle=bundle, overwrite=True)
    segment(pictures, output=tmp_path / 'out', bundle=bundle)
    with pytest.raises(DgssError, match='lies inside'):
        segment(
            tmp_path / 'out' / 'frames', output=tmp_path / 'out', bundle=bundle, overwrite=True
        )
    assert sorted(pictures.iterdir()) == before
    with pytest.raises(DgssError, match='opacity'):
        segment(pictures, output=tmp_path / 'new', bundle=bundle, opacity=50)


def test_a_folder_that_cannot_be_written_is_named(pictures, bundle, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DgssError, match='cannot be written'):
        segment(pictures, output=tmp_path / 'file' / 'out', bundle=bundle)


def test_bag_write_of_images_with_labels(pictures, tmp_path, capsys):
    labels = tmp_path / 'labels'
    labels.mkdir()
    cv2.imwrite(str(labels / 'two.png'), ids(2))
    bag.write(
        str(pictures),
        output=tmp_path / 'bag',
        labels=labels,
        fps=5,
        conditions='dusk',
        frames=3,
    )
    frames = list(read_bag(tmp_path / 'bag'))
    assert [f.condition for f in frames] == ['dusk'] * 3
    assert [f.stamp_ns - FIRST_STAMP_NS for f in frames] == [0, 200_000_000, 400_000_000]
    np.testing.assert_array_equal(frames[2].labels, ids(2))
    assert '/camera/image_raw' in capsys.readouterr().out
    bag.info(tmp_path / 'bag')
    table = capsys.readouterr().out
    assert re.search(r'/camera/labels\s*│ sensor_msgs/msg/Image\s*│\s*1 ', table)
    assert re.search(r'/camera/image_raw\s*│ sensor_msgs/msg/Image\s*│\s*3 │\s*5\.0 ', table)
    assert re.search(r'/camera/condition .* latched', table)


def test_bag_write_of_the_synthetic_drive(tmp_path):
    options = {'conditions': 'fog,night', 'frames': 2, 'seed': 3, 'storage': 'sqlite3'}
    bag.write('synthetic', output=tmp_path / 'bag', **options)
    frames = list(read_bag(tmp_path / 'bag'))
    assert [f.condition for f in frames] == ['fog', 'fog', 'night', 'night']
    expected = StreetDrive(seed=3, condition='night').frame(3)
    np.testing.assert_array_equal(frames[3].image, expected.image)
    np.testing.assert_array_equal(frames[3].labels, expected.labels)
    info = bag_info(tmp_path / 'bag')
    assert info.storage == 'sqlite3'
    assert {t.name: t.count for t in info.topics}['/camera/labels'] == 4


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'source': 'synthetic', 'labels': 'x'}, 'its own labels'),
        ({'source': 'synthetic', 'conditions': 'sleet'}, "'sleet'; choose of day"),
        ({'source': 'synthetic', 'frames': 0}, 'frames is 0'),
        ({'source': 'synthetic', 'fps': 0}, 'fps is 0'),
        ({'source': 'PICTURES', 'seed': 1}, '--seed'),
        ({'source': 'PICTURES', 'conditions': 'day,night'}, 'a single one'),
        ({'source': 'gone'}, 'There is no gone'),
    ],
)
def test_bag_write_refuses_options_that_do_not_apply(pictures, tmp_path, options, message):
    source = options.pop('source').replace('PICTURES', str(pictures))
    with pytest.raises(DgssError, match=message):
        bag.write(source, output=tmp_path / 'bag', **options)
    assert not (tmp_path / 'bag').exists()


def test_a_page_can_be_read_by_others(pictures, bundle, tmp_path):
    """Results are often served by a web server of another user."""
    segment(pictures, output=tmp_path / 'out', bundle=bundle)
    bag.write(str(pictures), output=tmp_path / 'bag')
    for path in (tmp_path / 'out' / 'masks', tmp_path / 'bag'):
        assert path.stat().st_mode & stat.S_IRGRP
