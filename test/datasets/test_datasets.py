from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from miniature import (
    AS_TRAIN_IDS,
    COPIES,
    HEIGHT,
    MAPILLARY_HRDA,
    MAPILLARY_REIN,
    WIDTH,
    columns,
    gta_palette,
    indexed,
    picture,
    write_folder,
    write_zips,
)

from dgss_core.datasets import DATASETS, Synthetic, build_dataset
from dgss_core.datasets.label_map import label_map
from dgss_core.datasets.layout import load_layout
from dgss_core.datasets.registry import takes_protocol_map
from dgss_core.errors import DgssError
from dgss_core.images.label_files import decode_ids
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.synthetic import CONDITIONS

EXPECTED = {
    # dataset: split, condition of the first frame, names, train id per column
    'gta5': ('all', 'day', ['00001', '00002'], (0, 1, 2, 13, 255, 255, 18, 18)),
    'synthia': ('all', 'day', ['0000000', '0000001'], (0, 1, 2, 13, 255, 255, 18, 18)),
    'urbansyn': ('all', 'day', ['0001'], AS_TRAIN_IDS),
    'cityscapes': ('val', 'day', ['lindau_000000_000019'], AS_TRAIN_IDS),
    'bdd100k': ('train', 'day', ['0a0a0b1a'], AS_TRAIN_IDS),
    'mapillary': ('val', 'day', ['-1tp'], MAPILLARY_HRDA),
    'mapillary_v2': ('val', 'day', ['-1tp'], MAPILLARY_HRDA),
    'acdc': ('val', 'fog', None, AS_TRAIN_IDS),
    'dark_zurich': ('val', 'night', ['GOPR0356_frame_000321'], AS_TRAIN_IDS),
    'idd': ('train', 'day', ['0_000001', '201_000001'], (0, 1, 2, 13, 255, 255, 255, 18)),
    'kitti': ('train', 'day', ['000000_10'], AS_TRAIN_IDS),
    'camvid': ('train', 'dusk', ['0001TP_006690'], (3, 4, 1, 8, 255, 255, 255, 10)),
}  # fmt: skip


def test_every_dataset_has_a_miniature() -> None:
    assert {*COPIES} == {*EXPECTED} == {*DATASETS} - {'generated', 'synthetic', 'unlabelled'}


@pytest.mark.parametrize('form', ['folder', 'nested', 'zips'])
@pytest.mark.parametrize('name', COPIES)
def test_reads_the_true_layout(name: str, form: str, tmp_path: Path) -> None:
    files = COPIES[name]()
    if form == 'zips':
        root = write_zips(name, files, tmp_path / 'downloads')
    else:
        write_folder(files, tmp_path / ('a/b' if form == 'nested' else ''))
        root = tmp_path
    split, condition, names, ids = EXPECTED[name]
    dataset = build_dataset(name, root, split)
    samples = [dataset[i] for i in range(len(dataset))]
    assert names is None or [sample.name for sample in samples] == names
    assert samples[0].condition == condition
    for index, sample in enumerate(samples):
        assert sample.image.shape == (HEIGHT, WIDTH, 3)
        assert sample.image[0, 0].tolist() == pytest.approx([200, 0, 0], abs=4)
        assert np.array_equal(sample.labels, columns(*ids))
        assert np.array_equal(sample.labels, dataset.labels(index))


