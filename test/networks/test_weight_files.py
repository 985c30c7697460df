"""Weights inside files of any origin: training checkpoints, averages, wrappers, broken files."""

from __future__ import annotations

import argparse
import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dgss_core.errors import DgssError
from dgss_core.networks.checkpoint import read_about
from dgss_core.networks.tensor_files import read_tensors
from dgss_core.networks.weight_files import read_file

STATE = {'a.weight': torch.ones(2, 3), 'b.bias': torch.zeros(2)}
LAST = {key: value + 1 for key, value in STATE.items()}


def saved(content: Any) -> bytes:
    whole = io.BytesIO()
    torch.save(content, whole)
    return whole.getvalue()


def under(prefix: str, state: dict[str, torch.Tensor] = STATE) -> dict[str, torch.Tensor]:
    return {f'{prefix}{key}': value for key, value in state.items()}


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == STATE.keys() and all(torch.equal(found[k], STATE[k]) for k in STATE)


@pytest.mark.parametrize(
    'content',
    [
        *(
            {'epoch': 3, key: STATE}
            for key in ('state_dict', 'model', 'net', 'model_state_dict', 'ema', 'model_ema')
        ),
        {'optimizer': {'state': {}, 'param_groups': [{'lr': 1.0}]}, 'segmentor': STATE},
        {'state_dict_ema': STATE},
        {'ema': {'decay': 0.999, 'module': STATE}},
        *(under(prefix) for prefix in ('model.', 'module.', '_orig_mod.', 'net.')),
        {'state_dict': under('module._orig_mod.')},
        {'state_dict': under('model.module.')},
        {'a._orig_mod.weight': STATE['a.weight'], 'b.bias': STATE['b.bias']},
        {'n_averaged': torch.tensor(7), **under('module.')},
    ],
    ids=lambda content: '+'.join(content),
)
def test_wrappers_and_prefixes(content: dict, tmp_path: Path) -> None:
    (tmp_path / 'w.pth').write_bytes(saved(content))
    assert same(read_file(tmp_path / 'w.pth'))


def test_names_of_a_model_keep_their_own_prefixes(tmp_path: Path) -> None:
    state = {'backbone.model.x': torch.ones(1), 'model.y': torch.ones(1)}
    save_file(state, tmp_path / 'w.safetensors')
    assert read_file(tmp_path / 'w.safetensors').keys() == state.keys()


@pytest.mark.parametrize('key', ['state_dict_ema', 'model_ema', 'ema'])
def test_averaged_weights_are_taken_and_named(
    key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'w.pth').write_bytes(saved({'state_dict': LAST, key: STATE}))
    assert same(read_file(tmp_path / 'w.pth'))
    assert f'takes the averaged weights ({key}), not those of state_dict' in caplog.text


class HistoryBuffer:
    """As the class of mmengine: its state holds arrays and methods of its own."""

    def __init__(self) -> None:
        self.values, self.methods = np.arange(3.0), {'min': HistoryBuffer.least}

    def least(self) -> float:
        return float(self.values.min())


