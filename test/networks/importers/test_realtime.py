"""Published PIDNet, DDRNet and BiSeNetV2: every key, and the scores of their own networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published_layouts import LAYOUTS, formula_image, formula_weights, picked, records, shapes

from dgss_core.commands.convert import convert_file
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.conversion import encoder_options
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.importers.keys import load_exactly
from dgss_core.networks.systems import SegmentationModel, build_system
from dgss_core.networks.systems.importers import import_system, load_system
from dgss_core.networks.undrawn import Undrawn
from dgss_core.published.catalog import stated_licence
from dgss_core.published.systems import CONVERTIBLE

SCORES = 1e-4
PIDNET_L = {'width': 4, 'pooled': 8, 'stem_blocks': 3, 'branch_blocks': 4, 'light': False}
TINY = {
    # The system that each layout is of, at the sizes of its column `tiny`.
    'pidnet-s-m-mmseg': ('pidnet-s', {'width': 4, 'pooled': 8}),
    'pidnet-s-m-authors': ('pidnet-s', {'width': 4, 'pooled': 8}),
    'pidnet-l-mmseg': ('pidnet-l', PIDNET_L),
    'pidnet-l-authors': ('pidnet-l', PIDNET_L),
    'ddrnet-mmseg': ('ddrnet-23-slim', {'width': 4, 'pooled': 8}),
    'ddrnet-authors': ('ddrnet-23-slim', {'width': 4, 'pooled': 8}),
    'bisenetv2-mmseg': ('bisenetv2', {'detail': (4, 4, 8), 'semantic': (4, 4, 4, 8)}),
}
FULL = [(layout, column) for layout in LAYOUTS for column in LAYOUTS[layout] if column != 'tiny']

CLASSES = ('decode_head.conv_seg.weight', 'final_layer.conv2.weight', 'head.conv_out.1.weight')
LARGE = ('pidnet-m', 'pidnet-l', 'ddrnet-23')
"""Their weights take seconds; the small ones of each family run always."""


def tiny(layout: str) -> tuple[str, dict]:
    system, encoder = TINY[layout]
    return system, {'encoder_options': encoder, 'width': 16 if system == 'bisenetv2' else 8}


def check_scores(model: SegmentationModel, layout: str, column: str) -> None:
    record = records()[f'{layout} {column}']
    with torch.no_grad():
        scores = model.eval().at_size(formula_image(*record['size']))
    assert scores.std().item() == pytest.approx(record['spread'], abs=SCORES)
    assert picked(scores) == pytest.approx(record['scores'], abs=SCORES)


def test_all_that_can_be_converted_is_in_a_layout():
    families = ('pidnet', 'ddrnet', 'bisenetv2')
    published = {name for name in CONVERTIBLE if name.startswith(families)}
    assert {column for _, column in FULL} == published
    assert all(map(stated_licence, published))
    # OpenMMLab's and the authors' files, where both exist.
    assert len(FULL) == 12


@pytest.mark.parametrize(('layout', 'system'), FULL)
def test_every_key_at_its_size(layout, system):
    published = shapes(layout, system)
    state = {key: torch.empty(shape, device='meta') for key, shape in published.items()}
    with torch.device('meta'), Undrawn():
        model = build_system(system)
    load_exactly(model, import_system(system, state), 'the layout')


@pytest.mark.parametrize(
    ('layout', 'system'),
    [pytest.param(*pair, marks=pytest.mark.slow) if pair[1] in LARGE else pair for pair in FULL],
)
def test_scores_of_the_published_network_at_its_size(layout, system):
    weights = import_system(system, formula_weights(shapes(layout, system)))
    model = build_system(system, encoder_options=encoder_options(system, weights))
    load_system(model, weights, 'the layout')
    check_scores(model, layout, system)


@pytest.mark.parametrize('layout', TINY)
def test_a_published_file_becomes_a_checkpoint_with_the_same_scores(layout, tmp_path):
    system, sizes = tiny(layout)
    state = formula_weights(shapes(layout, 'tiny'))
    torch.save({'meta': {'epoch': 1}, 'state_dict': state}, tmp_path / 'published.pth')
    about = convert_file(
        tmp_path / 'published.pth',
        system,
        tmp_path / 'ours.safetensors',
        None,
        LabelSet.load('cityscapes19'),
        **sizes,
    )
    assert about.licence == stated_licence(system, 'published.pth')
    check_scores(load_checkpoint(tmp_path / 'ours.safetensors'), layout, 'tiny')


@pytest.mark.parametrize('layout', LAYOUTS)
def test_other_keys_are_refused_and_none_is_missed(layout):
    system, sizes = tiny(layout) if layout in TINY else (layout, {})
    column = 'tiny' if layout in TINY else system
    state = formula_weights(shapes(layout, column))
    model = build_system(system, **sizes)
    keys = list(state)
    classes = next(key for key in keys if key.endswith(CLASSES))
    for lost in (*keys[:2], classes):
        less = {key: value for key, value in state.items() if key != lost}
        with pytest.raises(DgssError, match=r'missing|unknown weights'):
            load_system(model, import_system(system, less), 'a file')
    for added in ('other.weight', keys[0].removesuffix('weight') + 'scale'):
        more = state | {added: state[keys[0]]}
        with pytest.raises(DgssError, match=r'unknown weights|unexpected'):
            load_system(model, import_system(system, more), 'a file')
    with pytest.raises(DgssError, match='needs no base'):
        import_system(system, state, state)


def test_files_of_one_system_do_not_pass_as_another():
    small = formula_weights(shapes('pidnet-s-m-mmseg', 'tiny'))
    system, sizes = tiny('pidnet-l-mmseg')
    with pytest.raises(DgssError, match='does not fit this model'):
        load_system(build_system(system, **sizes), import_system(system, small), 'a file')
    with pytest.raises(DgssError, match='not a DDRNet'):
        import_system('ddrnet-23-slim', small)
    other = formula_weights(shapes('bisenetv2-mmseg', 'tiny'))
    with pytest.raises(DgssError, match='not a BiSeNetV2 of CoinCheung'):
        import_system('bisenetv2-coincheung', other)


def test_the_normalisation_belongs_to_the_publisher():
    mmseg, coincheung = (build_system(f'bisenetv2{name}') for name in ('', '-coincheung'))
    assert mmseg.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert mmseg.std.flatten().tolist() == pytest.approx([58.395, 57.12, 57.375])
    assert coincheung.encoder.mean == (0.3257, 0.3690, 0.3223)
    assert coincheung.encoder.std == (0.2112, 0.2148, 0.2115)


def test_an_encoder_starts_from_a_published_file(tmp_path: Path):
    options = TINY['ddrnet-mmseg'][1]
    state = formula_weights(shapes('ddrnet-mmseg', 'tiny'))
    torch.save(state, tmp_path / 'ddrnet.pth')
    encoder = build_encoder('ddrnet-23-slim', tmp_path / 'ddrnet.pth', **options)
    weight = encoder.state_dict()['stem.0.conv.weight']
    assert torch.equal(weight, state['backbone.stem.0.conv.weight'])
    with pytest.raises(DgssError, match='give the path of a published file'):
        build_encoder('ddrnet-23-slim', 'pretrained')


def test_another_upsampling_is_refused():
    with pytest.raises(DgssError, match='nearest'):
        build_encoder('bisenetv2', upsampling='cubic')