def test_mapillary_has_both_label_maps() -> None:
    layout, (entry, *_) = load_layout('mapillary'), load_layout('mapillary').split('val').labels
    published = {
        'mapillary_hrda': {
            0: (13, 24, 41), 1: (2, 15), 2: (17,), 3: (6,), 4: (3,), 5: (45, 47), 6: (48,),
            7: (50,), 8: (30,), 9: (29,), 10: (27,), 11: (19,), 12: (20, 21, 22), 13: (55,),
            14: (61,), 15: (54,), 16: (58,), 17: (57,), 18: (52,),
        },
        'mapillary_rein': {
            0: (7, 8, 10, 13, 14, 23, 24), 1: (2, 9, 11, 15), 2: (17,), 3: (6,), 4: (3,),
            5: (44, 45, 47), 6: (48,), 7: (46, 49, 50), 8: (30,), 9: (29,), 10: (27,), 11: (19,),
            12: (20, 21, 22), 13: (55,), 14: (61,), 15: (54,), 16: (58,), 17: (57,), 18: (52,),
        },
    }  # fmt: skip
    for name, classes in published.items():
        table = label_map(entry, name, layout.label_set, None).table
        assert {c: tuple(np.flatnonzero(table == c)) for c in range(19)} == classes
        assert (table == 255).sum() == 67 - sum(map(len, classes.values()))


@pytest.mark.parametrize('name', ['mapillary', 'mapillary_v2'])
def test_a_title_names_its_label_map(name: str, tmp_path: Path) -> None:
    root = write_folder(COPIES[name](), tmp_path)
    rein = build_dataset(name, root, 'val', mapping='mapillary_rein')
    assert np.array_equal(rein[0].labels, columns(*MAPILLARY_REIN))
    assert 'val, map mapillary_rein, 1 frame' in rein.title
    assert 'map mapillary_hrda' in build_dataset(name, root, 'val').title
    assert rein.fingerprint != build_dataset(name, root, 'val').fingerprint
    with pytest.raises(DgssError, match="no label map 'rhein'; use one of mapillary_hrda"):
        build_dataset(name, root, 'val', mapping='rhein')


def test_version_1_2_is_found_inside_a_copy_of_2_0(tmp_path: Path) -> None:
    root = write_folder(COPIES['mapillary_v2'](), tmp_path)
    assert np.array_equal(build_dataset('mapillary', root, 'val')[0].labels[0], MAPILLARY_HRDA)


def test_acdc_by_condition_and_its_clear_frames(tmp_path: Path) -> None:
    root = write_folder(COPIES['acdc'](), tmp_path)
    assert len(build_dataset('acdc', root, 'val')) == 4
    night = build_dataset('acdc', root, 'val', condition='night')
    assert [night[i].condition for i in range(len(night))] == ['night']
    assert night.title == 'ACDC val, night, 1 frame'
    clear = build_dataset('acdc', root, 'train_ref', labelled=False)
    assert {clear[i].condition for i in range(len(clear))} == {'day'}
    assert (clear[0].labels == IGNORE).all()
    with pytest.raises(DgssError, match="no frames of the condition 'dusk'"):
        build_dataset('acdc', root, 'val', condition='dusk')
    with pytest.raises(DgssError, match='not public'):
        build_dataset('acdc', root, 'test')
    assert len(build_dataset('acdc', root, 'test', labelled=False)) == 4


def test_dark_zurich_trains_without_labels(tmp_path: Path) -> None:
    root = write_folder(COPIES['dark_zurich'](), tmp_path)
    train = build_dataset('dark_zurich', root, 'train', labelled=False)
    assert sorted(train[i].condition for i in range(len(train))) == ['day', 'dusk']


def test_images_without_labels(tmp_path: Path) -> None:
    root = write_folder(COPIES['bdd100k'](), tmp_path / 'bdd')
    assert len(build_dataset('bdd100k', root, 'train')) == 1
    assert len(build_dataset('bdd100k', root, 'train', labelled=False)) == 2
    files = COPIES['gta5']()
    del files['labels/00002.png']
    root = write_folder(files, tmp_path / 'gta5')
    with pytest.raises(DgssError, match=r'1 of 2 frames .* no labels, the first is images/00002'):
        build_dataset('gta5', root)
    (tmp_path / 'good.txt').write_text('00001.png\n')
    assert len(build_dataset('gta5', root, listing=tmp_path / 'good.txt')) == 1
    (tmp_path / 'good.txt').write_text('00001\n00007\n')
    with pytest.raises(DgssError, match=r'names 1 of 2 frames .* \(00007\)'):
        build_dataset('gta5', root, listing=tmp_path / 'good.txt')


