"""All entries by name: those of this package, and those of a user's own catalog file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dgss_core.errors import DgssError, unknown
from dgss_core.published.entry import Checkpoint
from dgss_core.published.schema import read_family
from dgss_core.published.terms import data_terms, licences, strictest

CATALOG = Path(__file__).with_name('catalog')


@dataclass(frozen=True)
class Catalog:
    """`entries` by name."""

    entries: Mapping[str, Checkpoint]

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self.entries.values())

    def find(self, name: str) -> Checkpoint:
        """The entry of this name. Raises DgssError with similar names for another."""
        if name not in self.entries:
            raise unknown('published checkpoint', name, self.entries)
        return self.entries[name]

    def with_base(self, entry: Checkpoint) -> list[Checkpoint]:
        """The entry, after the encoder that its file leaves out, if it does."""
        return [*([self.find(entry.base)] if entry.base else []), entry]

    def commercial(self, entry: Checkpoint) -> str:
        """What a company may do with the weights: one of `terms.COMMERCIAL`.

        The strictest of the weights' own terms, those of the base, and those of the data. The
        data of an encoder is left to the publisher of its weights.
        """
        own = [licences()[part.licence].commercial for part in self.with_base(entry)]
        return strictest([*own, *(data_terms()[key].commercial for key in entry.trained_on)])

    def terms(self, entry: Checkpoint) -> list[str]:
        """What is to be accepted for an entry and its base, one line each."""
        lines = []
        for part in self.with_base(entry):
            lines.append(f'weights of {part.name}: {licences()[part.licence]}')
            if not part.encoder:
                lines.append(f'code of its publisher: {licences()[part.code]}')
        lines += [f'trained on {data_terms()[key]}' for key in entry.trained_on]
        return [*lines, f'commercial use: {self.commercial(entry)}']

    def of(self, system: str, file: str = '') -> list[Checkpoint]:
        """The checkpoints of a system; those whose file has the name `file`, if there are any."""
        found = [entry for entry in self if entry.system == system]
        return [entry for entry in found if entry.file == file] or found


def load_catalog(own: Path | None = None) -> Catalog:
    """The catalog of this package, with the entries of the YAML file `own` added.

    Raises DgssError for a fault in the file, a name that is there already, and an unknown base.
    """
    entries = dict(_packaged())
    for name, entry in read_family(own).items() if own else ():
        if name in entries:
            raise DgssError(f'{own}: there is a {name} in the catalog already; rename yours.')
        entries[name] = entry
    catalog = Catalog(entries)
    for entry in catalog:
        if entry.base and not catalog.find(entry.base).encoder:
            raise DgssError(f'{entry.name} has the base {entry.base}, which is no encoder.')
    return catalog


@cache
def _packaged() -> Mapping[str, Checkpoint]:
    entries: dict[str, Checkpoint] = {}
    for path in sorted(CATALOG.glob('*.yaml')):
        family = read_family(path)
        if twice := entries.keys() & family.keys():
            raise ValueError(f'{path}: {twice} are in another family too')
        entries |= family
    return entries


def stated_licence(system: str, file: str = '') -> str:
    """The terms of the weights of a system as its publishers state them, for a converted file.

    `file`: name of the published file, which decides where several publishers differ. A system
    that is not in the catalog has the terms of its other sizes ('' without any).
    """
    catalog = load_catalog()
    found = catalog.of(system, file) or _other_sizes(catalog, system)
    stated: dict[str, dict[str, None]] = {}  # In their order, each once.
    for entry in found:
        weights, code = licences()[entry.licence], licences()[entry.code]
        stated.setdefault(f'{weights.title} ({weights.means})', {})[code.title] = None
    return ' or, by its publisher, '.join(
        f'weights {text}; code {" or ".join(codes)}' for text, codes in stated.items()
    )


def _other_sizes(catalog: Catalog, system: str) -> list[Checkpoint]:
    """Entries that can be converted, of systems that differ from `system` in the size alone."""
    kind = system.rpartition('-')[0]
    return [
        entry
        for entry in catalog
        if kind and not entry.obstacle and (entry.system or '').rpartition('-')[0] == kind
    ]
