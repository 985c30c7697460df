from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dgss_core.documents import load_json, load_yaml, read_json, read_yaml
from dgss_core.errors import DgssError


def bomb(levels: int, of: str = '[{}]', merged: str = '') -> str:
    """YAML whose last key holds 9**levels values, and is a few hundred bytes long."""
    lines = ['k0: &k0 {a: 0, b: 0}']
    for level in range(1, levels):
        aliases = ', '.join([f'*k{level - 1}'] * 9)
        lines.append(f'k{level}: &k{level} ' + (merged or of).format(aliases))
    return '\n'.join(lines)


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        (bomb(9), 'more than 100000 values'),
        (bomb(9, merged='{{<<: [{}]}}'), 'more than 100000 values'),
        ('[' * 900 + ']' * 900, 'deeper than 64 levels'),
        ('a: ' * 2 + 'b', 'mapping values'),
        ('\n'.join(f'k{n}: &k{n} [*k{n - 1}]' if n else 'k0: &k0 1' for n in range(99)), 'deeper'),
        ('&a [*a]', 'holds itself'),
        ('{&a a: {b: *c}}', 'alias'),
        ('a: 1\na: 2', "the key 'a' is given twice"),
        ('1: a\n0x1: b', 'the key 1 is given twice'),
        ('? [a, b]\n: c', 'a key is a list'),
        ('!!python/object/apply:os.system [ls]', 'constructor for the tag'),
        ('!!python/name:os.system ""', 'constructor for the tag'),
        ('!!binary aGk=', 'constructor for the tag'),
        ('!!set {a}', 'constructor for the tag'),
        ('!!int ""', 'not readable as YAML'),
        ('!!bool maybe', 'not readable as YAML'),
        ('.inf', 'not a finite number'),
        ('a: [1, {b: .nan}]', 'not a finite number'),
        ('1e999', 'not a finite number'),
        ('9' * 5000, 'a number has 5000 characters'),
        ('0x' + 'f' * 500 + ': a', 'a number has 502 characters'),
        ('"a\\0b"', 'holds U+0000, which no text can hold'),
        ('---\na\n---\nb', 'single document'),
        ('a: x\n' * 300_000, 'longer than 1 MiB'),
        (b'\xff\xfe', 'not UTF-8'),
    ],
    ids=range(25),
)
def test_yaml_that_is_refused(text: str | bytes, says: str) -> None:
    with pytest.raises(DgssError, match=r'^file\.yaml is') as caught:
        load_yaml(text, 'file.yaml')
    assert says in str(caught.value)
    assert len(str(caught.value)) < 500
    assert '\n' not in str(caught.value)


def test_yaml_that_nests_without_end_is_refused() -> None:
    # Newer LibYAML has a limit of its own.
    with pytest.raises(DgssError, match=r'^file\.yaml is .*(nesting depth|deeper than 64 levels)'):
        load_yaml('[' * 90_000, 'file.yaml')


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('[' * 100_000, 'deeper than 64 levels'),
        ('[' * 65 + ']' * 65, 'deeper than 64 levels'),
        ('{"a": 1, "b": 1, "a": 2}', "the key 'a' is given twice"),
        ('NaN', 'not a finite number'),
        ('[-Infinity]', 'not a finite number'),
        ('{"a": 1e999}', 'not a finite number'),
        ('9' * 5000, 'a number has 5000 characters'),
        (r'"\ud800"', 'holds U+D800, which no text can hold'),
        (r'{"a\u0000": 1}', 'holds U+0000, which no text can hold'),
        ('', 'Expecting value'),
        (b'\xff', 'not UTF-8'),
        (b' ' * ((1 << 25) + 1), 'longer than 32 MiB'),
    ],
    ids=range(12),
)
def test_json_that_is_refused(text: str | bytes, says: str) -> None:
    with pytest.raises(DgssError, match=r'^file\.json is') as caught:
        load_json(text, 'file.json')
    assert says in str(caught.value)


def test_what_a_document_may_hold() -> None:
    text = 'a: [1, -2.5, 1e-3, yes, null, "", 2020-01-01]\n7: &b {c: 0x10}\nd: {<<: *b, c: .5}\n'
    assert load_yaml(text, '') == {
        'a': [1, -2.5, 0.001, True, None, '', '2020-01-01'],
        7: {'c': 16},
        'd': {'c': 0.5},
    }
    assert load_yaml('', '') is None
    assert load_yaml(b'\xef\xbb\xbfa: 1', '') == {'a': 1}
    assert load_json('\ufeff{"a": [1, 2.5, true, null, "\\u00e9"]}', '') == {
        'a': [1, 2.5, True, None, 'é']
    }
    assert load_json('[' * 60 + ']' * 60, '')


@pytest.mark.parametrize('read', [read_yaml, read_json])
def test_a_file_that_cannot_be_read(read: Callable[[Path], Any], tmp_path: Path) -> None:
    for path in (tmp_path / 'nothing', tmp_path, Path('a\0b')):
        with pytest.raises(DgssError, match='cannot be read'):
            read(path)
    with pytest.raises(DgssError, match='a device, not a file'):
        read(Path('/dev/zero'))


def test_the_work_grows_with_the_size_of_the_text() -> None:
    started = time.process_time()
    plain = load_yaml('\n'.join(f'k{n}: [0, 0]' for n in range(9000)), '')
    seconds = time.process_time() - started
    started = time.process_time()
    with pytest.raises(DgssError):
        load_yaml(bomb(12, merged='{{<<: [{}]}}'), '')
    assert len(plain) == 9000
    assert time.process_time() - started < seconds


@pytest.mark.parametrize('read', [read_yaml, read_json])
@pytest.mark.parametrize(
    ('head', 'says'),
    [
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n', 'git lfs pull'),
        (b'<!DOCTYPE html><html>', 'an HTML page'),
        (b'\x28\xb5\x2f\xfd\0\0', 'zstd -d'),
    ],
)
def test_what_is_no_document_is_named(read, head: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / 'document'
    path.write_bytes(head)
    with pytest.raises(DgssError, match=says):
        read(path)
