"""Published checkpoints, converted to ours and loaded into a model."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from records import clouds_head, head_sizes, label_set, layout

from dgss_core.cli import main
from dgss_core.commands.convert import LICENCES, PUBLISHED, convert_file, encoder_options
from dgss_core.errors import DgssError
from dgss_core.networks.checkpoint import About, load_checkpoint, read_about, save_checkpoint
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.importers.keys import load_exactly, take_prefix
from dgss_core.networks.inference import slide
from dgss_core.networks.systems import SYSTEMS, build_system
from dgss_core.networks.systems.importers import IMPORTERS, import_system, load_system

MODEL = 1e-4


def meta(**shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device='meta') for key, shape in shapes.items()}


def published_reins() -> dict[str, torch.Tensor]:
    shapes = {
        'scale': (),
        'learnable_tokens_a': (24, 100, 16),
        'learnable_tokens_b': (24, 16, 1024),
        'mlp_token2feat.weight': (1024, 1024),
        'mlp_token2feat.bias': (1024,),
        'mlp_delta_f.weight': (1024, 1024),
        'mlp_delta_f.bias': (1024,),
        'transform.weight': (256, 1024),
        'transform.bias': (256,),
        'merge.weight': (256, 768),
        'merge.bias': (256,),
    }
    return meta(**{f'backbone.reins.{key}': shape for key, shape in shapes.items()})


def published_dinov2(patch: int, side: int) -> dict[str, torch.Tensor]:
    shapes: dict[str, tuple[int, ...]] = {
        'cls_token': (1, 1, 1024),
        'pos_embed': (1, 1 + side * side, 1024),
        'mask_token': (1, 1024),
        'patch_embed.proj.weight': (1024, 3, patch, patch),
        'patch_embed.proj.bias': (1024,),
        'norm.weight': (1024,),
        'norm.bias': (1024,),
    }
    linears = {'attn.qkv': (3072, 1024), 'attn.proj': (1024, 1024)}
    linears |= {'mlp.fc1': (4096, 1024), 'mlp.fc2': (1024, 4096)}
    for i in range(24):
        for name, shape in linears.items():
            shapes |= {f'blocks.{i}.{name}.weight': shape, f'blocks.{i}.{name}.bias': shape[:1]}
        for name in ('norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias'):
            shapes[f'blocks.{i}.{name}'] = (1024,)
        shapes |= {f'blocks.{i}.ls1.gamma': (1024,), f'blocks.{i}.ls2.gamma': (1024,)}
    return meta(**shapes)


def fits_exactly(system: str, weights: dict, base: dict | None = None) -> dict[str, int]:
    """Load all weights into the full-size system; returns the parameter count of each part."""
    imported = import_system(system, weights, base)
    options = encoder_options(system, imported)
    with torch.device('meta'):
        model = build_system(system, encoder_options=options)
    fitted = model.encoder.resample(take_prefix(imported, 'encoder.'))
    whole = imported | {f'encoder.{key}': value for key, value in fitted.items()}
    load_exactly(model, whole, 'the layout')
    parts = {'encoder': model.encoder, 'head': model.head}
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()} | {
        'grid': model.encoder.embed.grid[0]
    }


@pytest.mark.parametrize(('patch', 'side', 'grid'), [(14, 37, 32), (16, 32, 32), (16, 64, 64)])
def test_rein_published_full_size(shared, patch, side, grid):
    head = layout(shared / 'parity' / 'rein_full_layout.txt')
    base = published_dinov2(patch, side)
    counts = fits_exactly('rein-dinov2-l', head | published_reins(), base)
    assert counts['head'] == 20_579_796
    assert counts['grid'] == grid
    adapter = sum(value.numel() for value in published_reins().values())
    assert adapter == 2_990_081
    if grid == 32:
        # The recorded count includes the mask token and the last norm, which no map depends on.
        assert counts['encoder'] == 307_189_761 - 3 * 1024


def test_vltseg_published_full_size(shared):
    tower = layout(shared / 'parity' / 'vltseg_layout.txt')
    for key in [key for key in tower if key.startswith('backbone.blocks.0.')]:
        for block in range(1, 24):
            tower[key.replace('blocks.0', f'blocks.{block}')] = tower[key]
    head = layout(shared / 'parity' / 'rein_full_layout.txt')
    head = {key: value for key, value in head.items() if 'querys2feat' not in key}
    for name in ('query_embed', 'query_feat'):
        head[f'decode_head.{name}.weight'] = torch.empty(100, 256, device='meta')
    counts = fits_exactly('vltseg-eva02-clip-l', tower | head)
    # The recorded count includes the tables of the rotation and the buffers of one batch norm.
    rotations = sum(value.numel() for key, value in tower.items() if '.rope.' in key)
    assert sum(value.numel() for value in tower.values()) == 321_068_993
    encoder = 321_068_993 - rotations - 2 * 1024 - 1
    assert counts == {'encoder': encoder, 'head': 20_565_204, 'grid': 36}


def sizes_of(record: dict) -> dict:
    backbone, head = record['cfg']['backbone'], record['cfg']['decode_head']
    sizes = head_sizes(head)
    encoder = {
        'width': backbone['embed_dim'],
        'depth': backbone['depth'],
        'heads': backbone['num_heads'],
        'image_size': backbone['img_size'],
        'taps': list(backbone['out_indices']),
    }
    if 'reins_config' in backbone:
        reins = backbone['reins_config']
        sizes |= {'tokens': reins['token_length'], 'rank': reins['lora_dim']}
    else:
        sizes['queries'] = head['num_queries']
        encoder['hidden'] = int(backbone['embed_dim'] * backbone['mlp_ratio'])
    return {'encoder_options': encoder, **sizes}


def check_record(record: dict, path: Path) -> None:
    model = load_checkpoint(path)
    theirs, test = record['outputs'], record['cfg']['test_cfg']

    def as_image(x):
        return x * model.std + model.mean

    with torch.no_grad():
        scores = model.at_size(as_image(record['inputs']['x']))
        assert (scores - theirs['seg_logits']).abs().max() <= MODEL
        big = as_image(record['inputs']['big'])
        scores = slide(model.at_size, big, test['crop_size'], test['stride'])
        assert (scores - theirs['slide']).abs().max() <= MODEL


def test_rein_record_as_full_file_and_as_head_and_base(shared, tmp_path):
    record = torch.load(shared / 'parity' / 'rein_full_model.pt', weights_only=True)
    state, labels = record['state_dict'], label_set(record['cfg']['decode_head']['num_classes'])
    base = take_prefix(state, 'backbone.')
    base = {key: value for key, value in base.items() if not key.startswith('reins.')}
    small = {k: v for k, v in state.items() if k.startswith(('backbone.reins.', 'decode_head.'))}
    meta_data = {'iter': 40000}
    torch.save({'meta': meta_data, 'state_dict': state}, tmp_path / 'full.pth')
    torch.save({'meta': meta_data, 'state_dict': small}, tmp_path / 'head.pth')
    torch.save(base, tmp_path / 'base.pth')
    for source, base_file in (('full.pth', None), ('head.pth', tmp_path / 'base.pth')):
        output = tmp_path / f'{source}.safetensors'
        convert_file(
            tmp_path / source, 'rein-dinov2-l', output, base_file, labels, **sizes_of(record)
        )
        check_record(record, output)
    with pytest.raises(DgssError, match='leaves the frozen encoder out'):
        convert_file(
            tmp_path / 'head.pth', 'rein-dinov2-l', tmp_path / 'x.safetensors', None, labels
        )
    with pytest.raises(DgssError, match='holds its encoder already'):
        import_system('rein-dinov2-l', state, base)
    with pytest.raises(DgssError, match='does not fit'):
        convert_file(
            tmp_path / 'full.pth', 'rein-dinov2-s', tmp_path / 'x.safetensors', None, labels
        )
    assert not (tmp_path / 'x.safetensors').exists()


def test_vltseg_record(shared, tmp_path):
    record = torch.load(shared / 'parity' / 'vltseg_full_model.pt', weights_only=True)
    labels = label_set(record['cfg']['decode_head']['num_classes'])
    source, output = tmp_path / 'vltseg.pth', tmp_path / 'ours.safetensors'
    torch.save({'state_dict': record['state_dict']}, source)
    convert_file(source, 'vltseg-eva02-clip-l', output, None, labels, **sizes_of(record))
    check_record(record, output)


@torch.no_grad()
def test_clouds_record(shared):
    record = torch.load(shared / 'parity' / 'clouds_mask2former.pt', weights_only=True)
    tower = ClipResNet((1, 1, 1, 1), 8)
    weights = {f'backbone.clip_model.visual.{k}': v for k, v in tower.state_dict().items()}
    weights |= {f'sem_seg_head.{k}': v for k, v in record['state_dict'].items()}
    weights['backbone.clip_model.token_embedding.weight'] = torch.zeros(2, 2)
    weights['criterion.empty_weight'] = torch.ones(6)
    imported = import_system('clouds-rn50', weights)
    load_exactly(ClipResNet((1, 1, 1, 1), 8), take_prefix(imported, 'encoder.'), 'the record')
    head = clouds_head(record)
    for parameter in head.parameters():
        parameter.zero_()
    load_exactly(head, take_prefix(imported, 'head.'), 'the record')
    last = head.predict([record['inputs'][name] for name in sorted(record['inputs'])])[-1]
    assert (last.classes - record['outputs']['pred_logits']).abs().max() <= 1e-5
    assert (last.masks - record['outputs']['pred_masks']).abs().max() <= 1e-5


FAMIX = {'encoder_options': {'layers': [1, 1, 1, 1], 'width': 8}, 'width': 16, 'detail': 8}
TO_FAMIX = (
    (r'encoder\.(.*)', r'backbone.\1'),
    (r'head\.detail\.(.*)', r'classifier.project.\1'),
    (r'head\.pyramid\.branches\.(.*)', r'classifier.aspp.convs.\1'),
    (r'head\.pyramid\.pooled\.0\.(.*)', r'classifier.aspp.convs.4.1.\1'),
    (r'head\.pyramid\.pooled\.1\.(.*)', r'classifier.aspp.convs.4.2.\1'),
    (r'head\.pyramid\.project\.(.*)', r'classifier.aspp.project.\1'),
    (r'head\.fuse\.(.*)', r'classifier.classifier.\1'),
    (r'head\.classify\.(.*)', r'classifier.classifier.3.\1'),
)


def as_famix(state: dict) -> dict:
    published = {}
    for key, value in state.items():
        (name,) = [found.expand(to) for rule, to in TO_FAMIX if (found := re.fullmatch(rule, key))]
        published[name] = value
    return published


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
    assert 'not a torch weight file' in run(capsys, short, *to)
    assert 'There is no weight file' in run(capsys, tmp_path / 'none.pth', *to)
    assert 'does not fit' in run(capsys, source, *to)
    wrong = run(capsys, source, '--system', 'famix-rn5', '--output', output)
    assert 'famix-rn50' in wrong
    assert set(PUBLISHED) <= set(SYSTEMS)
    assert {name.partition('-')[0] for name in PUBLISHED} == set(LICENCES) <= set(IMPORTERS)
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
    with pytest.raises(DgssError, match='not a whole safetensors file'):
        load_checkpoint(path)
    save_checkpoint(model, path, About('famix-rn50', FAMIX | {'width': 24}))
    with pytest.raises(DgssError, match='does not fit'):
        load_checkpoint(path)
    save_checkpoint(model, path, About('famix-rn50', FAMIX | {'colour': 1}))
    with pytest.raises(DgssError, match='options this version does not know'):
        load_checkpoint(path)
    with pytest.raises(DgssError, match='There is no checkpoint'):
        load_checkpoint(tmp_path / 'absent.safetensors')
