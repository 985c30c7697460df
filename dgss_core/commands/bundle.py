"""`dgss bundle info`: check and describe a bundle."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from dgss_core.commands.tables import print_table
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.engines.proof import higher_precisions


def info(*, bundle: Path | None = None, backend: str = 'auto') -> None:
    """Check a bundle (schema, checksum, tensors) and print its properties.

    Args:
        bundle: bundle folder (default: the embedded bundle)
        backend: backend that loads the network
    """
    opened = open_bundle(bundle)
    loaded = load_backend(opened, backend)
    manifest, higher = opened.manifest, higher_precisions(opened)
    table = Table(show_header=False, title=opened.identity)
    table.add_column(no_wrap=True)
    table.add_column()
    rows = {
        'folder': str(opened.folder),
        'network size': f'{manifest.width}x{manifest.height}',
        'precision': ', '.join(
            [manifest.precision, *(f'{inside.manifest.precision} inside' for inside in higher)]
        ),
        'reference frames': ', '.join(frame.name for frame in opened.frames()) or 'none',
        'labels': f'{manifest.label_set.name}: {", ".join(manifest.label_set.names)}',
        'backend': loaded.name,
        'sha256': manifest.sha256,
        'producer': manifest.producer,
        'training data': ', '.join(manifest.training_data),
        'licence': manifest.licence,
        **manifest.origin,
        **{split: f'{value:.1%}' for split, value in manifest.metrics.items()},
    }
    for name, value in rows.items():
        table.add_row(name, value)
    print_table(table)
