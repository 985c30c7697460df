"""Damaged manifests, label sets, recipes and weight files are read, or refused in a sentence."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from small_systems import SIZES, VIT, small

from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import About, load_checkpoint, save_checkpoint
from dgss_core.networks.weight_files import read_file
from dgss_core.published.catalog import CATALOG
from dgss_core.published.schema import read_family
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.manifest import Manifest
from dgss_core.training.state import SavedState
from dgss_core.training.styles import StyleBank

CITYSCAPES = LabelSet.load('cityscapes19')
LABELS = LabelSet('own', CITYSCAPES.labels[:3], {'cityscapes19': {'road': 'road'}})
TENSORS = {'a.weight': torch.ones(3, 2), 'road': torch.ones(2, 2, 4)}


class Change(NamedTuple):
    """Replace `length` bytes at a share of the file by others."""

    place: float
    length: int
    new: bytes


CHANGES = st.lists(
    st.builds(
        Change,
        # Descriptions stand at the start of most files.
        st.one_of(st.floats(0, 0.2), st.floats(0, 1)),
        st.sampled_from([0, 1, 1, 4, 1 << 30]),
        st.one_of(
            st.binary(max_size=3),
            st.sampled_from(
                [b'"', b'[', b'}', b'-', b'9', b'null', b'\n', b': ', b'*a', b'1e400']
            ),
        ),
    ),
    min_size=1,
    max_size=3,
)


def changed(content: bytes, changes: list[Change]) -> bytes:
    for change in changes:
        start = int(change.place * len(content))
        content = content[:start] + change.new + content[start + change.length :]
    return content


def checkpoint() -> bytes:
    whole = io.BytesIO()
    torch.save({'meta': {'epoch': 3}, 'state_dict': TENSORS}, whole)
    return whole.getvalue()


def program() -> bytes:
    whole = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), whole)
    return whole.getvalue()


def manifest() -> bytes:
    network = hashlib.sha256(b'network').hexdigest()
    sizes = {'height': 32, 'width': 32, 'mean': (0.5,) * 3, 'std': (0.5,) * 3}
    texts = {'name': 'n', 'producer': 'p', 'licence': 'l', 'training_data': ('d',)}
    return Manifest(label_set=LABELS, sha256=network, **sizes, **texts).to_json().encode()


def recipe() -> bytes:
    values = {
        'system': 'dgss-mobilenetv2',
        'label_set': 'own.yaml',
        'sources': [{'dataset': 'd.yaml', 'rare': {'temperature': 0.1}}],
        'augmentation': {'crop': [64, 64], 'scale': [0.5, 2.0]},
        'mixing': {'side': 4},
        'steps': 2,
        'evaluation': {'splits': [{'dataset': 'd.yaml', 'split': 'val'}], 'every': 5},
    }
    return yaml.safe_dump(values).encode()


def run_train(path: Path) -> None:
    """Its data set is missing, so it never begins."""
    options = {'config': path, 'data': path.parent, 'output': path.parent / 'run'}
    given = [f'--{key}={value}' for key, value in options.items()]
    if main(['train', *given, '--hardware.accelerator=cpu']) == 2:
        raise DgssError('as it must')


STYLES = {'schema': 'dgss-styles/1', 'label_set': 'own', 'encoder': 'clip-rn50'}
STATE = {'schema': 'dgss-training/1', 'step': '3', 'classes': '{"classes": ["road"]}'}
KINDS: dict[str, tuple[str, bytes, Callable[[Path], Any], int]] = {
    'label set': (
        'own.yaml',
        yaml.safe_dump(LABELS.to_dict()).encode(),
        lambda path: LabelSet.load(path),
        150,
    ),
    'manifest': ('manifest.json', manifest(), lambda path: open_bundle(path.parent), 150),
    'recipe': ('recipe.yaml', recipe(), run_train, 15),
    'torch file': ('w.pth', checkpoint(), read_file, 150),
    'TorchScript': ('w.pt', program(), read_file, 150),
    'catalog': (
        'own.yaml',
        (CATALOG / 'clouds.yaml').read_bytes(),
        read_family,
        150,
    ),
    'weights': ('w.safetensors', save(TENSORS), read_file, 100),
    'style bank': (
        'bank.safetensors',
        save({'road': TENSORS['road']}, STYLES),
        lambda path: StyleBank.load(path, LABELS, 'clip-rn50'),
        100,
    ),
    'state': ('state.safetensors', save(TENSORS, STATE), SavedState.read, 100),
}


def survives(path: Path, content: bytes, read: Callable[[Path], Any], examples: int) -> None:
    """`read` must answer or raise DgssError of one line for changed content, and write nothing."""

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(CHANGES)
    def check(changes: list[Change]) -> None:
        path.write_bytes(changed(content, changes))
        before = listing(path.parent)
        assert '\n' not in refusal(read, path)
        assert listing(path.parent) == before

    path.write_bytes(content)
    assert refusal(read, path) in ('', 'as it must'), 'the unchanged file must be sound'
    check()


def refusal(read: Callable[[Path], Any], path: Path) -> str:
    try:
        read(path)
    except DgssError as error:
        return str(error)
    return ''


def listing(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.parent.rglob('*')}


@pytest.mark.parametrize('kind', KINDS)
def test_a_changed_file_is_read_or_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, content, read, examples = KINDS[kind]
    folder = tmp_path / 'folder'
    folder.mkdir()
    (tmp_path / 'letter').write_text('dear')
    if kind == 'manifest':
        (folder / 'model.onnx').write_bytes(b'network')
    monkeypatch.chdir(folder)
    survives(folder / name, content, read, examples)


def test_a_changed_checkpoint_is_read_or_refused(tmp_path: Path) -> None:
    sizes = {**SIZES['dgss'], 'encoder_options': VIT}
    (tmp_path / 'folder').mkdir()
    path = tmp_path / 'folder' / 'm.safetensors'
    model = small('dgss-dinov2-s', label_set=LABELS)
    save_checkpoint(model, path, About('dgss-dinov2-s', sizes, licence='MIT'))
    survives(path, path.read_bytes(), load_checkpoint, 40)


def test_a_checkpoint_that_says_it_is_large_takes_no_memory(tmp_path: Path) -> None:
    sizes = {**SIZES['dgss'], 'encoder_options': VIT}
    path = tmp_path / 'm.safetensors'
    model = small('dgss-dinov2-s', label_set=LABELS)
    for width, says in ((60_000, 'does not fit this model'), (1 << 40, 'a size of')):
        save_checkpoint(model, path, About('dgss-dinov2-s', {**sizes, 'width': width}))
        with pytest.raises(DgssError, match=says):
            load_checkpoint(path)