def test_gta5_labels_of_another_size_are_stretched(tmp_path: Path) -> None:
    files = COPIES['gta5']()
    files['labels/00001.png'] = indexed(columns(7)[:3], gta_palette())
    assert build_dataset('gta5', write_folder(files, tmp_path))[0].labels.shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize('depth', [1, 2, 4, 8])
def test_palette_files_give_indices_at_every_depth(depth: int) -> None:
    ids = columns(0, 1, *(n % 2**depth for n in range(2, 8)))
    same = np.zeros((2**depth, 3))
    assert np.array_equal(decode_ids(indexed(ids, same, depth)), ids)


def test_a_folder_of_your_own_through_yaml(tmp_path: Path) -> None:
    write_folder({
        'frames/left/a/1.png': picture(),
        'marks/left/a/1.png': indexed(columns(1, 0), gta_palette()),
        'classes.yaml': b'name: farm\nlabels:\n- {id: 0, name: row, color: [1, 2, 3]}\n'
                        b'- {id: 1, name: crop, color: [4, 5, 6]}\n',
    }, tmp_path)  # fmt: skip
    own = tmp_path / 'farm.yaml'
    own.write_text(
        'label_set: classes.yaml\nimages: frames/{path}.png\nlabels: marks/{path}.png\n'
        'frame_name: "{path}"\ncondition: fog\n'
    )
    sample = build_dataset(own, tmp_path)[0]
    assert (sample.name, sample.condition) == ('left/a/1', 'fog')
    assert sample.labels[0].tolist() == [1] + [0] * 7
    own.write_text(
        own.read_text().replace(
            'marks/{path}.png', '{path: "marks/{path}.png", ids: {0: crop}, highest: 1}'
        )
    )
    assert build_dataset(own, tmp_path)[0].labels[0].tolist() == [255] + [1] * 7
    for text, says in (
        ('label_set: classes.yaml\nimages: a\nlabels: {path: b, chanel: red}\n', 'chanel'),
        ('label_set: classes.yaml\nimages: a\nlabels: b\n', '{name} goes by name'),
        ('label_set: classes.yaml\nimages: "{name}"\nlabels: b\ncondition: mist\n', 'mist'),
        ('images: "{name}"\nlabels: "{name}"\n', 'does not describe a dataset'),
        ('label_set: classes.yaml\nimages: a\n', 'labels'),
        ('label_set: classes.yaml\nimages: a\nlabels: b\nlable: c\n', 'says lable'),
        ('{', 'not readable as YAML'),
        ('- a\n', 'does not describe a dataset'),
        ('label_set: classes.yaml\nimages: "{name}.png"\nlabels: "{nome}.png"\n', 'nome'),
    ):  # fmt: skip
        own.write_text(text)
        with pytest.raises(DgssError, match=says):
            build_dataset(own, tmp_path)


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ('splits: [train]', "splits of the dataset cannot be .'train'"),
        ('splits: {}', 'splits is empty'),
        ('splits: {train: {size: 3}}', "split 'train' has the unknown key size"),
        ('splits: {train: {count: many}}', "count of split 'train' cannot be 'many'"),
        ('sizes: [640, 480]', 'sizes has 640'),
        ('conditions: {drive: night}', "conditions of 'drive'"),
        ('frame_name: "{name"', 'is not a path'),
        ('label_set: 19', 'label_set of the dataset cannot be 19'),
        ('labels: {map: cityscapes}', 'None is not a path'),
        ('labels: {path: b, channel: green}', r"a dataset: channel is 'green', .*; correct it"),
        ('labels: {path: b, ids: {0: no}}', r'a name belong; False is no text, .* in quotes'),
        ('labels: {path: b, colors: {on: [1, 2, 3]}}', r'belong; True is no text, .* in quotes'),
        ('labels: {path: b, classes: [a, 1]}', r'255 names; 1 is no text, .* in quotes'),
    ],
)
def test_wrong_content_of_a_dataset_file_is_named(change: str, says: str, tmp_path: Path) -> None:
    content = yaml.safe_load('{label_set: cityscapes19, images: "{name}", labels: "{name}"}')
    path = tmp_path / 'own.yaml'
    path.write_text(yaml.safe_dump(content | yaml.safe_load(change)))
    with pytest.raises(DgssError, match=says):
        load_layout(path)


