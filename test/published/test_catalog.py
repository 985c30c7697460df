"""The catalog: every entry is complete, and own entries are checked."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dgss_core.errors import DgssError
from dgss_core.published.catalog import Catalog, load_catalog, stated_licence
from dgss_core.published.entry import Checkpoint, PublishedTest
from dgss_core.published.terms import COMMERCIAL, data_terms, licences

CATALOG = load_catalog()
WANTED = (
    *('rein-dinov2-l-gta', 'rein-dinov2-l-gta-synthia-urbansyn', 'rein-dinov2-l-citys-1024'),
    *('rein-eva02-l-gta', 'rein-clip-l-gta', 'rein-sam-h-gta', 'vltseg-mapillary-1'),
    *('clouds-convnext-l-gta', 'famix-rn50-gta', 'famix-rn101-gta', 'soma-citys-1024'),
    *('eomt-dinov2-l-citys-1024', 'eomt-dinov2-l-ade-512', 'eomt-dinov3-l-ade-512'),
    *(f'segformer-b{size}-citys{kind}' for size in range(6) for kind in ('', '-hf')),
    *(f'mask2former-swin-{size}-citys{kind}' for size in 'tsbl' for kind in ('', '-hf')),
    *('mask2former-rn50-citys', 'pidnet-s-citys', 'ddrnet-23-citys', 'bisenetv2-citys'),
    *('dinov2-l', 'dinov3-l', 'eva02-clip-l-224', 'siglip2-l-512', 'sam-h'),
)


def test_the_families_are_there() -> None:
    assert set(WANTED) <= set(CATALOG.entries)


@pytest.mark.parametrize('entry', list(CATALOG), ids=lambda entry: entry.name)
def test_every_entry_is_complete(entry: Checkpoint) -> None:
    assert entry.source
    assert entry.code in licences()
    assert entry.licence in licences()
    assert entry.trained_on or entry.encoder
    assert CATALOG.commercial(entry) in COMMERCIAL
    if entry.fetch == 'library':
        return
    assert urlsplit(entry.address).scheme == 'https'
    assert entry.file
    assert entry.system or entry.encoder or entry.obstacle
    assert entry.recipe is None or entry.recipe == PublishedTest() or entry.recipe.window
    if entry.base and entry.image_size is None:
        assert any('--image-size' in note for note in entry.notes)
    if 'openmmlab' in entry.host:
        # The first digits of the SHA-256 end every name there.
        assert entry.file.rpartition('-')[2] == f'{entry.digests["sha256"]}.pth'
        stem = entry.address.split('/')[-2]
        assert entry.file.startswith(f'{stem}_20')
    if 'openaipublic' in entry.host:
        assert entry.digests['sha256'] in entry.address


def test_no_two_files_share_a_place_and_no_two_entries_an_address() -> None:
    automatic = [entry for entry in CATALOG if entry.fetch == 'auto']
    assert len({entry.address for entry in automatic}) == len(automatic)
    places = [(entry.name, entry.file) for entry in CATALOG]
    assert len(set(places)) == len(places)
    # The trap, which the page counts: files of Rein have one name.
    assert sum(entry.file == 'iter_40000_published.pth' for entry in automatic) == 11


def test_percent_signs_and_plus_signs_stay_as_they_are() -> None:
    assert CATALOG.find('rein-eva02-l-gta').address.endswith(
        '/GTAV%2BEVA-L/iter_40000_published.pth'
    )
    assert '/Semi-Supervised(1%2F16)/' in CATALOG.find('rein-dinov2-l-synthetic-citys16').address
    zenodo = CATALOG.find('vltseg-mapillary-citys-1')
    assert zenodo.address.endswith('mapillary+cityscapes_1.pth?download=1')
    assert zenodo.file == 'vltseg_checkpoint_mapillary+cityscapes_1.pth'


def test_sizes_of_the_training_as_published() -> None:
    sizes = {entry.name: entry.image_size for entry in CATALOG if entry.base == 'dinov2-l'}
    assert sizes['rein-dinov2-l-gta'] == sizes['soma-gta'] == 512
    assert sizes['rein-dinov2-l-citys-1024'] == sizes['soma-citys-1024'] == 1024
    large = [name for name in sizes if '1024' in name]
    assert len(large) == 4
    assert all(sizes[name] == 1024 for name in large)


def test_what_a_company_may_use() -> None:
    by = {entry.name: CATALOG.commercial(entry) for entry in CATALOG}
    assert by['dinov2-l'] == 'allowed'
    assert by['rein-dinov2-l-gta'] == 'unknown'
    assert by['soma-citys-1024'] == by['vltseg-gta-1'] == by['segformer-b0-citys'] == 'forbidden'
    assert by['dinov3-l'] == 'conditions'
    # As the data of all complete systems forbid it, or were not read.
    assert all(e.encoder for e in CATALOG if by[e.name] == 'allowed')
    terms = CATALOG.terms(CATALOG.find('rein-dinov2-l-gta-synthia'))
    assert terms[0].startswith('weights of dinov2-l: Apache-2.0')
    assert 'trained on SYNTHIA: CC BY-NC-SA 3.0' in terms
    assert terms[-1] == 'commercial use: forbidden'


def test_the_licence_of_a_converted_file_is_that_of_its_publisher() -> None:
    assert 'CC BY-NC 4.0' in stated_licence('vltseg-eva02-clip-l')
    both = stated_licence('mask2former-swin-t')
    assert 'Apache-2.0' in both
    assert 'CC BY-NC 4.0' in both
    meta = CATALOG.find('mask2former-swin-t-citys-hf')
    assert 'Apache' not in stated_licence(meta.system or '', meta.file)
    assert stated_licence('dgss-mobilenetv2') == ''
    assert stated_licence('eomt-dinov2-s').startswith('weights not stated')
    assert stated_licence('eomt-dinov2-s') == stated_licence('eomt-dinov2-l')
    assert 'DINOv3' not in stated_licence('eomt-dinov2-b')


OWN = """\
title: ours
checkpoints:
  our-rein:
    address: https://weights.example.org/rein.pth
    system: rein-dinov2-l
    base: dinov2-l
    image_size: 512
    trained_on: [urbansyn]
    licence: apache-2.0
    code: apache-2.0
