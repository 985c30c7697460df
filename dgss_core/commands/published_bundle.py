"""`dgss published bundle`: from the name of a public checkpoint to a verified bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dgss_core import __version__
from dgss_core.commands.convert import convert_file
from dgss_core.commands.engine import verify_engine
from dgss_core.commands.export import export
from dgss_core.commands.progress import say
from dgss_core.commands.published import fetch_files, store_of
from dgss_core.commands.sizes import parse_size
from dgss_core.errors import DgssError
from dgss_core.export.bundle import refuse_unfit
from dgss_core.export.frames import conditions_in
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import read_about
from dgss_core.networks.conversion import SourceFacts
from dgss_core.networks.weight_files import Which
from dgss_core.published.catalog import Catalog, load_catalog
from dgss_core.published.entry import Checkpoint
from dgss_core.published.store import Fetched
from dgss_core.published.systems import obstacle
from dgss_core.published.terms import licences
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.bundle.writing import refuse_existing


class Wanted(NamedTuple):
    """What a bundle is to be."""

    name: str
    height: int
    width: int
    precision: str


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
        overwrite: replace the output if it is a bundle; one of the same origin only with frames
    """
    width, height = parse_size(size)
    refuse_unfit(height=height, width=width, precision=precision)
    if frames is not None:
        conditions_in(frames)
    catalog, store = load_catalog(own), store_of(folder)
    entry = catalog.find(name)
    entry = replace(
        entry,
        image_size=image_size or entry.image_size,
        weights=weights or entry.weights,
        labels=labels or entry.labels,
    )
    _refuse_unknown(entry, image_size)
    label_set = LabelSet.load(entry.labels or '')
    wanted = Wanted(name, height, width, precision)
    if not _is_there(output, wanted):
        refuse_existing(output, overwrite)
    say(f'1 of 4: fetch {name}')
    files = fetch_files(catalog, store, entry, yes, from_, mirror)
    say(f'2 of 4: convert it with {entry.system}')
    checkpoint = store.path(entry).with_name(f'{name}.safetensors')
    origin = _origin(catalog, entry, files, label_set)
    _convert(entry, files, checkpoint, label_set, origin)
    say(f'3 of 4: export it for {width}x{height} in {precision}')
    if _is_there(output, wanted, origin) and not (frames is not None and overwrite):
        say(f'{output} is that bundle already')
        if frames is not None:
            say('--frames is not applied to it; pass --overwrite to export it with them')
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


def _refuse_unknown(entry: Checkpoint, image_size: int | None) -> None:
    """Raise DgssError for what cannot become a bundle, before anything is downloaded."""
    if entry.encoder:
        raise DgssError(
            f'{entry.name} is an encoder, not a system; give its file as weights of a recipe.'
        )
    if why := obstacle(entry):
        raise DgssError(f'{entry.name} {why}; dgss published list shows those that can.')
    if image_size is not None and not entry.base:
        raise DgssError(
            f'--image-size is for an encoder that is apart, and that of {entry.name} is in its '
            'file; leave it out.'
        )
    if entry.base and entry.image_size is None:
        raise DgssError(
            f'The size of the crops that {entry.name} was trained with was not read, and the '
            'encoder must have its grid; give --image-size 512 or 1024.'
        )
    if entry.labels is None:
        raise DgssError(
            f'{entry.name} was trained on classes that are no label set of this package; give a '
            'YAML file of them as --labels.'
        )


def _origin(
    catalog: Catalog, entry: Checkpoint, files: list[Fetched], labels: LabelSet
) -> dict[str, str]:
    """All that the weights of a bundle depend on, and how their publisher tested them."""
    *base, source = files
    origin = {
        'published as': entry.name,
        'published at': entry.address,
        'sha256 of the published file': source.sha256,
        'system': entry.system or '',
        'label set': f'{labels.name}, sha256 {_sha256(labels.to_dict())}',
        'options': json.dumps(_sizes(entry), sort_keys=True),
        'weights taken': entry.weights,
        'converted by': f'dgss {__version__}',
        'terms': '; '.join(catalog.terms(entry)),
    }
    for encoder in base:
        origin['sha256 of its encoder'] = encoder.sha256
        origin['crops of the training'] = f'{entry.image_size} pixels'
    if entry.recipe is not None:
        origin["publisher's test"] = str(entry.recipe)
    if entry.figures:
        origin['published mIoU'] = '; '.join(
            f'{f.data} {f.miou:g} ({f.protocol})' for f in entry.figures
        )
    return origin


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sizes(entry: Checkpoint) -> dict[str, Any]:
    """Options of `build_system`, with the normalisation where it differs from the system's."""
    normal = {key: value for key in ('mean', 'std') if (value := getattr(entry, key))}
    options = dict(entry.options)
    return {**options, 'encoder_options': {**normal, **options.get('encoder_options', {})}}


def _convert(
    entry: Checkpoint,
    files: list[Fetched],
    output: Path,
    labels: LabelSet,
    origin: Mapping[str, str],
) -> None:
    """Convert the file, unless `output` is the result already."""
    *base, source = files
    if output.exists() and dict(read_about(output)[0].origin) == origin:
        say(f'{output} is converted already')
        return
    facts = SourceFacts(
        image_size=entry.image_size if base else None,
        weights=entry.weights,
        licence=str(licences()[entry.licence]),
        origin=origin,
    )
    convert_file(
        source.path,
        entry.system or '',
        output,
        base[0].path if base else None,
        labels,
        overwrite=True,
        facts=facts,
        **_sizes(entry),
    )


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
