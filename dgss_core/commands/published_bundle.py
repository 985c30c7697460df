"""`dgss published bundle`: from the name of a public checkpoint to a verified bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dgss_core import __version__
from dgss_core.commands.convert import Published, convert_file
from dgss_core.commands.engine import verify_engine
from dgss_core.commands.export import export
from dgss_core.commands.progress import say
from dgss_core.commands.published import fetch_files, obstacle, store_of
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import read_about
from dgss_core.networks.weight_files import Which
from dgss_core.published.catalog import Catalog, load_catalog
from dgss_core.published.entry import Checkpoint
from dgss_core.published.terms import licences
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.bundle.contents import sha256_of
from dgss_core.runtime.bundle.writing import refuse_existing


class Wanted(NamedTuple):
    """What a bundle is to be."""

    name: str
    height: int
    width: int
    precision: str


SIZE = re.compile(r'(\d{1,5})x(\d{1,5})')


def bundle(
    name: str,
    *,
    output: Path,
    size: str = '1024x512',
    precision: Literal['fp32', 'fp16', 'bf16', 'int8'] = 'fp16',
    yes: bool = False,
    from_: Path | None = None,
    mirror: Path | None = None,
    folder: Path | None = None,
    own: Path | None = None,
    image_size: int | None = None,
    weights: Which | None = None,
    labels: str | None = None,
    frames: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Fetch, convert, export and verify a public checkpoint; goes on where an earlier run ended.

    Args:
        name: as `dgss published list` prints it
        output: the bundle to write
        size: width and height of the network in pixels
        precision: of the layers; a bundle holds the higher ones too
        yes: accept the terms, which are printed
        from_: the file of the checkpoint, downloaded by hand
        mirror: folder with <name>/<file>; nothing is downloaded
        folder: folder of the fetched and converted files; ~/.cache/dgss/published when left out
        own: YAML file with entries of your own
        image_size: side in pixels of the crops of the training, where the catalog does not know it
        weights: averaged or last, of a file that holds both; as in the catalog when left out
        labels: label set of the training, a name or a YAML file, where the package has none
        frames: folder with images in day/, night/, ... for the proof; rendered ones when left out
        overwrite: replace the output if it is a bundle
    """
    width, height = _parse_size(size)
    catalog, store = load_catalog(own), store_of(folder)
    entry = catalog.find(name)
    entry = replace(
        entry,
        image_size=image_size or entry.image_size,
        weights=weights or entry.weights,
        labels=labels or entry.labels,
    )
    _refuse_unknown(entry)
    wanted = Wanted(name, height, width, precision)
    if not _is_there(output, wanted):
        refuse_existing(output, overwrite)
    say(f'1 of 4: fetch {name}')
    files = fetch_files(catalog, store, entry, yes, from_, mirror)
    say(f'2 of 4: convert it with {entry.system}')
    checkpoint = store.path(entry).with_name(f'{name}.safetensors')
    origin = _convert(catalog, entry, files, checkpoint)
    say(f'3 of 4: export it for {width}x{height} in {precision}')
    if _is_there(output, wanted, origin):
        say(f'{output} is that bundle already')
    else:
        refuse_existing(output, overwrite)
        export(
            checkpoint,
            output=output,
            height=height,
            width=width,
            precision=precision,
            name=name,
            frames=frames,
            overwrite=overwrite,
        )
    say('4 of 4: compare its answers on this machine with those of the checkpoint')
    verify_engine(bundle=output)
    print(f'{output} is ready: dgss segment IMAGES --bundle {output} --output masks')


def _parse_size(size: str) -> tuple[int, int]:
    found = SIZE.fullmatch(size)
    if not found:
        raise DgssError(f'--size {size} is no size; give width and height, as in 1024x512.')
    return int(found[1]), int(found[2])


def _refuse_unknown(entry: Checkpoint) -> None:
    """Raise DgssError for what cannot become a bundle, before anything is downloaded."""
    if entry.encoder:
        raise DgssError(
            f'{entry.name} is an encoder, not a system; give its file as weights of a recipe.'
        )
    if why := obstacle(entry):
        raise DgssError(f'{entry.name} {why}; dgss published list shows those that can.')
    if entry.base and entry.image_size is None:
        raise DgssError(
            f'The size of the crops that {entry.name} was trained with was not read, and the '
            'encoder must have its grid; give --image_size 512 or 1024.'
        )
    if entry.labels is None:
        raise DgssError(
            f'{entry.name} was trained on classes that are no label set of this package; give a '
            'YAML file of them as --labels.'
        )


def _convert(
    catalog: Catalog, entry: Checkpoint, files: list[Path], output: Path
) -> Mapping[str, str]:
    """Convert the file, unless `output` is the result already; returns its origin."""
    *base, source = files
    labels = LabelSet.load(entry.labels or '')
    origin = {
        'published as': entry.name,
        'published at': entry.address,
        'sha256 of the published file': sha256_of(source),
        'weights taken': entry.weights,
        'converted by': f'dgss {__version__}',
        'terms': '; '.join(catalog.terms(entry)),
    }
    for path in base:
        origin['sha256 of its encoder'] = sha256_of(path)
        origin['crops of the training'] = f'{entry.image_size} pixels'
    if entry.recipe is not None:
        origin["publisher's test"] = str(entry.recipe)
    if entry.figures:
        origin['published mIoU'] = '; '.join(
            f'{f.data} {f.miou:g} ({f.protocol})' for f in entry.figures
        )
    if output.exists():
        about, known = read_about(output)
        if dict(about.origin) == origin and known == labels and about.system == entry.system:
            say(f'{output} is converted already')
            return origin
    sizes: dict[str, Any] = dict(entry.options)
    normal = {key: value for key in ('mean', 'std') if (value := getattr(entry, key))}
    sizes['encoder_options'] = {**normal, **sizes.get('encoder_options', {})}
    published = Published(
        image_size=entry.image_size if base else None,
        weights=entry.weights,
        licence=str(licences()[entry.licence]),
        origin=origin,
    )
    convert_file(
        source,
        entry.system or '',
        output,
        base[0] if base else None,
        labels,
        overwrite=True,
        published=published,
        **sizes,
    )
    return origin


def _is_there(folder: Path, wanted: Wanted, origin: Mapping[str, str] | None = None) -> bool:
    """Whether `folder` is the bundle of an earlier run, from `origin` if that is known."""
    if not folder.is_dir():
        return False
    try:
        manifest = open_bundle(folder).manifest
    except DgssError:
        return False
    found = Wanted(manifest.name, manifest.height, manifest.width, manifest.precision)
    return found == wanted and origin in (None, manifest.origin)
