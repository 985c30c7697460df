"""Published checkpoints, converted to ours and loaded into a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from catalog_layouts import published_dinov2, published_reins, vltseg
from records import clouds_head, head_sizes, label_set, layout
from small_systems import CLIP_RESNET, SIZES, small

from dgss_core.commands.convert import convert_file
from dgss_core.errors import DgssError
from dgss_core.labels import Label, LabelSet
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.conversion import encoder_options
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.importers.keys import load_exactly, take_prefix
from dgss_core.networks.inference import slide
from dgss_core.networks.systems import build_system
from dgss_core.networks.systems.importers import import_system
from dgss_core.networks.undrawn import Undrawn
from dgss_core.published.catalog import load_catalog

MODEL = 1e-4


def fits_exactly(
    system: str, weights: dict, base: dict | None = None, image_size: int | None = None
) -> dict[str, int]:
    """Load all weights into the full-size system; returns the parameter count of each part."""
    imported = import_system(system, weights, base)
    options = encoder_options(system, imported, image_size)
    with torch.device('meta'), Undrawn():
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
    weights, _ = vltseg(load_catalog().find('vltseg-gta-1'), shared)
    counts = fits_exactly('vltseg-eva02-clip-l', weights)
    tower = {key: value for key, value in weights.items() if key.startswith('backbone.')}
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


THEIR_HEAD = {
    'detail': 'project',
    'pyramid.branches': 'aspp.convs',
    'pyramid.pooled.0': 'aspp.convs.4.1',
    'pyramid.pooled.1': 'aspp.convs.4.2',
    'pyramid.project': 'aspp.project',
    'fuse': 'classifier',
    'classify': 'classifier.3',
}


def test_the_label_set_of_a_file_with_other_classes_is_asked_for(tmp_path):
    names = tuple(Label(i, f'c{i}', (0, 0, i)) for i in range(7))
    theirs = small('famix-rn50', label_set=LabelSet('seven', names)).state_dict()
    published = {}
    for key, value in theirs.items():
        part, _, name = key.partition('.')
        ours = next((start for start in THEIR_HEAD if name.startswith(start)), '')
        name = name if part == 'encoder' else THEIR_HEAD[ours] + name.removeprefix(ours)
        published[f'{"backbone" if part == "encoder" else "classifier"}.{name}'] = value
    torch.save({'model_state': published}, tmp_path / 'famix.pth')
    sizes = {**SIZES['famix'], 'encoder_options': CLIP_RESNET}
    given = tmp_path / 'famix.pth', 'famix-rn50', tmp_path / 'out.safetensors', None
    with pytest.raises(DgssError, match=r'has 7 classes and cityscapes19 has 19; .*--labels'):
        convert_file(*given, LabelSet.load('cityscapes19'), **sizes)
    about = convert_file(*given, LabelSet('seven', names), **sizes)
    assert about.system == 'famix-rn50'