def test_a_bug_is_not_reported_as_wrong_content(monkeypatch) -> None:
    def broken(name: object) -> None:
        raise AttributeError('a bug')

    monkeypatch.setattr(LabelSet, 'load', broken)
    with pytest.raises(AttributeError, match='a bug'):
        load_layout('kitti')


def test_only_mapillary_takes_the_map_of_the_protocol() -> None:
    taking = [name for name in DATASETS if takes_protocol_map(name)]
    assert taking == ['mapillary', 'mapillary_v2']
    with pytest.raises(DgssError, match="no dataset 'gta6'"):
        takes_protocol_map('gta6')


def test_wrong_arguments_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DgssError, match=r'no dataset .gta6.; use one of acdc.*synthetic'):
        build_dataset('gta6', tmp_path)
    with pytest.raises(DgssError, match='gta5 needs a root'):
        build_dataset('gta5')
    with pytest.raises(DgssError, match=r'There is no .*nowhere'):
        build_dataset('gta5', tmp_path / 'nowhere')
    root = write_folder(COPIES['cityscapes'](), tmp_path)
    with pytest.raises(DgssError, match="no split 'trian'; use one of train, val, test"):
        build_dataset('cityscapes', root, 'trian')
    with pytest.raises(DgssError, match='colour'):
        build_dataset('cityscapes', root, colour='red')
    with pytest.raises(DgssError, match="no split 'night'"):
        build_dataset('synthetic', split='night')


def test_the_subsets_of_synthia() -> None:
    label_set = LabelSet.load('cityscapes19')
    missing = {
        name: {label_set.names[i] for i in range(19) if i not in ids}
        for name, ids in label_set.subsets.items()
    }
    assert missing['synthia16'] == {'terrain', 'truck', 'train'}
    assert missing['synthia13'] == missing['synthia16'] | {'wall', 'fence', 'pole'}


def test_the_shared_copies_are_whole(shared: Path) -> None:
    root = shared / 'data/camvid'
    sizes = {
        split: len(build_dataset('camvid', root, split))
        for split in ('day_train', 'day_val', 'day_test', 'dusk')
    }
    assert sizes == {'day_train': 305, 'day_val': 101, 'day_test': 171, 'dusk': 62}
    sample = build_dataset('camvid', root, 'dusk')[0]
    assert sample.image.shape == (360, 480, 3)
    assert sample.condition == 'dusk'
    assert set(np.unique(sample.labels)) <= {*range(11), IGNORE}
    kitti = build_dataset('kitti', shared / 'data/kitti')
    assert len(kitti) == 200
    assert set(np.unique(kitti[0].labels)) <= {*range(19), IGNORE}


def test_the_drive_takes_the_conditions_in_turn() -> None:
    drive = Synthetic(seeds=(4, 5), frames=6, width=64, height=36)
    conditions = [drive[index].condition for index in range(len(drive))]
    assert sorted(conditions[:6]) == sorted(conditions[6:]) == sorted(CONDITIONS)
    assert conditions[0] != conditions[6]
    again = Synthetic(seeds=(4, 5), frames=6, width=64, height=36)[7]
    assert np.array_equal(drive[7].image, again.image)
    assert np.array_equal(drive.labels(7), again.labels)
    with pytest.raises(IndexError):
        drive[12]
    val, train = (build_dataset('synthetic', split=s, frames=2) for s in ('val', 'train'))
    assert not {*val.seeds} & {*train.seeds}
    assert val.fingerprint != train.fingerprint
