from __future__ import annotations

from pathlib import Path

import pytest

from dgss_core.errors import HEAD, LISTED, missing_error, one_line, unknown, what_it_is, why_not

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


@pytest.mark.parametrize(
    ('head', 'says'),
    [
        (b'', 'empty'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:ab', 'git lfs pull'),
        (b'../../.git/annex/objects/X/y', 'git annex get'),
        (b'/annex/objects/SHA256E-s3--ab.png', 'git annex get'),
        (b'outs:\n- md5: ab\n  path: a.png', 'dvc pull'),
        (b'\n<!DOCTYPE html><html>', 'an HTML page'),
        (b"<?xml version='1.0'?><Error>", 'an XML text'),
        (b'#ROSBAG V2.0\nE', 'rosbags-convert'),
        (b'\x28\xb5\x2f\xfd\xa0', 'zstd -d'),
        (b'\x1f\x8b\x08', 'gunzip'),
        (b'PK\x03\x04', 'unzip'),
        (b'a.txt'.ljust(257, b'\0') + b'ustar', 'tar xf'),
        (b'\0\0\0\x01\x67\x64', 'H.264'),
        (b'\0\0\0\x20ftypisom', 'MP4'),
        (b'Salted__12345678', 'encrypted'),
        (bytes(512), 'never written'),
    ],
)
def test_the_first_bytes_tell_what_a_file_is(head: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / 'file'
    path.write_bytes(head)
    assert says in why_not(path)
    assert what_it_is(head[:HEAD]) == why_not(path)


def test_nothing_is_said_of_what_is_expected_or_unknown(tmp_path: Path) -> None:
    assert what_it_is(b'PK\x03\x04', 'zip', 'png') == ''
    assert what_it_is(b'outsider: 1') == ''
    assert what_it_is(bytes(8)) == ''
    assert why_not(tmp_path) == why_not(tmp_path / 'gone') == why_not(Path('a\0b')) == ''
    assert all(what_it_is(head) == '' for head in (b'a', b'<svg>', b'{"a": 1}', b'version 3'))


def test_a_text_from_outside_is_short_and_harmless() -> None:
    assert one_line('a\n b\t\x1b[31mc') == 'a b \\x1b[31mc'
    assert one_line('a\nb\x07', lines=True) == 'a\nb\\x07'
    cut = one_line('start' + 'x' * 10_000 + 'end')
    assert cut.startswith('start')
    assert cut.endswith('end')
    assert '[10008 characters]' in cut
    assert len(cut) <= 500
    assert len(one_line('x' * 100, 5)) < 30


def test_a_missing_file_is_not_taken_for_a_name() -> None:
    said = str(unknown('label set', 'sets/own.yaml', ['camvid11'], also=' or a file'))
    assert said == "There is no label set file 'sets/own.yaml'; correct the path."


def test_what_is_no_file_is_not_called_missing(tmp_path: Path) -> None:
    told = str(unknown('label set', '/dev/zero', ['a'], also=' or a path'))
    assert told == "'/dev/zero' is a device, not a label set file; correct the path."
    told = str(unknown('label set', str(tmp_path / 'a.yaml'), ['a'], also=' or a path'))
    assert told.startswith('There is no label set file')


def test_what_is_not_there_is_a_dead_link_or_an_address_first(tmp_path: Path) -> None:
    link, loop = tmp_path / 'link', tmp_path / 'loop'
    link.symlink_to('/gone/file')
    loop.symlink_to('loop')
    says = "is a link to '/gone/file', which does not exist; fetch or mount its target."
    for path in (link, link / 'below' / 'it'):
        assert str(missing_error(path, 'No.')) == f'{link} {says}'
    assert str(missing_error(loop, 'No.')).startswith(f'{loop} is a link that leads back')
    assert str(missing_error(tmp_path / 'other', 'No.')) == 'No.'
    for address in ('https://example.com/a.mp4', 'rtsp://camera/1'):
        said = str(missing_error(Path(address), 'No.'))
        assert said.startswith(f'{address} is an address; addresses and streams are not read')
