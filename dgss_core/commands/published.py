"""`dgss published`: list, show, fetch and check public checkpoints."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError
from urllib.request import Request

from rich.table import Table

from dgss_core.commands.progress import byte_progress, say, with_progress
from dgss_core.commands.tables import print_table
from dgss_core.errors import DgssError, one_line
from dgss_core.files.home import cache_folder
from dgss_core.published.catalog import Catalog, load_catalog
from dgss_core.published.entry import Checkpoint
from dgss_core.published.store import Fetched, Store
from dgss_core.published.systems import obstacle
from dgss_core.published.terms import data_terms
from dgss_core.published.web import opened

NOT_TRIED = 'address not tried'
STATES = {'auto': 'to fetch', 'manual': 'by hand', 'library': 'by its library'}


def list_published(
    *,
    licence: Literal['any', 'commercial'] = 'any',
    own: Path | None = None,
    folder: Path | None = None,
) -> None:
    """List the public checkpoints, and the encoders that some of them need.

    Args:
        licence: commercial lists only what a company may use by every licence that was read
        own: YAML file with entries of your own, in the form of the catalog
        folder: folder of the fetched files; ~/.cache/dgss/published when left out
    """
    catalog, store = load_catalog(own), store_of(folder)
    table = Table(box=None)
    for column in (
        'name',
        'system',
        'trained on',
        'mIoU',
        'commercial use',
        'file',
        'convertible',
    ):
        table.add_column(column, no_wrap=True)
    shown = [
        entry for entry in catalog if licence == 'any' or catalog.commercial(entry) == 'allowed'
    ]
    for entry in sorted(shown, key=lambda entry: entry.encoder):
        figure = max(entry.figures, key=lambda f: 'acdc' in f.data, default=None)
        table.add_row(
            entry.name,
            entry.system or ('encoder' if entry.encoder else ''),
            ', '.join(data_terms()[key].title for key in entry.trained_on),
            f'{figure.data} {figure.miou:g}%' if figure else '',
            catalog.commercial(entry),
            'fetched' if store.holds(entry) else STATES[entry.fetch],
            '' if entry.encoder else 'no' if obstacle(entry) else 'yes',
        )
    print_table(table)
    if licence == 'commercial':
        say(
            f'{len(catalog.entries) - len(shown)} are left out: a licence of their weights or of '
            'their training data forbids commercial use, sets conditions, or was not read.'
        )


def show(name: str, *, own: Path | None = None, folder: Path | None = None) -> None:
    """Show everything that is known of a public checkpoint.

    Args:
        name: as `dgss published list` prints it
        own: YAML file with entries of your own
        folder: folder of the fetched files; ~/.cache/dgss/published when left out
    """
    catalog, store = load_catalog(own), store_of(folder)
    entry = catalog.find(name)
    rows = [
        ('published', entry.title),
        ('system', entry.system or ('an encoder' if entry.encoder else 'none')),
        ('dgss convert', '' if entry.encoder else obstacle(entry) or 'reads it'),
        ('encoder', entry.base or ('' if entry.encoder else 'in the file')),
        ('crops of the training', f'{entry.image_size} pixels' if entry.image_size else ''),
        ('address', entry.address),
        ('', '; '.join([store.checked(entry) or NOT_TRIED, *_derived(entry)])),
        ('by hand', entry.by_hand),
        ('size', f'{entry.size} bytes' if entry.size else ''),
        *((kind, digest) for kind, digest in entry.digests.items()),
        ("publisher's test", str(entry.recipe) if entry.recipe else 'not read'),
        *((f'{f.data}, mIoU', f'{f.miou:g}%  ({f.protocol})') for f in entry.figures),
        *(tuple(line.split(': ', 1)) for line in catalog.terms(entry)),
        ('read in', entry.source),
        *(('note', note) for note in entry.notes),
        ('file', str(store.path(entry)) if store.holds(entry) else 'not fetched'),
    ]
    print(entry.name)
    widest = max(len(key) for key, value in rows if value)
    for key, value in rows:
        if value:
            print(f'  {key:{widest}}  {value}')


def fetch(
    name: str,
    *,
    yes: bool = False,
    from_: Path | None = None,
    mirror: Path | None = None,
    folder: Path | None = None,
    own: Path | None = None,
) -> None:
    """Fetch a public checkpoint and the encoder that it needs, after you accepted their terms.

    A download that was cut off goes on where it stopped. The proxy of the environment is used
    (https_proxy, no_proxy).

    Args:
        name: as `dgss published list` prints it
        yes: accept the terms, which are printed
        from_: the file, downloaded by hand
        mirror: folder with <name>/<file>, such as the folder of another machine; nothing is
            downloaded
        folder: folder of the fetched files; ~/.cache/dgss/published when left out
        own: YAML file with entries of your own
    """
    catalog, store = load_catalog(own), store_of(folder)
    for file in fetch_files(catalog, store, catalog.find(name), yes, from_, mirror):
        print(file.path)


def check(
    *, only: list[str] | None = None, own: Path | None = None, folder: Path | None = None
) -> int:
    """Ask for the address of every checkpoint by a HEAD request; nothing is downloaded.

    Args:
        only: names to check; all when left out
        own: YAML file with entries of your own
        folder: folder where the answers are kept; ~/.cache/dgss/published when left out

    Returns:
        0, or 1 if an address did not answer as it should.
    """
    catalog, store = load_catalog(own), store_of(folder)
    chosen = [catalog.find(name) for name in only] if only else list(catalog)
    tried = [entry for entry in chosen if entry.fetch == 'auto']
    failures = 0
    with closing(with_progress(tried, 'Asking', len(tried))) as asked:
        for entry in asked:
            good, found = _head(entry)
            failures += not good
            store.note(entry, f'{time.strftime("%Y-%m-%d")}: {found}')
            print(f'{entry.name}: {found}')
    print(
        f'{len(tried) - failures} of {len(tried)} answer; {len(chosen) - len(tried)} are fetched '
        'by hand or by a library'
    )
    return 1 if failures else 0


def store_of(folder: Path | None) -> Store:
    """The store of a command."""
    return Store(folder or cache_folder('published'))


def fetch_files(
    catalog: Catalog,
    store: Store,
    entry: Checkpoint,
    yes: bool,
    given: Path | None,
    mirror: Path | None,
) -> list[Fetched]:
    """The encoder, if it is apart, and the file of an entry."""
    parts = catalog.with_base(entry)
    sources = {part.name: _source(store, part, mirror) for part in parts}
    if given is not None:
        sources[entry.name] = given
    for part in parts:
        _refuse_unfetchable(part, sources[part.name] is not None or store.holds(part))
    if not all(map(store.holds, parts)):
        _accept(entry, catalog.terms(entry), yes)
    terms = '; '.join(catalog.terms(entry))
    return [_obtain(store, part, terms, sources[part.name]) for part in parts]


def _source(store: Store, entry: Checkpoint, mirror: Path | None) -> Path | None:
    return None if mirror is None else mirror / entry.name / entry.file


def _refuse_unfetchable(entry: Checkpoint, there: bool) -> None:
    """Raise DgssError for a file that is not fetched here; `there`: it is on this machine."""
    if entry.fetch == 'manual' and not there:
        raise DgssError(
            f'{entry.name} is fetched by hand from {entry.address}: {_lower(entry.by_hand)}; '
            'pass the file with --from.'
        )
    if entry.fetch == 'library':
        raise DgssError(
            f'{entry.name} is fetched by its library when a recipe or dgss convert --base names '
            f'{entry.address}; there is nothing to fetch here.'
        )


def _accept(entry: Checkpoint, terms: list[str], yes: bool) -> None:
    """Print the terms and ask for consent. Raises DgssError without it."""
    for line in terms:
        say(line)
    if yes:
        return
    if not sys.stdin.isatty():
        raise DgssError(f'Nobody can accept the terms of {entry.name} here; pass --yes to do so.')
    print('Accept these terms? [y/N] ', end='', file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ('y', 'yes'):
        raise DgssError(f'The terms of {entry.name} were not accepted; nothing was fetched.')


def _obtain(store: Store, entry: Checkpoint, terms: str, given: Path | None) -> Fetched:
    with byte_progress(entry.name, entry.size) as progress:
        return store.obtain(entry, terms, given=given, progress=progress, examine=_refuse_code)


def _refuse_code(path: Path) -> None:
    try:
        from dgss_core.networks.tensor_files import refuse_code
    except ModuleNotFoundError:
        say('The file is examined when it is converted, as torch is not installed here.')
        return
    refuse_code(path)


def _head(entry: Checkpoint) -> tuple[bool, str]:
    """Whether an address answers as it should, and how it answers."""
    try:
        with opened(Request(entry.address, method='HEAD')) as answer:
            length = answer.headers.get('Content-Length', '')
            page = answer.headers.get_content_type() == 'text/html'
    except HTTPError as error:
        with error:
            return False, f'answers {error.code}'
    except (OSError, HTTPException, DgssError) as error:
        return False, f'does not answer ({one_line(error, 200)})'
    if page:
        return False, 'answers with an HTML page'
    if entry.size is not None and length.isdecimal() and int(length) != entry.size:
        return False, f'has {length} bytes, {entry.size} were published'
    return True, f'answers, {length or "an unknown number of"} bytes'


def _lower(sentence: str) -> str:
    """A sentence as a part of another one."""
    return sentence[:1].lower() + sentence[1:].rstrip('.')


def _derived(entry: Checkpoint) -> list[str]:
    return ['put together from a pattern, not read'] if entry.derived else []
