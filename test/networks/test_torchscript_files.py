"""Weights of TorchScript archives, as OpenAI publishes CLIP; their program is not run."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import open_clip.model
import pytest
import torch
from torch import nn

from dgss_core.errors import DgssError
from dgss_core.networks.importers.encoders import import_clip_vit
from dgss_core.networks.tensor_files import refuse_code
from dgss_core.networks.torchscript_files import read_torchscript
from dgss_core.networks.weight_files import read_file


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.scale = nn.Parameter(torch.randn(3, 2).t())  # Not contiguous.

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x) @ self.scale.t()


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.blocks = nn.Sequential(Inner(), nn.Linear(2, 2, bias=False))
        self.register_buffer('steps', torch.tensor(7))
        self.sizes = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.first(x)) * self.sizes[0]


@pytest.mark.parametrize('half', [False, True])
@pytest.mark.parametrize('how', ['script', 'trace'])
def test_the_state_dict_comes_out(how: str, half: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Outer().eval()
    x = torch.ones(2, 4)
    module = torch.jit.script(model) if how == 'script' else torch.jit.trace(model, x)
    if half:
        module = module.half()
    module.save(str(tmp_path / 'w.pt'))
    found, wanted = read_file(tmp_path / 'w.pt'), module.state_dict()
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value), key
    meta = read_torchscript(tmp_path / 'w.pt', 'meta')
    assert {key: value.shape for key, value in meta.items()} == {
        key: value.shape for key, value in wanted.items()
    }
    refuse_code(tmp_path / 'w.pt')


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_a_clip_as_openai_publishes_it(tmp_path: Path) -> None:
    vision = {'layers': 2, 'width': 32, 'head_width': 16, 'patch_size': 8, 'image_size': 32}
    text = {'context_length': 8, 'vocab_size': 20, 'width': 16, 'heads': 2, 'layers': 1}
    torch.manual_seed(0)
    clip = open_clip.model.CLIP(16, vision, text).eval()
    given = torch.rand(1, 3, 32, 32), torch.ones(1, 8, dtype=torch.long)
    torch.jit.trace(clip, given, check_trace=False).save(str(tmp_path / 'ViT-L-14.pt'))
    found = import_clip_vit(read_file(tmp_path / 'ViT-L-14.pt'))
    for key, value in import_clip_vit(clip.state_dict()).items():
        assert torch.equal(found[key], value), key


def changed(path: Path, members: dict[str, bytes]) -> None:
    """Replace members of an archive by the ends of their names."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for end, data in members.items():
        (name,) = [name for name in content if name.endswith(f'/{end}')]
        content[name] = data
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in content.items():
            archive.writestr(name, data)


class Harmful:
    def __reduce__(self) -> tuple:
        return print, ('this must never be printed',)


def malicious(name: str) -> bytes:
    """A pickle that reaches for a name of the torch package itself."""
    module, _, attribute = name.rpartition('.')
    return f'\x80\x02c{module}\n{attribute}\n.'.encode('latin-1')


@pytest.mark.parametrize(
    ('data', 'says'),
    [
        (pickle.dumps(Harmful(), 2), r'more than modules and tensors .*print.* refused'),
        (malicious('torch.hub.load'), r'torch\.hub\.load'),
        (malicious('torch._utils.os.system'), r'os\.system'),
        (malicious('collections.abc.sys'), 'refused'),
        (b'\x80\x02N', 'is a damaged TorchScript archive'),
        (b'', 'is a damaged TorchScript archive'),
    ],
)
def test_nothing_else_is_built(
    data: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'w.pt'
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    changed(path, {'data.pkl': data})
    with pytest.raises(DgssError, match=says) as refused:
        read_file(path)
    assert '\n' not in str(refused.value)
    assert capsys.readouterr().out == ''


def test_a_tensor_that_reaches_behind_its_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'w.pt'
    torch.jit.script(nn.Linear(20, 20)).save(str(path))
    changed(path, {'data/0': bytes(8)})
    with pytest.raises(DgssError, match='damaged TorchScript archive'):
        read_file(path)


def test_a_cut_archive_is_named(tmp_path: Path) -> None:
    whole = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(20, 20)), whole)
    (tmp_path / 'w.pt').write_bytes(whole.getvalue()[:-300])
    with pytest.raises(DgssError, match='cut short or damaged'):
        read_file(tmp_path / 'w.pt')
