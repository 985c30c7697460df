"""`dgss convert`: convert a published checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dgss_core.errors import DgssError, unknown
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import About
from dgss_core.networks.conversion import SourceFacts, convert_checkpoint
from dgss_core.networks.weight_files import Which
from dgss_core.published.catalog import load_catalog, stated_licence
from dgss_core.published.systems import CONVERTIBLE


def convert(
    source: Path,
    *,
    system: str,
    output: Path,
    base: Path | None = None,
    image_size: int | None = None,
    weights: Which = 'averaged',
    labels: str = 'cityscapes19',
    overwrite: bool = False,
) -> None:
    """Convert a published checkpoint to a checkpoint of this package.

    Args:
        source: the published file
        system: its system, for example rein-dinov2-l; a wrong name lists the known ones
        output: the .safetensors file to write; a .json beside it repeats its metadata
        base: file of the frozen encoder, if the published file does not contain it (Rein, SoMA)
        image_size: side in pixels of the crops of the training, which the position table of the
            base is resampled for; that of the catalog for a file it knows, else 512
        weights: which to take of a file that holds averaged weights and those of the last step
        labels: label set of the training, a name or a YAML file
        overwrite: replace the output if it is a checkpoint of this package
    """
    about = convert_file(
        source,
        system,
        output,
        base,
        LabelSet.load(labels),
        overwrite,
        facts=SourceFacts(image_size, weights),
    )
    print(f'{output}: {about.system} from {about.source}; licence: {about.licence}')


def convert_file(
    source: Path,
    system: str,
    output: Path,
    base: Path | None,
    label_set: LabelSet,
    overwrite: bool = False,
    facts: SourceFacts | None = None,
    **sizes: Any,
) -> About:
    """Convert as `convert` does, with `sizes` for `build_system`; returns the metadata written.

    The catalog gives the licence, and the image size for a base, where `facts` do not.
    """
    facts = facts or SourceFacts()
    if system not in CONVERTIBLE:
        raise unknown('published system', system, CONVERTIBLE)
    if output.suffix != '.safetensors':
        raise DgssError(f'{output} must end in .safetensors, the format of the output.')
    if base is None and facts.image_size is not None:
        raise DgssError('--image-size is for the encoder of --base; a complete file has its own.')
    for path in (output, output.with_suffix('.json')):
        if path.exists() and not overwrite:
            raise DgssError(f'{path} exists; give another --output, or --overwrite to replace it.')
    image_size = None if base is None else facts.image_size or _known_size(system, source)
    licence = facts.licence or stated_licence(system, source.name)
    facts = replace(facts, image_size=image_size, licence=licence)
    return convert_checkpoint(source, system, output, base, label_set, facts, **sizes)


def _known_size(system: str, source: Path) -> int | None:
    """The size of the training of a file that the catalog knows by its name, if it is certain."""
    found = {
        entry.image_size
        for entry in load_catalog().of(system, source.name)
        if entry.file == source.name
    }
    return found.pop() if len(found) == 1 else None
