"""`dgss published bundle` from a small published file to a verified bundle, twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip('torch', reason='converts and exports')
pytest.importorskip('onnx', reason='exports')

from famix_file import FAMIX, as_famix  # noqa: E402

from dgss_core.cli import main  # noqa: E402
from dgss_core.labels import LabelSet  # noqa: E402
from dgss_core.networks.systems import build_system  # noqa: E402
from dgss_core.runtime.bundle import open_bundle  # noqa: E402


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Options of a small FAMix of our own, whose file is in a mirror."""
    torch.manual_seed(0)
    source = tmp_path / 'mirror' / 'small' / 'famix.pth'
    source.parent.mkdir(parents=True)
    state = as_famix(build_system('famix-rn50', **FAMIX).eval().state_dict())
    torch.save({'model_state': state}, source)
    entry = {
        'address': 'https://weights.invalid/famix.pth',
        'system': 'famix-rn50',
        'options': FAMIX,
        'trained_on': ['gta5'],
    }
    own = tmp_path / 'own.yaml'
    own.write_text(yaml.safe_dump({'title': 'ours', 'checkpoints': {'small': entry}}))
    return [
        *('small', '--own', str(own), '--folder', str(tmp_path / 'store'), '--yes'),
        *('--mirror', str(tmp_path / 'mirror'), '--size', '64x64', '--precision', 'fp32'),
    ]


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main(['published', 'bundle', *map(str, arguments)]) == code
    printed = capsys.readouterr()
    return printed.out + printed.err


@pytest.mark.slow
def test_a_rerun_keeps_the_bundle_of_the_same_options_alone(given, tmp_path, capsys) -> None:
    output = tmp_path / 'bundle'
    given += ['--output', str(output)]
    assert 'is ready' in run(capsys, *given)
    manifest = (output / 'manifest.json').read_bytes()
    again = run(capsys, *given)
    assert 'is converted already' in again
    assert 'is that bundle already' in again
    frames = tmp_path / 'frames'
    (frames / 'day').mkdir(parents=True)
    assert '--frames is not applied to it' in run(capsys, *given, '--frames', frames)
    assert (output / 'manifest.json').read_bytes() == manifest

    ours = LabelSet.load('cityscapes19')
    labels = replace(ours, name='ours')
    path = tmp_path / 'ours.yaml'
    path.write_text(yaml.safe_dump(labels.to_dict()))
    refused = run(capsys, *given, '--labels', path, code=2)
    assert 'already exists' in refused
    assert 'is ready' not in refused
    assert (output / 'manifest.json').read_bytes() == manifest
    assert 'is ready' in run(capsys, *given, '--labels', path, '--overwrite')
    assert open_bundle(output).labels == labels


WRONG = {
    'labels': (['--labels', 'none'], 'none'),
    'frames': (['--frames', '.'], 'named after a condition'),
    'no size': (['--size', '64'], '64 is no size'),
    'nothing': (['--size', '0x64'], '0x64 is no size'),
    'too large': (['--size', '64x99999'], 'cannot have 64x99999 pixels'),
    'crops': (['--image_size', '512'], 'is in its file; leave it out'),
}


@pytest.mark.parametrize('wrong', WRONG)
def test_wrong_options_are_named_before_anything_is_fetched(
    wrong: str, given, tmp_path, capsys
) -> None:
    options, says = WRONG[wrong]
    said = run(capsys, *given, '--output', tmp_path / 'bundle', *options, code=2)
    assert says in said
    assert '1 of 4' not in said
    assert not (tmp_path / 'store').exists()
