from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE, LabelSet

CITYSCAPES, CAMVID = LabelSet.load('cityscapes19'), LabelSet.load('camvid11')


def test_cityscapes_has_the_published_train_ids() -> None:
    assert len(CITYSCAPES) == 19
    assert CITYSCAPES.names[:3] == ('road', 'sidewalk', 'building')
    assert [CITYSCAPES.names[i] for i in (10, 13, 18)] == ['sky', 'car', 'bicycle']
    assert CITYSCAPES.colors[0].tolist() == [128, 64, 128]
    assert CITYSCAPES.colors[IGNORE].tolist() == [0, 0, 0]


def test_merge_into_camvid() -> None:
    table = CITYSCAPES.merge_to(CAMVID)
    into = {
        name: CAMVID.names[table[label.id]]
        for name, label in zip(CITYSCAPES.names, CITYSCAPES.labels, strict=True)
    }
    assert {name for name, target in into.items() if target == 'car'} == {
        'car', 'truck', 'bus', 'train'
    }  # fmt: skip
    assert into['rider'] == into['motorcycle'] == 'bicyclist'
    assert into['terrain'] == 'tree'
    assert into['traffic light'] == 'signsymbol'
    assert into['wall'] == 'fence'
    assert set(table[19:]) == {IGNORE}


def test_merging_to_cityscapes_and_back_keeps_camvid() -> None:
    there, back = CAMVID.merge_to(CITYSCAPES), CITYSCAPES.merge_to(CAMVID)
    assert np.array_equal(back[there[:11]], np.arange(11))


def test_equal_sets_merge_by_identity() -> None:
    assert np.array_equal(CITYSCAPES.merge_to(CITYSCAPES)[:19], np.arange(19))


def write(path: Path, **changes: object) -> Path:
    data = CAMVID.to_dict() | {'name': 'mine'} | changes
    path.write_text(yaml.safe_dump(data))
    return path


def test_a_custom_set_comes_from_yaml_and_back(tmp_path: Path) -> None:
    mine = LabelSet.load(write(tmp_path / 'mine.yaml'))
    assert mine.names == CAMVID.names
    assert LabelSet.from_dict(mine.to_dict()) == mine


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'labels': [{'id': 1, 'name': 'a', 'color': [0, 0, 0]}]}, 'must number its labels'),
        ({'labels': []}, '0 labels'),
        ({'labels': [{'id': 0, 'name': 'a', 'color': [0, 0, 300]}]}, 'needs a colour'),
        ({'labels': [{'id': 0, 'color': [0, 0, 0]}]}, "is not a label set .it has no 'name'"),
        ({'labels': 7}, 'is not a label set .there is 7 where a list must be'),
        ({'labels': [7]}, 'there is 7 where keys with their values must be'),
        ({'labels': None}, 'there is nothing where a list must be'),
        ({'labels': [{'id': 0, 'name': 'a', 'color': [1, 2]}]}, 'has not three values'),
        ({'merges': {'b': None}}, 'there is nothing where keys with their values must be'),
        ({'subsets': {'b': 7}}, 'there is 7 where a list must be'),
    ],
)
def test_a_wrong_set_is_refused_with_the_reason(tmp_path: Path, changes: dict, says: str) -> None:
    with pytest.raises(DgssError, match=says):
        LabelSet.load(write(tmp_path / 'mine.yaml', **changes))