@pytest.fixture
def checkpoint_of_mmengine(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Such a file, and mmengine not installed when it is read."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ('mmengine', 'mmengine.logging', 'mmengine.logging.history_buffer'):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        sys.modules['mmengine.logging.history_buffer'].HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
        patch.setattr(HistoryBuffer, '__module__', 'mmengine.logging.history_buffer')
        log = OrderedDict(loss=HistoryBuffer())
        content = {
            'meta': {'epoch': 0, 'score': np.float64(0.5), 'args': argparse.Namespace(lr=1)},
            'state_dict': OrderedDict(STATE),
            'message_hub': {'log_scalars': log, 'runtime_info': {'at': Path('run')}},
            'ema_state_dict': {'steps': torch.tensor(5), **under('module.', LAST)},
        }
        return saved(content)


def test_a_checkpoint_of_mmengine_is_read_without_its_classes(
    checkpoint_of_mmengine: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'iter_20.pth').write_bytes(checkpoint_of_mmengine)
    assert same(read_file(tmp_path / 'iter_20.pth'))
    assert 'takes the averaged weights (state_dict)' in caplog.text
    assert 'mmengine' not in sys.modules


def test_either_kind_of_weights_can_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / 'w.pth'
    path.write_bytes(saved({'state_dict': LAST, 'ema': STATE}))
    assert same(read_file(path, 'averaged'))
    assert torch.equal(read_file(path, 'last')['a.weight'], LAST['a.weight'])
    path.write_bytes(saved({'ema': STATE}))
    with pytest.raises(DgssError, match=r'only averaged weights \(ema\); leave --weights out'):
        read_file(path, 'last')
    path.write_bytes(saved({'model': STATE}))
    assert same(read_file(path, 'averaged'))
    assert same(read_file(path, 'last'))


def test_a_published_file_of_mmengine_that_holds_both(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As those of SoMA may be: without the logs of the training, and with its own prefix."""
    averaged = under('backbone.model.', STATE)
    last = {'steps': torch.tensor(5), **under('module.backbone.model.', LAST)}
    path = tmp_path / 'soma.pth'
    path.write_bytes(saved({'meta': {}, 'state_dict': averaged, 'ema_state_dict': last}))
    found = read_file(path)
    assert torch.equal(found['backbone.model.a.weight'], STATE['a.weight'])
    assert 'averaged weights (state_dict), not those of ema_state_dict' in caplog.text
    found = read_file(path, 'last')
    assert found.keys() == averaged.keys()
    assert torch.equal(found['backbone.model.a.weight'], LAST['a.weight'])


class Reaches:
    """A pickle that calls what `getattr` finds on a class that is read as nothing."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple:
        return getattr, (Path(self.canary), 'touch')


class Calls:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __reduce__(self) -> tuple:
        return pickle.loads, (b'N.',)


@pytest.mark.parametrize('kind', ['getattr', 'loads'])
def test_nothing_beside_the_weights_is_run(kind: str, tmp_path: Path) -> None:
    canary = tmp_path / 'canary'
    hook = Reaches(canary) if kind == 'getattr' else Calls(None)
    (tmp_path / 'w.pth').write_bytes(saved({'state_dict': STATE, 'hook': hook}))
    if kind == 'getattr':
        assert same(read_file(tmp_path / 'w.pth'))
    else:
        with pytest.raises(DgssError, match=r'more than tensors.*loads') as refused:
            read_file(tmp_path / 'w.pth')
        assert 'safe_globals' not in str(refused.value)
    assert not canary.exists()


def archive(*names: str, compression: int = zipfile.ZIP_STORED) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, 'w', compression) as file:
        for name in names:
            file.writestr(name, b'x' * 50)
    return whole.getvalue()


def encrypted() -> bytes:
    """The flag of an encrypted member, in both of its headers."""
    content = bytearray(archive('w/data.pkl'))
    for signature, offset in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 164723422\n'
TENSORS = {'a': torch.zeros(1000)}
FAULTS = {
    'pointer': (POINTER, 'git lfs pull'),
    'page': (b'<!DOCTYPE html><html>', 'an HTML page'),
    'empty': (b'', 'is empty'),
    'zstd': (b'\x28\xb5\x2f\xfd' + bytes(9), 'zstd -d'),
    'gzip': (b'\x1f\x8b' + bytes(9), 'gunzip'),
    'reserved': (bytes(5000), 'never written'),
    'encrypted': (encrypted(), 'encrypted'),
    'folder': (archive('rein.pth', 'README'), 'give the file inside'),
    'compressed': (archive('w/data.pkl', compression=zipfile.ZIP_DEFLATED), 'is compressed'),
    'cut': (saved(TENSORS)[:2000], 'cut short .*2000 bytes'),
    'text': (b'epoch,loss\n1,2\n', 'not a torch weight file'),
    'pickle': (pickle.dumps({'a': np.zeros(3)}, protocol=4), 'save its state_dict as safetensors'),
    'several': (saved({'generator': TENSORS, 'critic': TENSORS}), 'several sets of weights'),
    'nothing': (saved({'epoch': 3}), "'epoch' is no tensor"),
    'list': (saved([1, 2]), 'no state_dict'),
}


@pytest.mark.parametrize('kind', FAULTS)
def test_the_cause_is_named(kind: str, tmp_path: Path) -> None:
    content, says = FAULTS[kind]
    (tmp_path / 'w.pth').write_bytes(content)
    with pytest.raises(DgssError, match=says) as refused:
        read_file(tmp_path / 'w.pth')
    assert str(tmp_path / 'w.pth') in str(refused.value)
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize('read', [read_tensors, read_about])
def test_the_cause_is_named_for_our_own_files(read: Any, tmp_path: Path) -> None:
    path = tmp_path / 'w.safetensors'
    save_file(TENSORS, path)
    whole = path.read_bytes()
    cases = [FAULTS[kind] for kind in ('pointer', 'page', 'empty', 'zstd')]
    cases += [(saved(TENSORS), 'is a torch file'), (whole[:-300], f'of {len(whole)} bytes')]
    cases += [(whole[:40], 'cut short'), (whole + b'x', 'not a whole safetensors file')]
    for content, says in cases:
        path.write_bytes(content)
        with pytest.raises(DgssError, match=says):
            read(path)


def test_the_content_counts_not_the_name(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / 'a.safetensors')
    (tmp_path / 'safe.pth').write_bytes((tmp_path / 'a.safetensors').read_bytes())
    (tmp_path / 'torch.safetensors').write_bytes(saved(STATE))
    torch.save(STATE, tmp_path / 'old.bin', _use_new_zipfile_serialization=False)
    for name in ('safe.pth', 'torch.safetensors', 'old.bin'):
        assert same(read_file(tmp_path / name))


def test_a_header_whose_length_looks_like_a_pickle(tmp_path: Path) -> None:
    """640 bytes are 80 02 in the file, as the start of a pickle."""
    save_file(STATE, tmp_path / 'a.safetensors', {'pad': ''})
    empty = int.from_bytes((tmp_path / 'a.safetensors').read_bytes()[:8], 'little')
    save_file(STATE, tmp_path / 'a.safetensors', {'pad': 'x' * (640 - empty)})
    (tmp_path / 'a.pth').write_bytes((tmp_path / 'a.safetensors').read_bytes())
    assert (tmp_path / 'a.pth').read_bytes()[:2] == b'\x80\x02'
    assert same(read_file(tmp_path / 'a.pth'))


def test_an_npz_archive_and_a_folder_are_named(tmp_path: Path) -> None:
    path = tmp_path / 'weights.npz'
    np.savez(path, **{name: value.numpy() for name, value in STATE.items()})
    with pytest.raises(DgssError, match=r'weights\.npz is an \.npz archive of NumPy; load its'):
        read_file(path)
    for read, kind in ((read_file, 'safetensors or torch'), (read_about, '.safetensors')):
        with pytest.raises(DgssError, match=f'is a folder, not a file; give the path of a {kind}'):
            read(tmp_path)
