"""Every entry that this version converts loads from a checkpoint of its published layout."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='loads checkpoints')

from catalog_layouts import layout_of  # noqa: E402

from dgss_core.networks.conversion import encoder_options, head_sizes  # noqa: E402
from dgss_core.networks.importers.keys import load_exactly, take_prefix  # noqa: E402
from dgss_core.networks.systems import build_system  # noqa: E402
from dgss_core.networks.systems.importers import import_system  # noqa: E402
from dgss_core.published.catalog import load_catalog  # noqa: E402
from dgss_core.published.systems import CONVERTIBLE, obstacle  # noqa: E402

CONVERTED = [entry for entry in load_catalog() if not entry.encoder and not obstacle(entry)]
DISTINCT = {
    # Publishers differ in their layouts, by their hosts; the trainings of one publisher do not.
    (entry.system, entry.image_size if entry.base else None, entry.host): entry
    for entry in CONVERTED
}


def test_every_entry_is_converted_or_says_why_not() -> None:
    for entry in load_catalog():
        assert entry.encoder or entry.obstacle or entry.system in CONVERTIBLE, entry.name


@pytest.mark.parametrize('entry', [*DISTINCT.values()], ids=lambda entry: entry.name)
def test_the_layout_loads_without_a_missing_or_unexpected_key(entry, shared: Path) -> None:
    weights, base = layout_of(entry, shared)
    assert (base is not None) == (entry.base is not None)
    imported = import_system(entry.system, weights, base)
    image_size = (entry.image_size or 512) if entry.base else None
    options = encoder_options(entry.system, imported, image_size)
    sizes = head_sizes(imported) | ({'rank': None} if entry.system.startswith('soma') else {})
    with torch.device('meta'):
        model = build_system(entry.system, encoder_options=options, **sizes)
    fitted = model.encoder.resample(take_prefix(imported, 'encoder.'))
    load_exactly(
        model, imported | {f'encoder.{key}': value for key, value in fitted.items()}, entry.name
    )
    if entry.base:
        assert model.encoder.embed.grid == (image_size // 16, image_size // 16)
