"""`dgss convert` from file to file, and the files that it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from famix_file import FAMIX, as_famix

from dgss_core.cli import main
from dgss_core.commands.convert import convert_file
from dgss_core.errors import DgssError
from dgss_core.networks.checkpoint import About, load_checkpoint, read_about, save_checkpoint
from dgss_core.networks.systems import SYSTEMS, build_system
from dgss_core.networks.systems.importers import IMPORTERS, import_system, load_system
from dgss_core.published.catalog import stated_licence
from dgss_core.published.systems import CONVERTIBLE


@pytest.fixture
def famix(tmp_path):
    """A small FAMix, and its checkpoint in the published layout."""
    torch.manual_seed(0)
    model = build_system('famix-rn50', **FAMIX).eval()
    path = tmp_path / 'famix.pth'
    state = as_famix(model.state_dict())
    torch.save({'cur_itrs': 7, 'model_state': state, 'best_score': np.float64(0.5)}, path)
    return model, path


@torch.no_grad()
def test_a_published_layout_comes_back_as_the_same_model(famix, tmp_path):
    model, source = famix
    output = tmp_path / 'ours.safetensors'
    convert_file(source, 'famix-rn50', output, None, model.label_set, **FAMIX)
    loaded = load_checkpoint(output)
    # The published network does not pad: it drops pixels that its pools do not divide.
    assert not loaded.encoder.pad
    images = torch.rand(1, 3, 64, 96) * 255
    assert torch.allclose(loaded(images), model(images), atol=1e-6)
    assert loaded.label_set == model.label_set
    about, _ = read_about(output)
    assert (about.system, about.source) == ('famix-rn50', 'famix.pth')
    assert len(about.source_sha256) == 64
    assert 'Apache-2.0' in about.licence
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith('.')] == []
    beside = json.loads((tmp_path / 'ours.json').read_text())
    assert beside['label_set'] == model.label_set.to_dict()
    assert (beside['system'], beside['source_sha256']) == (about.system, about.source_sha256)
    assert beside['licence'] == about.licence
    for path in (output, tmp_path / 'ours.json'):
        with pytest.raises(DgssError, match=f'{path.name} exists.*--overwrite'):
            convert_file(source, 'famix-rn50', output, None, model.label_set, **FAMIX)
        path.unlink()


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda w: w.pop('classifier.classifier.3.bias'), r'missing: head\.classify\.bias'),
        (lambda w: w.update(extra=torch.ones(1)), 'unknown weights extra'),
        (
            lambda w: w.update({'classifier.classifier.3.bias': torch.ones(3)}),
            r'another shape: head\.classify\.bias \(3,\) instead of \(19,\)',
        ),
    ],
)
def test_what_does_not_fit_is_refused(famix, change, said):
    model, _ = famix
    weights = as_famix(model.state_dict())
    change(weights)
    with pytest.raises(DgssError, match=said):
        load_system(model, import_system('famix-rn50', weights), 'famix.pth')


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def run(capsys, *arguments: object) -> str:
    assert main(['convert', *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_bad_files_are_refused_on_the_command_line(famix, tmp_path, capsys):
    _, source = famix
    output = tmp_path / 'ours.safetensors'
    to = ('--system', 'famix-rn50', '--output', output)
    evil, mark = tmp_path / 'evil.pth', tmp_path / 'executed'
    torch.save({'model_state': Malicious(mark)}, evil)
    assert 'refused' in run(capsys, evil, *to)
    assert not mark.exists()
    short = tmp_path / 'short.pth'
    short.write_bytes(source.read_bytes()[:-5000])
    assert 'short.pth is cut short or damaged' in run(capsys, short, *to)
    assert 'There is no weight file' in run(capsys, tmp_path / 'none.pth', *to)
    assert 'does not fit' in run(capsys, source, *to)
    wrong = run(capsys, source, '--system', 'famix-rn5', '--output', output)
    assert 'famix-rn50' in wrong
    assert set(CONVERTIBLE) <= set(SYSTEMS)
    assert {SYSTEMS[name].published for name in CONVERTIBLE} <= set(IMPORTERS)
    assert all(map(stated_licence, CONVERTIBLE))
    said = run(capsys, source, '--system', 'vltseg-eva02-clip-l', '--output', output)
    assert 'not a checkpoint of VLTSeg' in said
    said = run(capsys, source, *to[:2], '--output', tmp_path / 'ours.pth')
    assert 'must end in .safetensors' in said
    assert not output.exists()


def test_a_checkpoint_that_is_not_whole_is_refused(famix, tmp_path):
    model, _ = famix
    path = tmp_path / 'ours.safetensors'
    save_checkpoint(model, path, About('famix-rn50', FAMIX))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(DgssError, match='is cut short'):
        load_checkpoint(path)
    save_checkpoint(model, path, About('famix-rn50', FAMIX | {'width': 24}))
    with pytest.raises(DgssError, match='does not fit'):
        load_checkpoint(path)
    save_checkpoint(model, path, About('famix-rn50', FAMIX | {'colour': 1}))
    with pytest.raises(DgssError, match='options this version does not know'):
        load_checkpoint(path)
    with pytest.raises(DgssError, match='There is no checkpoint'):
        load_checkpoint(tmp_path / 'absent.safetensors')
