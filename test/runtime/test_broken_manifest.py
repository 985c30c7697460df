"""Every broken manifest ends in one sentence, through the command as well."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_core.runtime.bundle import MANIFEST, Bundle
from dgss_core.runtime.bundle.writing import update_manifest
from dgss_core.runtime.manifest import Manifest, SourceStatistics

BAD_NAMES = ['', '\x1b[31mred', 'two\nlines', 'probe@1453812b\x00', 'x' * 10_000, '\ud800', 3]
HUGE = 1e308 * 10


def text_of(bundle: Bundle) -> str:
    return (bundle.folder / MANIFEST).read_text()


def refused(bundle: Bundle, text: str, capsys: pytest.CaptureFixture) -> str:
    """The sentence with which `dgss bundle info` refuses a bundle with this manifest."""
    (bundle.folder / MANIFEST).write_text(text, errors='surrogatepass')
    assert main(['bundle', 'info', '--bundle', str(bundle.folder)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith('dgss: error: ')
    assert captured.err.count('\n') == 1
    assert len(captured.err) < 1000
    assert captured.err.rstrip().isprintable()
    return captured.err


TEXTS: dict[str, Callable[[str], str]] = {
    'nested lists': lambda _: '[' * 100_000,
    'nested objects': lambda _: '{"a":' * 100_000,
    'a nested field': lambda text: text.replace('"Apache-2.0"', '[' * 99 + ']' * 99),
    'a long number': lambda text: text.replace('"height": 48', f'"height": {"9" * 5000}'),
    'an infinite number': lambda text: text.replace('"height": 48', '"height": 1e999'),
    'NaN': lambda text: text.replace('"height": 48', '"height": NaN'),
    'a key twice': lambda text: text.replace('"height": 48', '"height": 48, "height": 48'),
    'many characters': lambda text: text.replace('"Apache-2.0"', f'"{"x" * (20 << 20)}"'),
    'no object': lambda _: '[]',
    'null': lambda _: 'null',
    'nothing': lambda _: '',
}


@pytest.mark.parametrize('kind', TEXTS)
def test_a_text_that_is_no_manifest(
    probe_bundle: Bundle, capsys: pytest.CaptureFixture, kind: str
) -> None:
    text = text_of(probe_bundle)
    assert TEXTS[kind](text) != text
    assert MANIFEST in refused(probe_bundle, TEXTS[kind](text), capsys)


def test_a_manifest_that_is_too_large_to_read(
    probe_bundle: Bundle, capsys: pytest.CaptureFixture
) -> None:
    os.truncate(probe_bundle.folder / MANIFEST, 40 << 30)  # takes no room on the disk
    assert main(['bundle', 'info', '--bundle', str(probe_bundle.folder)]) == 2
    error = capsys.readouterr().err
    assert error.count(MANIFEST) == 1
    assert error.endswith('bytes, 16777216 may be); copy or export the bundle again.\n')


def of_labels(change: Callable[[dict], object]) -> Callable[[dict], dict]:
    def changed(data: dict) -> dict:
        change(data['label_set'])
        return {'label_set': data['label_set']}

    return changed


def of_label(**values: Any) -> Callable[[dict], dict]:
    return of_labels(lambda label_set: label_set['labels'][0].update(values))


def source(**changes: Any) -> dict:
    values = {'frames': 2, 'mean': {'image': [0.5]}, 'std': {'image': [0.1]}}
    return {'source': values | changes}


FIELDS: list[Callable[[dict], dict] | dict] = [
    *({'name': name} for name in BAD_NAMES),
    *({'producer': text} for text in ('\x1b[2J', '\ud800', 'x' * 100_000, None)),
    *({'licence': text} for text in ('\x07', ['MIT'])),
    *({'training_data': data} for data in (3, {}, ['GTA', '\x00'], [['GTA']])),
    *({'metrics': data} for data in ('good', None, {'mIoU': {'a': 1}}, {'\x1b[31m': 1.0})),
    *({'origin': data} for data in (3, [], {'a': 3}, {'\x1b': 'a'}, {'a': '\x1b[2J'}, None)),
    *({'schema': value} for value in (True, 1.0, '1', None, [1])),
    *({'height': value} for value in (1e300, '48', 48.0, -48, 10**30)),
    *({'mean': value} for value in ([True, 0, 0], ['0', 0, 0], [1e31, 0, 0], None)),
    *({'std': value} for value in ([0, 1, 1], [-1, 1, 1])),
    *({'precision': value} for value in (['fp32'], {}, None)),
    {'files': {'x' * 5000: '0' * 64}},
    *({'files': {path: '0' * 64}} for path in ('a/' * 2000 + 'a', 'a\x00', './a', 'a//b')),
    *({'network': path} for path in ('model.onnx\x00', '.', 'x' * 5000)),
    *(of_label(name=name) for name in BAD_NAMES),
    *(of_label(id=value) for value in (0.9, ' 0 ', HUGE, True, None)),
    *(of_label(color=value) for value in ([0, 0, 0.5], [0, 0, True], '#ff0000', [0, 0], None)),
    *(of_labels(lambda each, n=name: each.update(name=n)) for name in BAD_NAMES),
    *(of_labels(lambda each, v=value: each.update(subsets=v)) for value in (None, [], {'a': 3})),
    of_labels(lambda each: each.update(subsets={'a': ['nothing']})),
    *(
        of_labels(lambda each, v=value: each.update(merges=v))
        for value in ([1], {'a': 3}, {'a': {'b': 3}})
    ),
    *(of_labels(lambda each, v=value: each.update(labels=v)) for value in (None, {}, 'road', [3])),
    *(source(std={'image': [value]}) for value in (-0.1, '0.1', True, 1e31)),
    *(source(mean=value) for value in ({'image': 3}, {'image': {}}, [], None)),
    *(source(frames=value) for value in (2.0, True, 0, '2')),
    {'source': [1]},
    {'surprise' * 1000: 1},
]


@pytest.mark.parametrize('index', range(len(FIELDS)))
def test_a_wrong_value(probe_bundle: Bundle, capsys: pytest.CaptureFixture, index: int) -> None:
    data, change = json.loads(text_of(probe_bundle)), FIELDS[index]
    changes = change(data) if callable(change) else change
    # json writes infinity in its own way, which is no JSON.
    refused(probe_bundle, json.dumps(data | changes), capsys)


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (
            lambda data: data['label_set']['labels'][3].update(id='3'),
            "label_set, labels: {'color': [102, 102, 156], 'id': '3', 'name': 'wall'};",
        ),
        (lambda data: data['label_set'].update(name=''), "label_set: {'name': ''};"),
        (
            lambda data: data.update(files={'a.txt': '0' * 64, 'b.txt': '1'}),
            "files: {'b.txt': '1'};",
        ),
        (lambda data: data.update(training_data=['GTA', 3]), 'training_data: 3;'),
        (lambda data: data.update(metrics={'a': 1, 'b': '2'}), "metrics: {'b': '2'};"),
        (lambda data: data.update(mean=[0, 0, '0']), "mean: [0, 0, '0'];"),
    ],
)
def test_only_the_wrong_entry_is_shown(probe_bundle: Bundle, change, sentence: str) -> None:
    data = json.loads(text_of(probe_bundle))
    change(data)
    with pytest.raises(DgssError, match=re.escape(f'it has an unusable value for {sentence}')):
        Manifest.from_json(json.dumps(data), 'it')


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('[]', 'holds [] in place of the fields of a manifest; copy or export the bundle again.'),
        ('{}', 'has no schema and this version reads schema 1; export'),
        (b'\xe9', 'save it as UTF-8.'),
    ],
)
def test_what_is_no_manifest_has_a_remedy(
    probe_bundle: Bundle, capsys: pytest.CaptureFixture, text: str | bytes, sentence: str
) -> None:
    (probe_bundle.folder / MANIFEST).write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    assert main(['bundle', 'info', '--bundle', str(probe_bundle.folder)]) == 2
    assert sentence in capsys.readouterr().err


def test_names_in_brackets_are_shown_as_they_are(
    probe_bundle: Bundle, capsys: pytest.CaptureFixture
) -> None:
    update_manifest(probe_bundle, name='probe [/red]', producer='[/x] of [bold]us')
    command = ['bundle', 'info', '--backend', 'onnxruntime', '--bundle', str(probe_bundle.folder)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert 'probe [/red]@' in printed
    assert '[/x] of [bold]us' in printed


def test_the_network_is_not_listed_a_second_time(probe_bundle: Bundle) -> None:
    """The second checksum would be compared, and the first one be shown."""
    data = json.loads(text_of(probe_bundle))
    data['files'] = {'model.onnx': data['sha256']}
    with pytest.raises(DgssError, match='unusable value for files'):
        Manifest.from_json(json.dumps(data), 'it')


def test_a_manifest_that_could_not_be_opened_is_not_written(probe_bundle: Bundle) -> None:
    before = text_of(probe_bundle)
    with pytest.raises(DgssError, match='NaN is not a finite number'):
        update_manifest(probe_bundle, metrics={'mIoU': float('nan')})
    bad = SourceStatistics(2, {'image': (0.5,)}, {'image': (-1.0,)})
    with pytest.raises(DgssError, match='holds no source statistics'):
        update_manifest(probe_bundle, source=bad)
    assert text_of(probe_bundle) == before