"""
FAULTS = {
    'address': ('https://weights', 'file://weights', 'unusable value for address'),
    'no address': ('https://weights', 'https://[weights', 'unusable value for address'),
    'secret': ('https://weights', 'https://user:word@weights', 'unusable value for address'),
    'unknown': ('image_size: 512', 'crop: 512', "unknown key 'crop'"),
    'data': ('[urbansyn]', '[kitti]', 'unusable value for trained_on'),
    'licence': ('licence: apache-2.0', 'licence: mine', 'unusable value for licence'),
    'path': ('base: dinov2-l', 'file: ../x.pth', 'unusable value for file'),
    'name': ('our-rein:', '../our-rein:', 'use a-z, 0-9'),
    'reserved': ('our-rein:', 'pins.json:', 'which is taken'),
    'twice': ('our-rein:', 'soma-gta:', 'rename yours'),
    'base': ('base: dinov2-l', 'base: soma-gta', 'which is no encoder'),
    'no file': ('/rein.pth', '/', 'without the name of a file'),
    'by hand': ('image_size: 512', 'fetch: manual', 'lacks by_hand'),
    'digest': ('image_size: 512', "sha256: 'xyz'", 'unusable value for sha256'),
    'number': ('image_size: 512', 'sha256: 12345678', 'unusable value for sha256'),
    'keys': ('checkpoints:', 'models:', 'needs the keys title and checkpoints'),
}


def test_own_entries_are_added(tmp_path: Path) -> None:
    path = tmp_path / 'own.yaml'
    path.write_text(OWN)
    catalog = load_catalog(path)
    assert len(catalog.entries) == len(CATALOG.entries) + 1
    entry = catalog.find('our-rein')
    assert (entry.file, entry.family) == ('rein.pth', 'own')
    assert catalog.commercial(entry) == 'allowed'
    with pytest.raises(DgssError, match='did you mean'):
        catalog.find('our-rien')
    assert isinstance(catalog, Catalog)
    assert 'our-rein' not in load_catalog().entries


@pytest.mark.parametrize('fault', FAULTS)
def test_what_is_wrong_in_a_file_is_named(fault: str, tmp_path: Path) -> None:
    old, new, says = FAULTS[fault]
    path = tmp_path / 'own.yaml'
    path.write_text(OWN.replace(old, new))
    with pytest.raises(DgssError, match=says):
        load_catalog(path)


def test_every_data_set_says_what_a_company_may_do() -> None:
    for terms in (*licences().values(), *data_terms().values()):
        assert terms.commercial in COMMERCIAL
        assert terms.title
        assert terms.means
