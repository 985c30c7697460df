from __future__ import annotations

import pytest

from dgss_core.errors import LISTED, unknown

MANY = [f'encoder-{letter * 3}' for letter in 'abcdefghijklmnopqrstuvwxyz']


@pytest.mark.parametrize(
    ('what', 'name', 'known', 'options', 'says'),
    [
        ('head', 'lite', ['light', 'heavy'], {},
         "There is no head 'lite'; use one of light, heavy."),
        ('encoder', 'encoder-aa', MANY, {},
         "There is no encoder 'encoder-aa'; did you mean encoder-aaa, "),
        ('encoder', '?', MANY, {},
         "There is no encoder '?'; use one of " + ', '.join(MANY) + '.'),
        ('split', 'x', ['train', 'val'], {'owner': 'KITTI'},
         "KITTI has no split 'x'; use one of train, val."),
        ('label set', 'x', ['camvid11'], {'also': ' or the path of a YAML file'},
         'use one of camvid11 or the path of a YAML file.'),
        ('label map', 'x', [], {'owner': 'This dataset'},
         "This dataset has no label map 'x'; leave it out."),
    ],
)  # fmt: skip
def test_an_unknown_name_lists_the_names_to_use(what, name, known, options, says) -> None:
    assert says in str(unknown(what, name, known, **options))


def test_a_long_list_is_cut_to_the_similar_names() -> None:
    assert len(MANY) > LISTED
    message = str(unknown('encoder', 'encoder-aa', MANY))
    assert message.endswith('?')
    assert message.count(',') == 2