@pytest.mark.parametrize(
    ('text', 'says'),
    [('', 'there is nothing where keys'), ('- a', r"there is \['a'\] where keys")],
)
def test_a_file_of_another_form_is_refused_with_the_reason(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / 'other.yaml'
    path.write_text(text)
    with pytest.raises(DgssError, match=f'is not a label set .{says}'):
        LabelSet.load(path)


def with_label(**changes: object) -> dict[str, object]:
    return {'labels': [{'id': 0, 'name': 'a', 'color': [0, 0, 0]} | changes]}


@pytest.mark.parametrize(
    'changes',
    [
        {'name': ['nested', ['more']]},
        {'name': {'a': 1}},
        {'name': None},
        {'name': ''},
        {'name': 'a' * 1000},
        {'name': 'red\x1b[31m'},
        {'name': 'two\nlines'},
        with_label(name=['a']),
        with_label(name=7),
        with_label(name='\u202e'),
        with_label(id='0'),
        with_label(id=True),
        with_label(id=0.5),
        with_label(id=float('inf')),
        with_label(id=float('nan')),
        with_label(id=10**400),
        with_label(id=[0]),
        with_label(color=[0, 0]),
        with_label(color=[0, 0, float('inf')]),
        with_label(color=[0, 0, 'ff']),
        with_label(color=None),
        with_label(color=7),
        {'labels': ['a']},
        {'labels': {'a': 1}},
        {'labels': None},
        {'subsets': 7},
        {'subsets': {'s': None}},
        {'subsets': {'s': ['nothing']}},
        {'subsets': {7: ['sky']}},
        {'merges': 7},
        {'merges': {'camvid11': ['sky']}},
        {'merges': {'camvid11': {'sky': 7}}},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_value_of_the_wrong_kind_is_refused(changes: dict) -> None:
    with pytest.raises(DgssError, match=r'mine|camvid11') as caught:
        LabelSet.from_dict(CAMVID.to_dict() | changes, 'mine')
    assert len(str(caught.value)) < 500
    assert '\n' not in str(caught.value)


def test_empty_sections_are_no_sections() -> None:
    assert LabelSet.from_dict(CAMVID.to_dict() | {'subsets': None, 'merges': None}).merges == {}


def test_a_set_of_nested_aliases_is_refused(tmp_path: Path) -> None:
    """A kilobyte whose name would be ten thousand million texts."""
    lines = ['a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]']
    for level in range(1, 10):
        lines.append(f'a{level}: &a{level} [{", ".join([f"*a{level - 1}"] * 10)}]')
    path = tmp_path / 'bomb.yaml'
    path.write_text('\n'.join([*lines, 'name: *a9', 'labels: []']))
    with pytest.raises(DgssError, match=r'bomb\.yaml is not readable as YAML: .* aliases'):
        LabelSet.load(path)


def test_a_name_that_is_no_path_is_refused() -> None:
    for name in ('a\0b', 'x' * 100_000):
        with pytest.raises(DgssError, match='There is no label set') as caught:
            LabelSet.load(name)
        assert len(str(caught.value)) < 300


def test_unknown_names_and_missing_merges_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DgssError, match='camvid11, cityscapes19'):
        LabelSet.load('cityscape')
    small = [{'id': 0, 'name': 'lane', 'color': [1, 2, 3]}]
    lanes = LabelSet.load(write(tmp_path / 'lanes.yaml', labels=small, merges={}))
    with pytest.raises(DgssError, match=r'says nothing about .* add a merges: .* its YAML file'):
        CITYSCAPES.merge_to(lanes)
    with pytest.raises(DgssError, match=r'says nothing about .*; ask for another'):
        CITYSCAPES.merge_to(lanes, 'ask for another')
    typo = write(tmp_path / 'typo.yaml', labels=small, merges={'camvid11': {'lane': 'raod'}})
    with pytest.raises(DgssError, match='raod'):
        LabelSet.load(typo).merge_to(CAMVID)


def made(*names: object, count: int = 0) -> LabelSet:
    known = [*names, *(f'class{i}' for i in range(count))]
    labels = [{'id': i, 'name': name, 'color': [0, 0, 0]} for i, name in enumerate(known)]
    return LabelSet.from_dict({'name': 'own', 'labels': labels}, 'own.yaml')


def test_a_name_that_yaml_reads_as_something_else_is_refused():
    with pytest.raises(DgssError, match=r'own\.yaml names a class False.*in quotes'):
        made('road', False)
    with pytest.raises(DgssError, match='names a class 3'):
        made(3)


def test_254_marks_unknown_ids_and_is_no_class():
    assert len(made(count=254)) == 254
    with pytest.raises(DgssError, match='give 1 to 254'):
        made(count=255)


def test_equal_names_merge_in_any_order():
    table = made('a', 'b', 'c').merge_to(made('c', 'a', 'b'))
    assert table[:4].tolist() == [1, 2, 0, 255]


def test_the_set_in_the_docs_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / 'docs/label-sets.md').read_text()
    (tmp_path / 'yard3.yaml').write_text(text.split('```yaml\n')[1].split('```')[0])
    yard = LabelSet.load(tmp_path / 'yard3.yaml')
    assert yard.names == ('drivable', 'obstacle', 'off')
    assert yard.subsets == {'dynamic': (1,)}
    assert yard.merge_to(CAMVID)[0] == CAMVID.names.index('road')


def test_254_classes_at_most(tmp_path: Path) -> None:
    def written(count: int) -> Path:
        labels = [{'id': i, 'name': f'c{i}', 'color': [i, 0, 0]} for i in range(count)]
        (tmp_path / 'many.yaml').write_text(yaml.safe_dump({'name': 'many', 'labels': labels}))
        return tmp_path / 'many.yaml'

    assert len(LabelSet.load(written(254))) == 254
    with pytest.raises(DgssError, match='has 255 labels; give 1 to 254'):
        LabelSet.load(written(255))


def test_two_sets_of_one_name_are_told_apart() -> None:
    first, second = made('a', 'b'), made('a', 'c', 'd')
    with pytest.raises(DgssError) as caught:
        first.merge_to(second)
    assert str(caught.value) == (
        "Two different label sets are named 'own' (2 and 3 classes, only one has 'b', only one "
        "has 'c', 'd'); name them differently."
    )
    assert 'merges' not in str(caught.value)
    assert made('a', 'b').merge_to(made('b', 'a'))[:2].tolist() == [1, 0]
